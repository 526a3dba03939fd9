#include "daemon/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "custody/image.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "daemon/table.h"

struct trial {
	const struct options *o;
	struct why why; // the first finding
	enum err e;
	struct {
		char id[SNAP_PORT_MAX];
		unsigned pairs;
	} port[2 * OPTIONS_MAX_PORTS];
	unsigned n;
};

static void found(struct trial *t, const char *what, const struct why *inner)
{
	if (t->e == OK)
		t->e = refuse(&t->why, "%s: %s", what, inner->text);
}

static void add_port(struct trial *t, const struct port_spec *s)
{
	struct why why;
	if (features_check(s, &why) != OK) {
		found(t, s->id, &why);
	} else if (t->n < 2 * OPTIONS_MAX_PORTS) {
		memcpy(t->port[t->n].id, s->id, sizeof(t->port[t->n].id));
		t->port[t->n++].pairs = s->queues;
	}
}

static bool has_port(const struct trial *t, const char *id, unsigned *pairs)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->port[i].id, id) == 0) {
			*pairs = t->port[i].pairs;
			return true;
		}
	return false;
}

static void on_port(void *arg, const char *id, const char *text)
{
	struct trial *t = arg;
	struct port_spec s;
	struct why why;
	unsigned pairs;
	if (has_port(t, id, &pairs))
		return; // the configuration wins
	if (spec_parse(text, &s, &why) != OK)
		found(t, id, &why);
	else
		add_port(t, &s);
}

static void on_connection(void *arg, const struct snap *snap, uint64_t seq)
{
	struct trial *t = arg;
	struct why why;
	unsigned pairs = SNAP_MAX_RINGS / 2;
	(void)seq;
	has_port(t, snap->port, &pairs);
	if (dev_adoptable(snap, pairs, &why) != OK)
		found(t, snap->port, &why);
}

// Its front end is not there just now, and will want what it has acknowledged.
static void on_device(void *arg, const struct store_device *d)
{
	struct trial *t = arg;
	struct snap s = { .features_acked = d->features_acked, .protocol_features = d->protocol_features };
	struct why why;
	if (d->pinned && dev_adoptable(&s, SNAP_MAX_RINGS / 2, &why) != OK)
		found(t, d->port, &why);
}

enum err judge_rows(struct kept *k, const struct options *o, struct why *why)
{
	struct store *s = NULL;
	struct trial t = { .o = o };
	struct table *table = NULL;
	int fd = kept_take(k, KP_ROWS);
	enum err e = table_take(k, &table, why);
	if (e == OK)
		e = fd >= 0 ? store_open_image(&s, fd, why) : refuse(why, "there are no rows to judge");
	fd_reset(&fd);
	for (unsigned i = 0; e == OK && i < (table ? table->n : o->n_ports); i++)
		add_port(&t, table ? &table->port[i].spec : &o->ports[i].spec);
	free(table);
	if (e != OK)
		return e;
	e = store_each_port(s, on_port, &t, why);
	if (e == OK)
		e = store_each_connection(s, on_connection, &t, why);
	if (e == OK)
		e = store_each_device(s, on_device, &t, why);
	store_close(s);
	if (e == OK && t.e != OK)
		return refuse(why, "%s", t.why.text);
	return e;
}

static int as_it_is(void *arg, int number)
{
	(void)arg;
	return number; // nothing is done with it
}

enum err judge_image(struct kept *k, struct why *why)
{
	struct custody_keeper me;
	struct custody *c = calloc(1, sizeof(*c)); // dies with this process, and its numbers are nobody's descriptors here
	int fd = kept_take(k, KP_IMAGE);
	if (!c)
		return ours(why, "no memory");
	custody_init(c);
	return fd >= 0 ? custody_load(c, &me, fd, as_it_is, NULL, why) : refuse(why, "there is nothing to judge");
}
