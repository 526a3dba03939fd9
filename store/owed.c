#include "store/inner.h"

#include <stdlib.h>
#include <string.h>

enum err owed_put(struct store *s, const struct store_owed *o, struct why *why)
{
	if (!text_is_id(o->port, sizeof(o->port)))
		return refuse(why, "the port's id is empty, too long or unprintable");
	if (o->rounds_done >= o->rounds)
		return refuse(why, "%u of %u rounds are done: nothing is owed", o->rounds_done, o->rounds);
	struct bind b;
	bind_start(&b, stmt_of(s, S_OWED_PUT), T_OWED);
	bind_text(&b, o->port);
	bind_blob(&b, o->mac, sizeof(o->mac));
	bind_text(&b, s->boot);
	bind_int(&b, o->rounds_done);
	bind_int(&b, o->rounds);
	bind_int(&b, o->next_due_us);
	bind_seal(&b);
	return stmt_run(s, b.st, why);
}

enum err store_owed_put(struct store *s, const struct store_owed *o, struct why *why)
{
	enum err e = txn_begin(s, why);
	return e == OK ? txn_end(s, owed_put(s, o, why), why) : e;
}

enum err store_owed_done(struct store *s, const char *port, const uint8_t mac[6], struct why *why)
{
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	sqlite3_stmt *st = stmt_of(s, S_OWED_DONE);
	sqlite3_bind_text(st, 1, port, -1, SQLITE_STATIC);
	sqlite3_bind_blob(st, 2, mac, 6, SQLITE_STATIC);
	return txn_end(s, stmt_run(s, st, why), why);
}

static enum err on_owed(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct row r;
	char boot[sizeof(s->boot)];
	struct store_owed o = { .rounds = 0 };
	row_start(&r, st, 1, T_OWED);
	row_copy(&r, o.port, sizeof(o.port));
	if (row_blob(&r, o.mac, sizeof(o.mac)) != sizeof(o.mac))
		r.bad = "its MAC is cut short";
	row_copy(&r, boot, sizeof(boot));
	o.rounds_done = (uint32_t)row_max(&r, UINT32_MAX);
	o.rounds = (uint32_t)row_max(&r, UINT32_MAX);
	o.next_due_us = row_int(&r);
	enum err e = row_seal(&r, "announcement", why);
	if (e == OK && (!text_is_id(o.port, sizeof(o.port)) || o.rounds_done >= o.rounds))
		e = refuse(why, "stored announcement makes no sense");
	if (e != OK || !arg)
		return e;
	// A due time counts from a boot.
	if (strcmp(boot, s->boot) != 0 || strcmp(boot, "unknown") == 0)
		o.next_due_us = 0;
	struct store_owed *slot = vec_add(arg);
	if (!slot)
		return ours(why, "out of memory");
	*slot = o;
	return OK;
}

enum err store_each_owed(struct store *s, store_owed_fn *fn, void *arg, struct why *why)
{
	struct vec v = { .item = sizeof(struct store_owed) };
	struct scan sc = { .bad = 0 };
	enum err e = rows_scan(s, stmt_of(s, S_OWED_ALL), S_OWED_DROP, on_owed, &v, &sc, why);
	const struct store_owed *o = (const void *)v.items;
	for (size_t i = 0; i < v.n && e == OK; i++)
		fn(arg, &o[i]);
	free(v.items);
	return scan_end(e, &sc, why);
}

enum err owed_verify(struct store *s, struct scan *sc, struct why *why)
{
	return rows_scan(s, stmt_of(s, S_OWED_ALL), NO_DROP, on_owed, NULL, sc, why);
}
