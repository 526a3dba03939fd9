#include "switch/fdb.h"

#include <stdlib.h>
#include <string.h>

struct fdb_entry {
	_Atomic uint64_t key; // 0: never used; a key never changes within one table
	_Atomic uint64_t value; // 0: removed; else VALID | source << 48 | port << 32 | seen_s
};

struct fdb_table {
	uint32_t mask;
	struct fdb_entry entry[];
};

#define VALID (UINT64_C(1) << 63)

static uint64_t value_pack(uint16_t port, uint8_t source, uint32_t seen_s)
{
	return VALID | (uint64_t)source << 48 | (uint64_t)port << 32 | seen_s;
}

static struct fdb_hit value_unpack(uint64_t v)
{
	return (struct fdb_hit){ .port = (uint16_t)(v >> 32), .source = (uint8_t)(v >> 48 & 0x7f), .seen_s = (uint32_t)v };
}

static bool value_live(uint64_t v, uint32_t now_s)
{
	if (!(v & VALID))
		return false;
	struct fdb_hit h = value_unpack(v);
	return h.source == FDB_CONFIG || now_s - h.seen_s <= FDB_AGE_S;
}

// A 64-bit finaliser: MACs are chosen by guests, but a guest that fills one bucket harms look-ups of its own net only, and
// max-macs bounds how far.
static uint32_t hash(uint64_t key)
{
	key ^= key >> 31;
	key *= UINT64_C(0x7fb5d329728ea185);
	key ^= key >> 27;
	key *= UINT64_C(0x81dadef4bc2dd44d);
	key ^= key >> 33;
	return (uint32_t)key;
}

static struct fdb_table *table_new(uint32_t size)
{
	size_t bytes = sizeof(struct fdb_table) + size * sizeof(struct fdb_entry);
	struct fdb_table *t = malloc(bytes);
	if (!t)
		return NULL;
	memset(t, 0, bytes); // its pages are there before anybody waits for it
	t->mask = size - 1;
	return t;
}

void fdb_table_free(struct fdb_table *t)
{
	free(t);
}

bool fdb_init(struct fdb *f)
{
	struct fdb_table *t = table_new(FDB_FIRST_SIZE);
	if (!t)
		return false;
	atomic_init(&f->table, t);
	atomic_init(&f->used, 0);
	atomic_init(&f->want_grow, false);
	atomic_init(&f->moves, 0);
	pthread_mutex_init(&f->lock, NULL);
	return true;
}

void fdb_fini(struct fdb *f)
{
	fdb_table_free(atomic_load(&f->table));
	pthread_mutex_destroy(&f->lock);
}

// The entry of key, or the free one where it would go (never NULL: tables are at most three quarters full).
static struct fdb_entry *entry_of(struct fdb_table *t, uint64_t key)
{
	for (uint32_t i = hash(key);; i++) {
		struct fdb_entry *e = &t->entry[i & t->mask];
		uint64_t k = atomic_load_explicit(&e->key, memory_order_acquire);
		if (k == key || k == 0)
			return e;
	}
}

struct fdb_hit fdb_find(const struct fdb *f, uint64_t key, uint32_t now_s)
{
	struct fdb_table *t = atomic_load_explicit(&f->table, memory_order_acquire);
	uint64_t v = atomic_load_explicit(&entry_of(t, key)->value, memory_order_acquire);
	if (!value_live(v, now_s))
		return (struct fdb_hit){ .port = FDB_NO_PORT };
	return value_unpack(v);
}

void fdb_touch(struct fdb *f, uint64_t key, uint16_t port, uint32_t now_s)
{
	struct fdb_table *t = atomic_load_explicit(&f->table, memory_order_acquire);
	struct fdb_entry *e = entry_of(t, key);
	uint64_t v = atomic_load_explicit(&e->value, memory_order_acquire);
	struct fdb_hit h = value_unpack(v);
	if (!(v & VALID) || h.port != port || h.seen_s == now_s)
		return;
	// a lost race means that somebody else moved or renewed it: both are newer than we are
	atomic_compare_exchange_strong(&e->value, &v, value_pack(port, h.source, now_s));
}

static enum fdb_entered enter_locked(struct fdb *f, uint64_t key, uint16_t port, enum fdb_source source, uint32_t now_s,
				     uint16_t *old_port)
{
	struct fdb_table *t = atomic_load_explicit(&f->table, memory_order_relaxed);
	struct fdb_entry *e = entry_of(t, key);
	uint64_t v = atomic_load_explicit(&e->value, memory_order_relaxed);
	enum fdb_source kept = source == FDB_OVER ? FDB_LEARNED : source;
	bool known = atomic_load_explicit(&e->key, memory_order_relaxed) == key;
	if (known && value_live(v, now_s)) {
		struct fdb_hit h = value_unpack(v);
		*old_port = h.port;
		if (h.source == FDB_CONFIG && source != FDB_CONFIG && source != FDB_OVER) {
			if (h.port != port)
				return FDB_KEPT;
			kept = FDB_CONFIG; // a weaker word about the same port takes nothing away
		}
		atomic_store_explicit(&e->value, value_pack(port, (uint8_t)kept, now_s), memory_order_release);
		if (h.port == port)
			return FDB_SAME;
		atomic_fetch_add(&f->moves, 1);
		return FDB_MOVED;
	}
	if (!known) {
		uint32_t size = t->mask + 1, used = atomic_load_explicit(&f->used, memory_order_relaxed);
		if (used >= size / 2 && size < FDB_MAX_SIZE)
			atomic_store_explicit(&f->want_grow, true, memory_order_relaxed);
		if (used >= size / 4 * 3) {
			atomic_store_explicit(&f->want_grow, true, memory_order_relaxed);
			return FDB_FULL;
		}
		atomic_store_explicit(&f->used, used + 1, memory_order_relaxed);
	}
	atomic_store_explicit(&e->value, value_pack(port, (uint8_t)kept, now_s), memory_order_relaxed);
	atomic_store_explicit(&e->key, key, memory_order_release);
	return FDB_NEW;
}

enum fdb_entered fdb_enter(struct fdb *f, uint64_t key, uint16_t port, enum fdb_source source, uint32_t now_s,
			   uint16_t *old_port)
{
	*old_port = FDB_NO_PORT;
	pthread_mutex_lock(&f->lock);
	enum fdb_entered res = enter_locked(f, key, port, source, now_s, old_port);
	pthread_mutex_unlock(&f->lock);
	return res;
}

void fdb_unconfigure(struct fdb *f, uint64_t key, uint16_t port, uint32_t now_s)
{
	pthread_mutex_lock(&f->lock);
	struct fdb_entry *e = entry_of(atomic_load_explicit(&f->table, memory_order_relaxed), key);
	uint64_t v = atomic_load_explicit(&e->value, memory_order_relaxed);
	struct fdb_hit h = value_unpack(v);
	if (atomic_load_explicit(&e->key, memory_order_relaxed) == key && (v & VALID) && h.source == FDB_CONFIG) {
		uint64_t next = h.port == port ? 0 : value_pack(h.port, FDB_LEARNED, now_s);
		atomic_store_explicit(&e->value, next, memory_order_release);
		atomic_fetch_add(&f->moves, 1);
	}
	pthread_mutex_unlock(&f->lock);
}

static unsigned move_slice(struct fdb_table *t, uint32_t from, uint16_t port, uint16_t to, uint32_t now_s)
{
	unsigned n = 0;
	for (uint32_t i = from; i <= t->mask && i < from + FDB_SLICE; i++) {
		uint64_t v = atomic_load_explicit(&t->entry[i].value, memory_order_relaxed);
		struct fdb_hit h = value_unpack(v);
		if (!(v & VALID) || h.port != port)
			continue;
		uint64_t next = to == FDB_NO_PORT || !value_live(v, now_s) ? 0 : value_pack(to, h.source, now_s);
		atomic_store_explicit(&t->entry[i].value, next, memory_order_release);
		n++;
	}
	return n;
}

unsigned fdb_move_port(struct fdb *f, uint16_t port, uint16_t to, uint32_t now_s)
{
	unsigned n = 0;
	struct fdb_table *t = atomic_load_explicit(&f->table, memory_order_relaxed); // only our thread replaces it
	atomic_fetch_add(&f->moves, 1);
	for (uint32_t i = 0; i <= t->mask; i += FDB_SLICE) {
		pthread_mutex_lock(&f->lock);
		n += move_slice(t, i, port, to, now_s);
		pthread_mutex_unlock(&f->lock);
	}
	atomic_fetch_add(&f->moves, 1); // memos that were made meanwhile
	return n;
}

void fdb_each(const struct fdb *f, uint32_t now_s, fdb_each_fn *fn, void *arg)
{
	struct fdb_table *t = atomic_load(&f->table);
	for (uint32_t i = 0; i <= t->mask; i++) {
		uint64_t key = atomic_load_explicit(&t->entry[i].key, memory_order_acquire);
		uint64_t v = key ? atomic_load_explicit(&t->entry[i].value, memory_order_acquire) : 0;
		if (!value_live(v, now_s))
			continue;
		struct fdb_hit h = value_unpack(v);
		fn(arg, key, &h);
	}
}

static void count_one(void *arg, uint64_t key, const struct fdb_hit *hit)
{
	(void)key;
	struct {
		uint16_t port;
		unsigned n;
	} *c = arg;
	c->n += hit->port == c->port;
}

unsigned fdb_count_port(const struct fdb *f, uint16_t port, uint32_t now_s)
{
	struct {
		uint16_t port;
		unsigned n;
	} c = { port, 0 };
	fdb_each(f, now_s, count_one, &c);
	return c.n;
}

static uint32_t count_live(const struct fdb_table *t, uint32_t now_s)
{
	uint32_t live = 0;
	for (uint32_t i = 0; i <= t->mask; i++)
		live += value_live(atomic_load_explicit(&t->entry[i].value, memory_order_relaxed), now_s);
	return live;
}

static uint32_t copy_live(const struct fdb_table *from, struct fdb_table *to, uint32_t now_s)
{
	uint32_t live = 0;
	for (uint32_t i = 0; i <= from->mask; i++) {
		uint64_t v = atomic_load_explicit(&from->entry[i].value, memory_order_relaxed);
		if (!value_live(v, now_s))
			continue;
		uint64_t key = atomic_load_explicit(&from->entry[i].key, memory_order_relaxed);
		struct fdb_entry *e = entry_of(to, key);
		atomic_store_explicit(&e->value, v, memory_order_relaxed);
		atomic_store_explicit(&e->key, key, memory_order_relaxed);
		live++;
	}
	return live;
}

struct fdb_table *fdb_grow(struct fdb *f, uint32_t now_s)
{
	struct fdb_table *old = atomic_load_explicit(&f->table, memory_order_relaxed);
	uint32_t want = old->mask + 1, live = count_live(old, now_s); // about: entries come in meanwhile, at most to three quarters
	while (want < FDB_MAX_SIZE && live >= want / 4)
		want *= 2;
	struct fdb_table *t = table_new(want);
	if (!t)
		return NULL;
	pthread_mutex_lock(&f->lock); // nothing may be entered into the old one any more
	atomic_store_explicit(&f->used, copy_live(old, t, now_s), memory_order_relaxed);
	atomic_store_explicit(&f->want_grow, false, memory_order_relaxed);
	atomic_store_explicit(&f->table, t, memory_order_seq_cst);
	pthread_mutex_unlock(&f->lock);
	return old;
}
