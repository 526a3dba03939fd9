// Connections: applied is the root row of one, conn, region and ring hang on it by the epoch.
#include "store/inner.h"

#include <stdlib.h>
#include <string.h>

static enum err applied_put(struct store *s, const struct snap *next, uint64_t seq, const uint8_t *reply, size_t len,
			    struct why *why)
{
	struct bind b;
	bind_start(&b, stmt_of(s, S_APPLIED_PUT), T_APPLIED);
	bind_int(&b, next->epoch);
	bind_text(&b, next->port);
	bind_text(&b, s->boot);
	bind_int(&b, s->life);
	bind_int(&b, seq);
	bind_blob(&b, reply, len);
	bind_seal(&b);
	enum err e = stmt_run(s, b.st, why);
	if (e == OK && sqlite3_changes(s->db) == 0)
		return refuse(why, "message %llu of epoch %llu is committed already, or the epoch is another port's",
			      (unsigned long long)seq, (unsigned long long)next->epoch);
	return e;
}

static enum err conn_put(struct store *s, const struct snap *n, struct why *why)
{
	struct bind b;
	bind_start(&b, stmt_of(s, S_CONN_PUT), T_CONN);
	bind_int(&b, n->epoch);
	bind_int(&b, n->features_offered);
	bind_int(&b, n->has_features);
	bind_int(&b, n->features_acked);
	bind_int(&b, n->has_protocol);
	bind_int(&b, n->protocol_features);
	bind_int(&b, n->owned);
	bind_int(&b, n->mtu);
	bind_int(&b, n->has_log);
	bind_int(&b, n->log_size);
	bind_int(&b, n->log_offset);
	bind_int(&b, n->log_from);
	bind_int(&b, n->bell_from);
	bind_seal(&b);
	return stmt_run(s, b.st, why);
}

static enum err regions_put(struct store *s, const struct snap *n, struct why *why)
{
	enum err e = stmt_run_id(s, S_REGION_DEL, (int64_t)n->epoch, why);
	for (uint32_t i = 0; i < n->n_regions && e == OK; i++) {
		struct bind b;
		bind_start(&b, stmt_of(s, S_REGION_PUT), T_REGION);
		bind_int(&b, n->epoch);
		bind_int(&b, i);
		bind_int(&b, n->region[i].guest_addr);
		bind_int(&b, n->region[i].size);
		bind_int(&b, n->region[i].user_addr);
		bind_int(&b, n->region[i].mmap_offset);
		bind_int(&b, n->region[i].from);
		bind_int(&b, n->region[i].from_n);
		bind_seal(&b);
		e = stmt_run(s, b.st, why);
	}
	return e;
}

static enum err ring_put(struct store *s, const struct snap *n, unsigned i, struct why *why)
{
	const struct snap_ring *r = &n->ring[i];
	struct bind b;
	bind_start(&b, stmt_of(s, S_RING_PUT), T_RING);
	bind_int(&b, n->epoch);
	bind_int(&b, i);
	bind_int(&b, r->num);
	bind_int(&b, r->base);
	bind_int(&b, r->base_given);
	bind_int(&b, r->has_addr);
	bind_int(&b, r->started);
	bind_int(&b, r->enabled);
	bind_int(&b, r->ever_disabled);
	bind_int(&b, r->ran);
	bind_int(&b, r->kick);
	bind_int(&b, r->call);
	bind_int(&b, r->err);
	bind_int(&b, r->kick_from);
	bind_int(&b, r->call_from);
	bind_int(&b, r->err_from);
	bind_int(&b, r->addr_flags);
	bind_int(&b, r->desc);
	bind_int(&b, r->used);
	bind_int(&b, r->avail);
	bind_int(&b, r->log);
	bind_seal(&b);
	return stmt_run(s, b.st, why);
}

enum err store_commit(struct store *s, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
		      size_t reply_len, struct why *why)
{
	return store_commit_owed(s, next, what, seq, reply, reply_len, NULL, why);
}

enum err store_commit_owed(struct store *s, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
			   size_t reply_len, const struct store_owed *owed, struct why *why)
{
	// What would be refused when read back must not be acknowledged as kept.
	enum err e = snap_check(next, why);
	if (e != OK)
		return e;
	if (next->epoch == 0 || next->epoch > COUNTER_MAX || seq > COUNTER_MAX)
		return refuse(why, "epoch %llu, message %llu is out of range", (unsigned long long)next->epoch,
			      (unsigned long long)seq);
	if (!text_is_id(next->port, sizeof(next->port)))
		return refuse(why, "the port's id is unprintable");
	if (reply_len > STORE_REPLY_MAX)
		return refuse(why, "a reply of %zu bytes is over %d", reply_len, STORE_REPLY_MAX);
	e = txn_begin(s, why);
	if (e != OK)
		return e;
	e = applied_put(s, next, seq, reply, reply_len, why);
	if (e == OK && (what & SNAP_CONN))
		e = conn_put(s, next, why);
	if (e == OK && (what & SNAP_MEM))
		e = regions_put(s, next, why);
	if (what & SNAP_ALL_RINGS)
		for (unsigned i = 0; i < SNAP_MAX_RINGS && e == OK; i++)
			if (what & SNAP_RING(i))
				e = ring_put(s, next, i, why);
	if (owed && e == OK)
		e = owed_put(s, owed, why);
	return txn_end(s, e, why);
}

static enum err conn_delete(struct store *s, int64_t epoch, struct why *why)
{
	enum err e = stmt_run_id(s, S_APPLIED_DEL, epoch, why);
	if (e == OK)
		e = stmt_run_id(s, S_CONN_DEL, epoch, why);
	if (e == OK)
		e = stmt_run_id(s, S_REGION_DEL, epoch, why);
	if (e == OK)
		e = stmt_run_id(s, S_RING_DEL, epoch, why);
	return e;
}

enum err store_connection_end(struct store *s, const char *port, uint64_t epoch, struct why *why)
{
	sqlite3_stmt *st = stmt_of(s, S_APPLIED_FIND);
	sqlite3_bind_int64(st, 1, (sqlite3_int64)epoch);
	sqlite3_bind_text(st, 2, port, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st);
	sqlite3_reset(st);
	if (rc == SQLITE_DONE)
		return OK; // it never committed anything
	if (rc != SQLITE_ROW)
		return db_failed(s, rc, why);
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	e = txn_end(s, conn_delete(s, (int64_t)epoch, why), why);
	wal_bound(s);
	return e;
}

// -- reading back --------------------------------------------------------------------------------------------------------
static enum err conn_load(struct snap *n, sqlite3_stmt *st, struct why *why)
{
	struct row r;
	row_start(&r, st, 0, T_CONN);
	row_int(&r);
	n->features_offered = row_int(&r);
	n->has_features = row_bool(&r);
	n->features_acked = row_int(&r);
	n->has_protocol = row_bool(&r);
	n->protocol_features = row_int(&r);
	n->owned = row_bool(&r);
	n->mtu = (uint16_t)row_max(&r, UINT16_MAX);
	n->has_log = row_bool(&r);
	n->log_size = row_int(&r);
	n->log_offset = row_int(&r);
	n->log_from = row_int(&r);
	n->bell_from = row_int(&r);
	return row_seal(&r, "connection", why);
}

static enum err region_load(struct snap *n, sqlite3_stmt *st, struct why *why)
{
	struct row r;
	row_start(&r, st, 0, T_REGION);
	row_int(&r);
	if (n->n_regions >= SNAP_MAX_REGIONS || row_int(&r) != n->n_regions)
		return refuse(why, "stored region table is damaged: more than %d regions, or one is missing", SNAP_MAX_REGIONS);
	struct snap_region *g = &n->region[n->n_regions++];
	g->guest_addr = row_int(&r);
	g->size = row_int(&r);
	g->user_addr = row_int(&r);
	g->mmap_offset = row_int(&r);
	g->from = row_int(&r);
	g->from_n = (uint32_t)row_max(&r, UINT32_MAX);
	return row_seal(&r, "region", why);
}

static enum err ring_load(struct snap *n, sqlite3_stmt *st, struct why *why)
{
	struct row r;
	row_start(&r, st, 0, T_RING);
	row_int(&r);
	struct snap_ring *g = &n->ring[row_max(&r, SNAP_MAX_RINGS - 1)];
	g->num = (uint32_t)row_max(&r, UINT32_MAX);
	g->base = (uint32_t)row_max(&r, UINT32_MAX);
	g->base_given = row_bool(&r);
	g->has_addr = row_bool(&r);
	g->started = row_bool(&r);
	g->enabled = row_bool(&r);
	g->ever_disabled = row_bool(&r);
	g->ran = row_bool(&r);
	g->kick = (uint8_t)row_max(&r, UINT8_MAX);
	g->call = (uint8_t)row_max(&r, UINT8_MAX);
	g->err = (uint8_t)row_max(&r, UINT8_MAX);
	g->kick_from = row_int(&r);
	g->call_from = row_int(&r);
	g->err_from = row_int(&r);
	g->addr_flags = (uint32_t)row_max(&r, UINT32_MAX);
	g->desc = row_int(&r);
	g->used = row_int(&r);
	g->avail = row_int(&r);
	g->log = row_int(&r);
	return row_seal(&r, "ring", why);
}

static enum err part_load(struct store *s, enum stmt id, struct snap *n,
			  enum err (*load)(struct snap *, sqlite3_stmt *, struct why *), struct why *why)
{
	sqlite3_stmt *st = stmt_of(s, id);
	enum err e = OK;
	int rc;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)n->epoch);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && e == OK)
		e = load(n, st, why);
	if (e == OK && rc != SQLITE_DONE)
		e = db_failed(s, rc, why);
	sqlite3_reset(st);
	return e;
}

static enum err conn_load_all(struct store *s, sqlite3_stmt *st, struct store_connection *c, struct why *why)
{
	struct row r;
	char boot[sizeof(s->boot)];
	memset(c, 0, sizeof(*c));
	row_start(&r, st, 0, T_APPLIED);
	c->snap.epoch = row_max(&r, COUNTER_MAX);
	row_copy(&r, c->snap.port, sizeof(c->snap.port));
	row_copy(&r, boot, sizeof(boot));
	row_max(&r, COUNTER_MAX);
	c->seq = row_max(&r, COUNTER_MAX);
	c->reply_len = (uint32_t)row_blob(&r, c->reply, sizeof(c->reply));
	enum err e = row_seal(&r, "connection", why);
	if (e == OK)
		e = part_load(s, S_CONN_GET, &c->snap, conn_load, why);
	if (e == OK)
		e = part_load(s, S_REGION_GET, &c->snap, region_load, why);
	if (e == OK)
		e = part_load(s, S_RING_GET, &c->snap, ring_load, why);
	if (e == OK && !text_is_id(c->snap.port, sizeof(c->snap.port)))
		e = refuse(why, "stored connection's port id is unprintable");
	if (e == OK)
		e = snap_check(&c->snap, why);
	return e;
}

struct conn_walk {
	struct vec good; // of struct store_connection
	struct vec bad; // of epochs
};

static enum err on_conn(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct conn_walk *w = arg;
	struct store_connection c;
	enum err e = conn_load_all(s, st, &c, why);
	if (!w || (e != OK && e != REFUSED))
		return e;
	void *slot = vec_add(e == OK ? &w->good : &w->bad);
	if (!slot)
		return ours(why, "out of memory");
	if (e == OK) {
		memcpy(slot, &c, sizeof(c));
	} else {
		int64_t epoch = sqlite3_column_int64(st, 0);
		memcpy(slot, &epoch, sizeof(epoch));
	}
	return e;
}

// One bad row spoils its connection, and only that.
static void conns_drop(struct store *s, const struct vec *bad)
{
	if (bad->n == 0 || txn_begin(s, NULL) != OK)
		return;
	enum err e = OK;
	for (size_t i = 0; i < bad->n && e == OK; i++)
		e = conn_delete(s, ((const int64_t *)(const void *)bad->items)[i], NULL);
	txn_end(s, e, NULL);
}

enum err store_each_adoptable(struct store *s, store_connection_fn *fn, void *arg, struct why *why)
{
	struct conn_walk w = { .good.item = sizeof(struct store_connection), .bad.item = sizeof(int64_t) };
	struct scan sc = { .bad = 0 };
	sqlite3_bind_int64(stmt_of(s, S_APPLIED_LIFE), 1, (sqlite3_int64)(s->resumed ? s->life : s->life - 1));
	enum err e = rows_scan(s, stmt_of(s, S_APPLIED_LIFE), NO_DROP, on_conn, &w, &sc, why);
	conns_drop(s, &w.bad);
	if (e == OK) {
		const struct store_connection *c = (const void *)w.good.items;
		for (size_t i = 0; i < w.good.n; i++)
			fn(arg, &c[i]);
	}
	free(w.good.items);
	free(w.bad.items);
	return scan_end(e, &sc, why);
}

struct plain {
	store_snap_fn *fn;
	void *arg;
};

static void on_adoptable(void *arg, const struct store_connection *c)
{
	const struct plain *p = arg;
	p->fn(p->arg, &c->snap, c->seq);
}

enum err store_each_connection(struct store *s, store_snap_fn *fn, void *arg, struct why *why)
{
	struct plain p = { fn, arg };
	return store_each_adoptable(s, on_adoptable, &p, why);
}

enum err conn_verify(struct store *s, struct scan *sc, struct why *why)
{
	enum err e = rows_scan(s, stmt_of(s, S_APPLIED_ALL), NO_DROP, on_conn, NULL, sc, why);
	sqlite3_stmt *st = stmt_of(s, S_ORPHANS);
	int rc = e == OK ? sqlite3_step(st) : SQLITE_ROW;
	if (rc != SQLITE_ROW)
		e = db_failed(s, rc, why);
	if (e == OK && sqlite3_column_int64(st, 0) > 0) {
		if (sc->bad == 0)
			refuse(&sc->first, "%lld rows belong to no connection", (long long)sqlite3_column_int64(st, 0));
		sc->bad++;
	}
	sqlite3_reset(st);
	return e;
}
