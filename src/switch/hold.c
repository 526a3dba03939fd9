#include "switch/hold.h"

#include <string.h>

#include "base/crash.h"

// Seeded bugs for the negative controls of test_held: a frame counts before its bytes are there; what is taken out is gone
// at once.
#ifdef VRINGD_MUTANT_HOLD_EARLY
#define COMMITS_LATE 0
#else
#define COMMITS_LATE 1
#endif
#ifdef VRINGD_MUTANT_HOLD_POPPED
#define SETTLES 0
#else
#define SETTLES 1
#endif

static uint32_t written(const struct hold *h, const struct hold_chunk *c)
{
	return atomic_load(&held_meta(h->mem, c)->write);
}

static struct hold_rec *rec_at(const struct hold *h, const struct hold_chunk *c, uint32_t at)
{
	return (struct hold_rec *)(void *)(held_bytes(h->mem, c) + at);
}

static uint64_t order_of(const struct hold *h, const struct hold_chunk *c)
{
	return atomic_load(&held_meta(h->mem, c)->place) & ((UINT64_C(1) << 48) - 1);
}

void hold_init(struct hold *h, struct held *mem, uint16_t owner)
{
	memset(h, 0, sizeof(*h));
	h->mem = mem;
	h->owner = owner;
	h->first_order = HOLD_ORDER_FIRST;
	h->counts = &h->own_counts;
	pthread_mutex_init(&h->lock, NULL);
}

void hold_init_before(struct hold *h, const struct hold *to)
{
	hold_init(h, to->mem, to->owner);
	h->counts = to->counts;
	if (to->head)
		h->first_order = order_of(to, to->head) - HOLD_ORDER_ROOM;
}

void hold_fini(struct hold *h, _Atomic uint64_t *used, bool leave)
{
	while (h->head) {
		struct hold_chunk *c = h->head;
		h->head = c->next;
		if (!leave)
			held_free(h->mem, c);
	}
	atomic_fetch_sub(used, atomic_load(&h->bytes));
	pthread_mutex_destroy(&h->lock);
}

void hold_adopt(struct hold *h, _Atomic uint64_t *used, bool keep)
{
	uint64_t frames = 0, bytes = 0;
	h->head = h->at = held_left(h->mem, h->owner);
	for (struct hold_chunk *c = h->head; c; c = c->next) {
		h->tail = c;
		for (uint32_t at = c->read; at < written(h, c); at += hold_rec_size(rec_at(h, c, at)->len)) {
			struct hold_rec *r = rec_at(h, c, at);
			if (!keep)
				r->gone = 1;
			frames += !r->gone;
			bytes += r->gone ? 0 : hold_rec_size(r->len);
		}
	}
	atomic_store(&h->frames, frames);
	atomic_store(&h->bytes, bytes);
	atomic_fetch_add(used, bytes);
	atomic_store(&h->gate, frames != 0);
	hold_first(h);
	hold_settle(h);
	hold_clock(h);
}

static struct hold_chunk *tail_with_room(struct hold *h, uint32_t need)
{
	if (h->tail && HOLD_CHUNK - written(h, h->tail) >= need)
		return h->tail;
	uint64_t order = h->tail ? order_of(h, h->tail) + 1 : h->first_order;
	struct hold_chunk *c = held_new(h->mem, hold_place(h->owner, order));
	if (!c)
		return NULL;
	if (h->tail)
		h->tail->next = c;
	else
		h->head = h->at = c;
	h->tail = c;
	return c;
}

uint8_t *hold_append(struct hold *h, const struct hold_rec *rec, uint64_t limit, _Atomic uint64_t *used, uint64_t all_limit)
{
	uint32_t need = hold_rec_size(rec->len);
	if (need > HOLD_CHUNK || atomic_load(&h->bytes) + need > limit)
		return NULL;
	if (atomic_fetch_add(used, need) + need > all_limit) {
		atomic_fetch_sub(used, need);
		return NULL;
	}
	struct hold_chunk *c = tail_with_room(h, need);
	if (!c) {
		atomic_fetch_sub(used, need);
		return NULL;
	}
	struct hold_rec *r = rec_at(h, c, written(h, c));
	*r = *rec;
	h->pending = r;
	if (!COMMITS_LATE)
		atomic_store(&held_meta(h->mem, c)->write, written(h, c) + need);
	return hold_bytes(r);
}

void hold_commit(struct hold *h)
{
	struct hold_rec *r = h->pending;
	uint32_t need = hold_rec_size(r->len);
	crash_here(CRASH_hold_written);
	if (COMMITS_LATE)
		atomic_store(&held_meta(h->mem, h->tail)->write, written(h, h->tail) + need);
	crash_here(CRASH_hold_kept);
	atomic_fetch_add(&h->bytes, need);
	atomic_fetch_add(&h->frames, 1);
	atomic_fetch_add(&h->counts->total, 1);
	if (!r->forever && atomic_load(&h->oldest_until_us) == 0)
		atomic_store(&h->oldest_until_us, r->until_us);
}

struct hold_rec *hold_first(struct hold *h)
{
	while (h->at) {
		struct hold_chunk *c = h->at;
		if (c->read == written(h, c)) {
			if (!c->next)
				return NULL;
			h->at = c->next;
			continue;
		}
		struct hold_rec *r = rec_at(h, c, c->read);
		if (!r->gone)
			return r;
		c->read += hold_rec_size(r->len); // was accounted when it was taken out
	}
	return NULL;
}

void hold_pop(struct hold *h, _Atomic uint64_t *used)
{
	struct hold_rec *r = hold_first(h);
	if (!r)
		return;
	uint32_t size = hold_rec_size(r->len);
	h->at->read += size;
	if (!SETTLES)
		atomic_store(&held_meta(h->mem, h->at)->read, h->at->read);
	atomic_fetch_sub(used, size);
	atomic_fetch_sub(&h->bytes, size);
	atomic_fetch_sub(&h->frames, 1);
	struct hold_rec *first = hold_first(h);
	if (!first)
		atomic_store(&h->oldest_until_us, 0);
	else if (!first->forever)
		atomic_store(&h->oldest_until_us, first->until_us);
}

void hold_settle(struct hold *h)
{
	while (h->head && h->head->read == written(h, h->head)) {
		struct hold_chunk *c = h->head;
		h->head = c->next;
		if (!h->head)
			h->tail = NULL;
		held_free(h->mem, c);
	}
	if (h->head)
		atomic_store(&held_meta(h->mem, h->head)->read, h->head->read);
	h->at = h->head;
}

static struct hold_chunk *reverse(struct hold_chunk *list)
{
	struct hold_chunk *out = NULL;
	while (list) {
		struct hold_chunk *c = list;
		list = c->next;
		c->next = out;
		out = c;
	}
	return out;
}

void hold_splice(struct hold *from, struct hold *to)
{
	if (!from->head)
		return;
	// the last one first: should we die in the middle, what is left of `from` belongs in front of what has moved
	uint64_t order = to->head ? order_of(to, to->head) : HOLD_ORDER_FIRST;
	struct hold_chunk *list = reverse(from->head);
	for (struct hold_chunk *c = list; c; c = c->next) {
		atomic_store(&held_meta(from->mem, c)->place, hold_place(to->owner, --order));
		crash_here(CRASH_hold_moving);
	}
	from->head = reverse(list);
	from->tail->next = to->head;
	if (!to->head)
		to->tail = from->tail;
	to->head = to->at = from->head;
	from->head = from->tail = from->at = NULL;
	atomic_fetch_add(&to->frames, atomic_exchange(&from->frames, 0));
	atomic_fetch_add(&to->bytes, atomic_exchange(&from->bytes, 0));
	atomic_store(&from->oldest_until_us, 0);
	hold_clock(to);
}

void hold_each(struct hold *h, hold_each_fn *fn, void *arg)
{
	for (struct hold_chunk *c = h->at; c; c = c->next)
		for (uint32_t at = c->read; at < written(h, c); at += hold_rec_size(rec_at(h, c, at)->len))
			if (!rec_at(h, c, at)->gone)
				fn(arg, rec_at(h, c, at));
}

void hold_take_out(struct hold *h, struct hold_rec *rec, _Atomic uint64_t *used)
{
	uint32_t size = hold_rec_size(rec->len);
	rec->gone = 1;
	atomic_fetch_sub(used, size);
	atomic_fetch_sub(&h->bytes, size);
	atomic_fetch_sub(&h->frames, 1);
}

// The first one that can get too old is the one that will: they are in order of arrival.
void hold_clock(struct hold *h)
{
	uint64_t due = 0;
	for (struct hold_chunk *c = h->at; c && !due; c = c->next)
		for (uint32_t at = c->read; at < written(h, c) && !due; at += hold_rec_size(rec_at(h, c, at)->len))
			if (!rec_at(h, c, at)->gone && !rec_at(h, c, at)->forever)
				due = rec_at(h, c, at)->until_us;
	atomic_store(&h->oldest_until_us, due);
}

static bool expire_chunk(struct hold *h, struct hold_chunk *c, uint64_t now_us, _Atomic uint64_t *used, uint64_t *n)
{
	for (uint32_t at = c->read; at < written(h, c); at += hold_rec_size(rec_at(h, c, at)->len)) {
		struct hold_rec *r = rec_at(h, c, at);
		if (r->gone || r->forever)
			continue;
		if (r->until_us > now_us)
			return false;
		hold_take_out(h, r, used);
		++*n;
	}
	return true;
}

uint64_t hold_expire(struct hold *h, uint64_t now_us, _Atomic uint64_t *used)
{
	uint64_t n = 0;
	for (struct hold_chunk *c = h->at; c && expire_chunk(h, c, now_us, used, &n);)
		c = c->next;
	hold_first(h);
	hold_settle(h); // gives back what is read
	hold_clock(h);
	return n;
}

bool hold_stamp(struct hold *h, uint64_t until_us)
{
	bool any = false;
	for (struct hold_chunk *c = h->at; c; c = c->next) {
		for (uint32_t at = c->read; at < written(h, c); at += hold_rec_size(rec_at(h, c, at)->len)) {
			struct hold_rec *r = rec_at(h, c, at);
			if (r->gone || !r->forever)
				continue;
			r->until_us = until_us;
			r->forever = 0;
			any = true;
		}
	}
	if (any)
		hold_clock(h);
	return any;
}
