#include "daemon/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "daemon/core.h"
#include "daemon/kept.h"

#define TABLE_MAX ((off_t)(DP_MAX_PORTS + 1) * (SPEC_TEXT_MAX + 16)) // bytes

#ifdef VRINGD_MUTANT_OTHER_TABLE // a program to which the table means nothing
#define TABLE_VERSION 2
#else
#define TABLE_VERSION 1
#endif

// Lines: "vringd-table VERSION", "log-level WORD", "ORIGIN SPEC" of each port, "end N". A SPEC
// has no control characters.

static void write_port(FILE *f, const struct port_spec *s, enum vd_origin origin)
{
	char text[SPEC_TEXT_MAX];
	spec_format(s, text, sizeof(text));
	fprintf(f, "%s %s\n", vd_origin_name(origin), text);
}

static bool write_table(int fd, const struct vd *vd, const struct port *but, const struct port_spec *with,
			enum vd_origin origin)
{
	int own = dup(fd);
	FILE *f = own >= 0 ? fdopen(own, "w") : NULL;
	unsigned n = vd->n_ports - (but && !with) + (with && !but);
	if (!f) {
		fd_reset(&own);
		return false;
	}
	fprintf(f, "vringd-table %d\nlog-level %s\n", TABLE_VERSION, log_level_name(log_level()));
	for (unsigned i = 0; i < vd->n_ports; i++)
		if (vd->port[i] != but)
			write_port(f, &vd->port[i]->spec, vd->port[i]->origin);
		else if (with)
			write_port(f, with, origin);
	if (with && !but)
		write_port(f, with, origin);
	fprintf(f, "end %u\n", n);
	bool whole = !ferror(f);
	return fclose(f) == 0 && whole;
}

enum err table_keep(struct vd *vd, const struct port *but, const struct port_spec *with, enum vd_origin origin,
		    struct why *why)
{
	if (!vd->kept || !vd->begun || vd->table_held)
		return OK;
#ifdef VRINGD_MUTANT_NO_TABLE // seeded bug: it is kept as it was at the start
	if (vd->table_fd >= 0)
		return OK;
#endif
	int fd = memfd_create("vringd-table", MFD_CLOEXEC);
	if (fd < 0 || !write_table(fd, vd, but, with, origin)) {
		int error = errno;
		fd_reset(&fd);
		return refuse(why, "the table of ports can't be kept for the next worker: %s", strerror(error));
	}
	if (!kept_put(vd->kept, KEPT_TABLE, fd, false)) {
		fd_reset(&fd);
		return refuse(why, "the table of ports can't be given to the keeper");
	}
	fd_replace(&vd->table_fd, fd);
	return OK;
}

void vd_table_hold(struct vd *vd)
{
	vd->table_held = true;
}

enum err vd_table_keep(struct vd *vd, struct why *why)
{
	vd->table_held = false;
	return table_keep(vd, NULL, NULL, VD_ORIGIN_CONFIG, why);
}

// -- reading --------------------------------------------------------------------------------------------------------

static bool origin_parse(const char *word, enum vd_origin *out)
{
	for (int o = VD_ORIGIN_CONFIG; o <= VD_ORIGIN_RUNTIME; o++)
		if (strcmp(word, vd_origin_name((enum vd_origin)o)) == 0) {
			*out = (enum vd_origin)o;
			return true;
		}
	return false;
}

static char *read_whole(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size > TABLE_MAX)
		return NULL;
	char *text = calloc(1, (size_t)st.st_size + 1);
	if (text && pread(fd, text, (size_t)st.st_size, 0) == (ssize_t)st.st_size)
		return text;
	free(text);
	return NULL;
}

static enum err read_line(struct table *t, char *line, bool *ended, struct why *why)
{
	char *rest = strchr(line, ' ');
	struct why inner;
	if (*ended || !rest)
		return refuse(why, "the kept table of ports: '%.60s' is no line of it", line);
	*rest++ = '\0';
	if (strcmp(line, "end") == 0) {
		*ended = strtoul(rest, NULL, 10) == t->n;
		return *ended ? OK : refuse(why, "the kept table of ports has %u ports of %.20s", t->n, rest);
	}
	if (strcmp(line, "log-level") == 0) {
		int level = log_level_parse(rest);
		t->log_level = (enum log_level)level;
		return level >= 0 ? OK : refuse(why, "the kept table of ports: log-level %.20s", rest);
	}
	struct table_port *p = &t->port[t->n];
	if (t->n == DP_MAX_PORTS || !origin_parse(line, &p->origin))
		return refuse(why, "the kept table of ports: a port more than is possible, or of '%.20s'", line);
	if (spec_parse(rest, &p->spec, &inner) != OK)
		return refuse(why, "port %.60s: %s", rest, inner.text);
	t->n++;
	return OK;
}

static enum err read_table(struct table *t, char *text, struct why *why)
{
	char *at = text, *line = strsep(&at, "\n");
	int version = 0;
	bool ended = false;
	enum err e = OK;
	if (sscanf(line, "vringd-table %d", &version) != 1 || version != TABLE_VERSION)
		return refuse(why, "the kept table of ports is of another version: '%.40s'", line);
	while (e == OK && (line = strsep(&at, "\n")) != NULL && (*line || at))
		e = read_line(t, line, &ended, why);
	return e == OK && !ended ? refuse(why, "the kept table of ports was cut short") : e;
}

enum err table_take(struct kept *k, struct table **out, struct why *why)
{
	int fd = kept_take(k, KEPT_TABLE);
	*out = NULL;
	if (fd < 0)
		return OK;
	struct table *t = calloc(1, sizeof(*t));
	char *text = t ? read_whole(fd) : NULL;
	enum err e = text ? read_table(t, text, why) : refuse(why, "the kept table of ports can't be read");
	fd_reset(&fd);
	free(text);
	if (e == OK)
		*out = t;
	else
		free(t);
	return e;
}
