// Migration records and the event journal. Their walks call fn while the table is read, since they may be long; what fn
// adds meanwhile is not seen by the same walk.
#include "store/inner.h"

#include <stdio.h>
#include <string.h>

enum { EVENTS_KEPT = 10000, TYPE_MAX = 64, DETAIL_MAX = 1024 };

// -- migrations -------------------------------------------------------------------------------------------------------
enum err store_migration_put(struct store *s, uint64_t id, const char *port, const char *json, struct why *why)
{
	if (!text_is_id(port, SNAP_PORT_MAX))
		return refuse(why, "the port's id is empty, too long or unprintable");
	if (id == 0 || id > COUNTER_MAX || strlen(json) > JSON_MAX)
		return refuse(why, "the migration's id is out of range or its record longer than %d bytes", JSON_MAX);
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	struct bind b;
	bind_start(&b, stmt_of(s, S_MIGRATION_PUT), T_MIGRATION);
	bind_int(&b, id);
	bind_text(&b, port);
	bind_text(&b, json);
	bind_seal(&b);
	e = stmt_run(s, b.st, why);
	if (e == OK)
		e = stmt_run(s, stmt_of(s, S_MIGRATION_PRUNE), why);
	return txn_end(s, e, why);
}

struct migration_walk {
	const char *port; // NULL: all
	store_migration_fn *fn;
	void *arg;
};

static enum err on_migration(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct migration_walk *w = arg;
	struct row r;
	char port[SNAP_PORT_MAX];
	(void)s;
	row_start(&r, st, 1, T_MIGRATION);
	uint64_t id = row_max(&r, COUNTER_MAX);
	row_copy(&r, port, sizeof(port));
	const char *json = row_text(&r, JSON_MAX);
	enum err e = row_seal(&r, "migration record", why);
	if (e == OK && !text_is_id(port, sizeof(port)))
		e = refuse(why, "stored migration record's port id is unprintable");
	if (e == OK && w && (!w->port || strcmp(w->port, port) == 0))
		w->fn(w->arg, id, port, json);
	return e;
}

enum err store_each_migration(struct store *s, const char *port_or_null, store_migration_fn *fn, void *arg, struct why *why)
{
	struct migration_walk w = { .port = port_or_null, .fn = fn, .arg = arg };
	struct scan sc = { .bad = 0 };
	enum err e = rows_scan(s, stmt_of(s, S_MIGRATION_ALL), S_MIGRATION_DROP, on_migration, &w, &sc, why);
	return scan_end(e, &sc, why);
}

enum err migration_verify(struct store *s, struct scan *sc, struct why *why)
{
	return rows_scan(s, stmt_of(s, S_MIGRATION_ALL), NO_DROP, on_migration, NULL, sc, why);
}

// -- events ---------------------------------------------------------------------------------------------------------------
static void text_cut(char *dst, size_t cap, const char *src)
{
	int n = snprintf(dst, cap, "%s", src ? src : "");
	size_t end = n > 0 ? strlen(dst) : 0;
	// Not within a character: what is left out begins where a byte does not continue one.
	if ((size_t)n > end)
		while (end > 0 && ((unsigned char)src[end] & 0xc0) == 0x80)
			end--;
	dst[end] = '\0';
}

enum err store_event_add(struct store *s, uint64_t time_us, const char *port, const char *type, const char *detail,
			 uint64_t *seq, struct why *why)
{
	char p[SNAP_PORT_MAX], t[TYPE_MAX], d[DETAIL_MAX];
	text_cut(p, sizeof(p), port);
	text_cut(t, sizeof(t), type);
	text_cut(d, sizeof(d), detail);
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	struct bind b;
	bind_start(&b, stmt_of(s, S_EVENT_PUT), T_EVENT);
	bind_int(&b, s->next_event);
	bind_int(&b, time_us);
	bind_text(&b, p);
	bind_text(&b, t);
	bind_text(&b, d);
	bind_seal(&b);
	e = stmt_run(s, b.st, why);
	if (e == OK && s->next_event > EVENTS_KEPT)
		e = stmt_run_id(s, S_EVENT_PRUNE, (int64_t)s->next_event - EVENTS_KEPT, why);
	e = txn_end(s, e, why);
	if (e != OK)
		return e;
	if (seq)
		*seq = s->next_event;
	s->next_event++;
	return OK;
}

struct event_walk {
	store_event_fn *fn;
	void *arg;
};

static enum err on_event(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct event_walk *w = arg;
	struct row r;
	char port[SNAP_PORT_MAX], type[TYPE_MAX];
	(void)s;
	row_start(&r, st, 1, T_EVENT);
	uint64_t seq = row_max(&r, COUNTER_MAX);
	uint64_t time_us = row_int(&r);
	row_copy(&r, port, sizeof(port));
	row_copy(&r, type, sizeof(type));
	const char *detail = row_text(&r, DETAIL_MAX);
	enum err e = row_seal(&r, "event", why);
	if (e == OK && w)
		w->fn(w->arg, seq, time_us, port, type, detail);
	return e;
}

static enum err events_scan(struct store *s, uint64_t since, enum stmt drop, struct event_walk *w, struct scan *sc,
			    struct why *why)
{
	sqlite3_stmt *st = stmt_of(s, S_EVENT_SINCE);
	sqlite3_bind_int64(st, 1, since > COUNTER_MAX ? COUNTER_MAX : (sqlite3_int64)since);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)s->next_event);
	return rows_scan(s, st, drop, on_event, w, sc, why);
}

enum err store_each_event(struct store *s, uint64_t since_seq, store_event_fn *fn, void *arg, struct why *why)
{
	struct event_walk w = { .fn = fn, .arg = arg };
	struct scan sc = { .bad = 0 };
	return scan_end(events_scan(s, since_seq, S_EVENT_DROP, &w, &sc, why), &sc, why);
}

enum err event_verify(struct store *s, struct scan *sc, struct why *why)
{
	return events_scan(s, 0, NO_DROP, NULL, sc, why);
}
