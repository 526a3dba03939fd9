#include "daemon/conffile.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

static bool record(struct options *o, const char *where, const char *line)
{
	size_t had = o->read ? strlen(o->read) : 0, size = had + strlen(where) + strlen(line) + 3;
	char *more = realloc(o->read, size);
	if (!more)
		return false;
	o->read = more;
	snprintf(more + had, size - had, "%s\t%s\n", where, line);
	return true;
}

static enum err read_line(struct options *o, char *line, const char *where, struct why *why)
{
	while (isspace((unsigned char)*line))
		line++;
	size_t n = strlen(line);
	while (n && isspace((unsigned char)line[n - 1]))
		line[--n] = '\0';
	if (!n || *line == '#')
		return OK;
	if (!record(o, where, line))
		return ours(why, "no memory");
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

int conffile_keep(const struct options *o)
{
	size_t n = o->read ? strlen(o->read) : 0;
	int fd = memfd_create("vringd-config", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, o->read ? o->read : "", n) != (ssize_t)n)
		fd_reset(&fd);
	return fd;
}

enum err conffile_replay(struct options *o, int fd, struct why *why)
{
	FILE *f = lseek(fd, 0, SEEK_SET) == 0 ? fdopen(dup(fd), "r") : NULL;
	if (!f)
		return ours(why, "the configuration of the last worker: %s", strerror(errno));
	char *line = NULL, *tab;
	size_t room = 0;
	enum err e = OK;
	while (e == OK && getline(&line, &room, f) >= 0)
		if ((tab = strchr(line, '\t')) != NULL) {
			*tab = '\0';
			e = read_line(o, tab + 1, line, why);
		}
	free(line);
	fclose(f);
	return e;
}

static const struct options_port *wanted(const struct options *o, const char *id)
{
	for (unsigned i = 0; i < o->n_ports; i++)
		if (strcmp(o->ports[i].spec.id, id) == 0)
			return &o->ports[i];
	return NULL;
}

// A port that never opened has nothing that a change could disturb: it may become any other.
static bool replaceable(const struct port *p, const struct port_spec *next)
{
	return port_state(p) == PORT_FAILED && !spec_equal(port_spec(p), next);
}

static enum err check(struct vd *vd, const struct options *o, struct why *why)
{
	for (unsigned i = 0; i < o->n_ports; i++) {
		const struct options_port *w = &o->ports[i];
		const struct port *p = vd_port_find(vd, w->spec.id);
		struct why inner;
		if (!p && w->spec.fd >= 0) // the number means something else by now
			return refuse(why, "%s: port %s: fd= is inherited at the start only: restart the daemon", w->where,
				      w->spec.id);
		if (!p || replaceable(p, &w->spec) || vd_port_set(vd, w->spec.id, &w->spec, true, &inner) == OK)
			continue;
		return refuse(why, "%s: %s%s", w->where, inner.text,
			      port_origin(p) == VD_ORIGIN_RUNTIME ? " (it was added at run time)" : "");
	}
	return OK;
}

// -- ports that come and go: all, or none -----------------------------------------------------------------------------

struct moves {
	bool added[OPTIONS_MAX_PORTS]; // of the options' ports
	unsigned n; // ports that went first
	struct {
		struct port_spec spec;
		enum vd_origin origin;
	} gone[OPTIONS_MAX_PORTS];
};

// The socket's path, or the tap, is one that only one port can have.
static bool same_place(const struct vd *vd, const struct port_spec *a, const struct port_spec *b)
{
	char at[SPEC_PATH_MAX], bt[SPEC_PATH_MAX];
	struct why why;
	if (a->kind == SPEC_TAP && b->kind == SPEC_TAP)
		return a->ifname[0] && strcmp(a->ifname, b->ifname) == 0;
	return a->mode == SPEC_SERVER && b->mode == SPEC_SERVER && spec_path(a, vd_runtime_dir(vd), at, &why) == OK &&
	       spec_path(b, vd_runtime_dir(vd), bt, &why) == OK && at[0] && strcmp(at, bt) == 0;
}

static enum err take_away(struct vd *vd, struct moves *m, const struct port *p, struct why *why)
{
	if (m->n == OPTIONS_MAX_PORTS)
		return refuse(why, "too many ports change");
	m->gone[m->n].spec = *port_spec(p);
	m->gone[m->n].origin = port_origin(p);
	enum err e = vd_port_del(vd, m->gone[m->n].spec.id, why);
	m->n += e == OK;
	return e;
}

// Whoever has what the new port needs goes first, if the configuration wants it to go at all.
static enum err make_room(struct vd *vd, const struct options *o, const struct options_port *w, struct moves *m,
			  struct why *why)
{
	enum err e = OK;
	for (unsigned i = vd_ports_count(vd); e == OK && i-- > 0;) {
		const struct port *p = vd_port_at(vd, i);
		bool leaves = port_origin(p) == VD_ORIGIN_CONFIG && !wanted(o, port_id(p));
		leaves = leaves && same_place(vd, port_spec(p), &w->spec);
		if (leaves || (strcmp(port_id(p), w->spec.id) == 0 && replaceable(p, &w->spec)))
			e = take_away(vd, m, p, why);
	}
	return e;
}

static void take_back(struct vd *vd, const struct options *o, const struct moves *m)
{
	struct why why;
	for (unsigned i = 0; i < o->n_ports; i++)
		if (m->added[i])
			vd_port_del(vd, o->ports[i].spec.id, &why);
	vd_keep_failed(vd, true); // what stood here has its place again, whatever happened to it meanwhile
	for (unsigned i = m->n; i-- > 0;)
		if (vd_port_add(vd, &m->gone[i].spec, m->gone[i].origin, &why) != OK)
			log_err("reload: port %s: %s", m->gone[i].spec.id, why.text);
	vd_keep_failed(vd, false);
}

static enum err add_new(struct vd *vd, const struct options *o, struct why *why)
{
	struct moves *m = calloc(1, sizeof(*m));
	struct why inner;
	enum err e = m ? OK : ours(why, "no memory");
	for (unsigned i = 0; e == OK && i < o->n_ports; i++) {
		const struct options_port *w = &o->ports[i];
		e = make_room(vd, o, w, m, &inner);
		if (e == OK && vd_port_find(vd, w->spec.id))
			continue;
		if (e == OK)
			e = vd_port_add(vd, &w->spec, VD_ORIGIN_CONFIG, &inner);
		if (e == OK)
			m->added[i] = true;
		else
			refuse(why, "%s: port %s: %s%s", w->where, w->spec.id, inner.text,
			       m->n ? " (front ends of ports that had to make room were closed)" : "");
	}
	if (m && e != OK)
		take_back(vd, o, m);
	free(m);
	return e;
}

static void change(struct vd *vd, const struct options *o)
{
	struct why why;
	for (unsigned i = 0; i < o->n_ports; i++) {
		const struct options_port *w = &o->ports[i];
		struct port *p = vd_port_find(vd, w->spec.id);
		if (port_origin(p) == VD_ORIGIN_RUNTIME)
			port_adopt(p);
		if (!spec_equal(port_spec(p), &w->spec) && vd_port_set(vd, w->spec.id, &w->spec, false, &why) != OK)
			log_err("reload: %s: %s", w->where, why.text); // the store failed: the others go on
	}
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
	if (e == OK) {
		change(vd, &o);
		remove_gone(vd, &o);
		options_reload(now, &o);
	}
	options_free(&o);
	return e;
}
