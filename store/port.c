#include "store/inner.h"

#include <stdlib.h>
#include <string.h>

struct port_row {
	char id[SNAP_PORT_MAX];
	char *spec;
};

enum err store_port_put(struct store *s, const char *id, const char *spec, struct why *why)
{
	if (!text_is_id(id, SNAP_PORT_MAX))
		return refuse(why, "the port's id is empty, too long or unprintable");
	if (strlen(spec) > SPEC_MAX)
		return refuse(why, "the port's spec is longer than %d bytes", SPEC_MAX);
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	struct bind b;
	bind_start(&b, stmt_of(s, S_PORT_PUT), T_PORT);
	bind_text(&b, id);
	bind_text(&b, spec);
	bind_seal(&b);
	return txn_end(s, stmt_run(s, b.st, why), why);
}

enum err store_port_del(struct store *s, const char *id, struct why *why)
{
	static const enum stmt dels[] = { S_PORT_DEL, S_DEVICE_DEL, S_OWED_DEL, S_MAC_DEL };
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	for (unsigned i = 0; i < sizeof(dels) / sizeof(dels[0]) && e == OK; i++)
		e = stmt_run_text(s, dels[i], id, why);
	return txn_end(s, e, why);
}

enum err store_port_forget(struct store *s, const char *id, struct why *why)
{
	enum err e = txn_begin(s, why);
	return e == OK ? txn_end(s, stmt_run_text(s, S_PORT_DEL, id, why), why) : e;
}

static enum err on_port(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct row r;
	char id[SNAP_PORT_MAX];
	(void)s;
	row_start(&r, st, 1, T_PORT);
	row_copy(&r, id, sizeof(id));
	const char *spec = row_text(&r, SPEC_MAX);
	enum err e = row_seal(&r, "port", why);
	if (e == OK && !text_is_id(id, sizeof(id)))
		e = refuse(why, "stored port's id is unprintable");
	if (e != OK || !arg)
		return e;
	char *copy = strdup(spec);
	struct port_row *p = copy ? vec_add(arg) : NULL;
	if (!p) {
		free(copy);
		return ours(why, "out of memory");
	}
	memcpy(p->id, id, sizeof(p->id));
	p->spec = copy;
	return OK;
}

enum err store_each_port(struct store *s, store_port_fn *fn, void *arg, struct why *why)
{
	struct vec v = { .item = sizeof(struct port_row) };
	struct scan sc = { .bad = 0 };
	enum err e = rows_scan(s, stmt_of(s, S_PORT_ALL), S_PORT_DROP, on_port, &v, &sc, why);
	struct port_row *p = (void *)v.items;
	for (size_t i = 0; i < v.n; i++) {
		if (e == OK)
			fn(arg, p[i].id, p[i].spec);
		free(p[i].spec);
	}
	free(v.items);
	return scan_end(e, &sc, why);
}

enum err port_verify(struct store *s, struct scan *sc, struct why *why)
{
	return rows_scan(s, stmt_of(s, S_PORT_ALL), NO_DROP, on_port, NULL, sc, why);
}
