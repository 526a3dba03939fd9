#include "switch/hold.h"

#include <stdlib.h>
#include <string.h>

struct hold_chunk {
	struct hold_chunk *next;
	uint32_t read, write; // offsets into bytes
	uint8_t bytes[HOLD_CHUNK] __attribute__((aligned(8)));
};

static uint32_t rec_size(uint32_t len)
{
	return (uint32_t)sizeof(struct hold_rec) + ((len + 7u) & ~7u);
}

void hold_init(struct hold *h)
{
	memset(h, 0, sizeof(*h));
	h->counts = &h->own_counts;
	pthread_mutex_init(&h->lock, NULL);
}

void hold_fini(struct hold *h, _Atomic uint64_t *used)
{
	while (h->head) {
		struct hold_chunk *c = h->head;
		h->head = c->next;
		free(c);
	}
	atomic_fetch_sub(used, atomic_load(&h->bytes));
	pthread_mutex_destroy(&h->lock);
}

static struct hold_chunk *tail_with_room(struct hold *h, uint32_t need)
{
	if (h->tail && HOLD_CHUNK - h->tail->write >= need)
		return h->tail;
	struct hold_chunk *c = malloc(sizeof(*c));
	if (!c)
		return NULL;
	c->next = NULL;
	c->read = c->write = 0;
	if (h->tail)
		h->tail->next = c;
	else
		h->head = c;
	h->tail = c;
	return c;
}

uint8_t *hold_append(struct hold *h, const struct hold_rec *rec, uint64_t limit, _Atomic uint64_t *used, uint64_t all_limit)
{
	uint32_t need = rec_size(rec->len);
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
	struct hold_rec *r = (struct hold_rec *)(void *)(c->bytes + c->write);
	*r = *rec;
	c->write += need;
	atomic_fetch_add(&h->bytes, need);
	atomic_fetch_add(&h->frames, 1);
	atomic_fetch_add(&h->counts->total, 1);
	if (!rec->forever && atomic_load(&h->oldest_until_us) == 0)
		atomic_store(&h->oldest_until_us, rec->until_us);
	return hold_bytes(r);
}

static void chunk_drop_read(struct hold *h)
{
	while (h->head && h->head->read == h->head->write) {
		struct hold_chunk *c = h->head;
		h->head = c->next;
		if (!h->head)
			h->tail = NULL;
		free(c);
	}
}

static struct hold_rec *rec_at(struct hold_chunk *c, uint32_t at)
{
	return (struct hold_rec *)(void *)(c->bytes + at);
}

struct hold_rec *hold_first(struct hold *h)
{
	for (;;) {
		chunk_drop_read(h);
		if (!h->head)
			return NULL;
		struct hold_rec *r = rec_at(h->head, h->head->read);
		if (!r->gone)
			return r;
		h->head->read += rec_size(r->len); // was accounted when it was taken out
	}
}

void hold_pop(struct hold *h, _Atomic uint64_t *used)
{
	struct hold_rec *r = hold_first(h);
	if (!r)
		return;
	uint32_t size = rec_size(r->len);
	h->head->read += size;
	atomic_fetch_sub(used, size);
	atomic_fetch_sub(&h->bytes, size);
	atomic_fetch_sub(&h->frames, 1);
	chunk_drop_read(h);
	struct hold_rec *first = hold_first(h);
	if (!first)
		atomic_store(&h->oldest_until_us, 0);
	else if (!first->forever)
		atomic_store(&h->oldest_until_us, first->until_us);
}

void hold_splice(struct hold *from, struct hold *to)
{
	if (!from->head)
		return;
	from->tail->next = to->head;
	if (!to->head)
		to->tail = from->tail;
	to->head = from->head;
	from->head = from->tail = NULL;
	atomic_fetch_add(&to->frames, atomic_exchange(&from->frames, 0));
	atomic_fetch_add(&to->bytes, atomic_exchange(&from->bytes, 0));
	atomic_store(&from->oldest_until_us, 0);
	hold_clock(to);
}

void hold_each(struct hold *h, hold_each_fn *fn, void *arg)
{
	for (struct hold_chunk *c = h->head; c; c = c->next)
		for (uint32_t at = c->read; at < c->write; at += rec_size(rec_at(c, at)->len))
			if (!rec_at(c, at)->gone)
				fn(arg, rec_at(c, at));
}

void hold_take_out(struct hold *h, struct hold_rec *rec, _Atomic uint64_t *used)
{
	uint32_t size = rec_size(rec->len);
	rec->gone = 1;
	atomic_fetch_sub(used, size);
	atomic_fetch_sub(&h->bytes, size);
	atomic_fetch_sub(&h->frames, 1);
}

// The first one that can get too old is the one that will: they are in order of arrival.
void hold_clock(struct hold *h)
{
	uint64_t due = 0;
	for (struct hold_chunk *c = h->head; c && !due; c = c->next)
		for (uint32_t at = c->read; at < c->write && !due; at += rec_size(rec_at(c, at)->len))
			if (!rec_at(c, at)->gone && !rec_at(c, at)->forever)
				due = rec_at(c, at)->until_us;
	atomic_store(&h->oldest_until_us, due);
}

static bool expire_chunk(struct hold *h, struct hold_chunk *c, uint64_t now_us, _Atomic uint64_t *used, uint64_t *n)
{
	for (uint32_t at = c->read; at < c->write; at += rec_size(rec_at(c, at)->len)) {
		struct hold_rec *r = rec_at(c, at);
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
	for (struct hold_chunk *c = h->head; c && expire_chunk(h, c, now_us, used, &n);)
		c = c->next;
	hold_first(h); // gives back what is read
	hold_clock(h);
	return n;
}

bool hold_stamp(struct hold *h, uint64_t until_us)
{
	bool any = false;
	for (struct hold_chunk *c = h->head; c; c = c->next) {
		for (uint32_t at = c->read; at < c->write; at += rec_size(rec_at(c, at)->len)) {
			struct hold_rec *r = rec_at(c, at);
			if (r->gone || !r->forever)
				continue;
			r->forever = 0;
			r->until_us = until_us;
			any = true;
		}
	}
	if (any)
		hold_clock(h);
	return any;
}
