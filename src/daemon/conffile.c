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
		struct port *p = vd_port_find(vd, o->ports[i].spec.id);
		if (!p || port_origin(p) == VD_ORIGIN_RUNTIME)
			continue;
		enum err e = vd_port_set(vd, o->ports[i].spec.id, &o->ports[i].spec, true, why);
		if (e != OK)
			return e;
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

enum err conffile_reload(struct vd *vd, const char *path, struct why *why)
{
	struct options o;
	options_init(&o);
	enum err e = conffile_read(&o, path, why);
	if (e == OK)
		e = options_check(&o, why);
	if (e == OK)
		e = check(vd, &o, why);
	if (e != OK) {
		options_free(&o);
		return e;
	}
	remove_gone(vd, &o);
	for (unsigned i = 0; i < o.n_ports; i++) {
		const struct port_spec *s = &o.ports[i].spec;
		struct port *p = vd_port_find(vd, s->id);
		struct why one;
		enum err r = !p ? vd_port_add(vd, s, VD_ORIGIN_CONFIG, &one) :
			     port_origin(p) == VD_ORIGIN_RUNTIME ? OK : vd_port_set(vd, s->id, s, false, &one);
		if (r != OK)
			log_err("reload: %s: %s", o.ports[i].where, one.text);
	}
	options_free(&o);
	return OK;
}
