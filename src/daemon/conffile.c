#include "daemon/conffile.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static enum err read_line(struct options *o, char *line, const char *where, struct why *why)
{
	while (isspace((unsigned char)*line))
		line++;
	size_t n = strlen(line);
	while (n && isspace((unsigned char)line[n - 1]))
		line[--n] = '\0';
	if (!n || *line == '#')
		return OK;
	char *value = line + strcspn(line, " \t=");
	if (*value) {
		*value++ = '\0';
		value += strspn(value, " \t=");
	}
	return options_set_from_file(o, line, *value ? value : NULL, where, why);
}

static enum err read_one(struct options *o, const char *path, struct why *why)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return refuse(why, "%s: %s", path, strerror(errno));
	char *line = NULL;
	size_t room = 0;
	enum err e = OK;
	for (unsigned no = 1; e == OK && getline(&line, &room, f) >= 0; no++) {
		char where[OPTIONS_WHERE_MAX];
		snprintf(where, sizeof(where), "%s:%u", path, no);
		e = read_line(o, line, where, why);
	}
	free(line);
	fclose(f);
	return e;
}

enum err conffile_read(struct options *o, const char *path, struct why *why)
{
	char pattern[512];
	glob_t g;
	enum err e = read_one(o, path, why);
	if (e != OK || (size_t)snprintf(pattern, sizeof(pattern), "%s.d/*.conf", path) >= sizeof(pattern))
		return e;
	if (glob(pattern, 0, NULL, &g) != 0)
		return OK;
	for (size_t i = 0; i < g.gl_pathc && e == OK; i++)
		e = read_one(o, g.gl_pathv[i], why);
	globfree(&g);
	return e;
}

static const struct options_port *wanted(const struct options *o, const char *id)
{
	for (unsigned i = 0; i < o->n_ports; i++)
		if (strcmp(o->ports[i].spec.id, id) == 0)
			return &o->ports[i];
	return NULL;
}

static enum err check(struct vd *vd, const struct options *o, struct why *why)
{
	for (unsigned i = 0; i < o->n_ports; i++) {
		const struct options_port *w = &o->ports[i];
		const struct port *p = vd_port_find(vd, w->spec.id);
		struct why inner;
		if (p && vd_port_set(vd, w->spec.id, &w->spec, true, &inner) != OK)
			return refuse(why, "%s: %s%s", w->where, inner.text,
				      port_origin(p) == VD_ORIGIN_RUNTIME ? " (it was added at run time)" : "");
	}
	return OK;
}

// The ports that are not there yet: all, or none.
static enum err add_new(struct vd *vd, const struct options *o, struct why *why)
{
	bool added[OPTIONS_MAX_PORTS] = { false };
	struct why inner, unused;
	for (unsigned i = 0; i < o->n_ports; i++) {
		const struct options_port *w = &o->ports[i];
		if (vd_port_find(vd, w->spec.id))
			continue;
		if (vd_port_add(vd, &w->spec, VD_ORIGIN_CONFIG, &inner) == OK) {
			added[i] = true;
			continue;
		}
		for (unsigned k = 0; k < i; k++)
			if (added[k])
				vd_port_del(vd, o->ports[k].spec.id, &unused);
		return refuse(why, "%s: port %s: %s", w->where, w->spec.id, inner.text);
	}
	return OK;
}

static void remove_gone(struct vd *vd, const struct options *o)
{
	struct why why;
	for (unsigned i = vd_ports_count(vd); i-- > 0;) {
		struct port *p = vd_port_at(vd, i);
		if (port_origin(p) != VD_ORIGIN_CONFIG || wanted(o, port_id(p)))
			continue;
		if (vd_port_del(vd, port_id(p), &why) != OK)
			log_err("reload: %s", why.text);
	}
}

static enum err read_again(const struct options *now, struct options *next, struct why *why)
{
	options_init(next);
	next->given = now->given; // the command line still wins
	enum err e = conffile_read(next, now->config, why);
	if (e == OK)
		e = options_check(next, why);
	return e == OK ? options_may_reload(now, next, why) : e;
}

enum err conffile_reload(struct vd *vd, struct options *now, struct why *why)
{
	struct options o;
	enum err e = read_again(now, &o, why);
	if (e == OK)
		e = check(vd, &o, why);
	if (e == OK)
		e = add_new(vd, &o, why); // what can fail comes first
	for (unsigned i = 0; e == OK && i < o.n_ports; i++) {
		struct why one;
		if (vd_port_set(vd, o.ports[i].spec.id, &o.ports[i].spec, false, &one) != OK)
			log_err("reload: %s: %s", o.ports[i].where, one.text); // the store failed: the others go on
	}
	if (e == OK) {
		remove_gone(vd, &o);
		options_reload(now, &o);
	}
	options_free(&o);
	return e;
}
