#include "toy_ring.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"

bool toy_packed(const struct toy_mem *m)
{
	return bits_has(m->features, VIRTIO_F_RING_PACKED);
}

uint8_t *toy_at(const struct toy_mem *m, uint64_t addr, bool user)
{
	for (unsigned i = 0; i < m->n_regions; i++) {
		uint64_t from = user ? m->region[i].user_addr : m->region[i].guest_addr;
		if (addr - from < m->region[i].size)
			return m->map[i] + m->region[i].mmap_offset + (addr - from);
	}
	abort();
}

static uint64_t toy_gpa(const struct toy_mem *m, uint64_t user)
{
	for (unsigned i = 0; i < m->n_regions; i++)
		if (user - m->region[i].user_addr < m->region[i].size)
			return m->region[i].guest_addr + (user - m->region[i].user_addr);
	abort();
}

static void toy_mark(const struct toy_mem *m, uint64_t gpa, uint32_t len)
{
	if (m->log == NULL || !bits_has(m->features, VHOST_F_LOG_ALL) || len == 0)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t p = gpa >> 12; p <= (gpa + len - 1) >> 12; p++)
		__atomic_fetch_or(&m->log[p / 64], UINT64_C(1) << (p % 64), __ATOMIC_SEQ_CST);
}

static void toy_mark_early(const struct toy_mem *m, uint64_t gpa, uint32_t len)
{
	struct timespec ts = {.tv_nsec = 20000};
	if (m->fault != TOY_LOG_EARLY)
		return;
	toy_mark(m, gpa, len);
	nanosleep(&ts, NULL); // the harvester's chance
}

static void toy_mark_late(const struct toy_mem *m, enum toy_fault kind, uint64_t gpa, uint32_t len)
{
	if (m->fault != kind && m->fault != TOY_LOG_EARLY)
		toy_mark(m, gpa, len);
}

void toy_store(struct toy_mem *m, enum toy_fault kind, uint64_t gpa, const void *from, uint32_t len)
{
	toy_mark_early(m, gpa, len);
	memcpy(toy_at(m, gpa, false), from, len);
	toy_mark_late(m, kind, gpa, len);
}

// -- packed ------------------------------------------------------------------------------------------------------------
static struct vq_pdesc *toy_pdesc(const struct toy_mem *m, const struct toy_ring *r, uint16_t slot)
{
	return (struct vq_pdesc *)(void *)toy_at(m, r->addr.desc, true) + slot;
}

static void toy_advance(const struct toy_ring *r, struct vq_pos *at, unsigned descs)
{
	for (; descs > 0; descs--)
		if (++at->slot == r->num)
			*at = (struct vq_pos){.slot = 0, .wrap = !at->wrap};
}

static void toy_next_packed(const struct toy_mem *m, struct toy_ring *r, struct toy_chain *c)
{
	for (bool more = true; more;) {
		struct vq_pdesc d = *toy_pdesc(m, r, r->p_next.slot);
		toy_advance(r, &r->p_next, 1);
		c->descs++;
		c->id = d.id;
		more = d.flags & VQ_NEXT;
		if (!(d.flags & VQ_INDIRECT)) {
			c->seg[c->n++] = (struct toy_seg){d.addr, d.len, d.flags & VQ_WRITE};
			continue;
		}
		const struct vq_pdesc *t = (const struct vq_pdesc *)(const void *)toy_at(m, d.addr, false);
		for (uint32_t i = 0; i < d.len / sizeof(*t); i++)
			c->seg[c->n++] = (struct toy_seg){t[i].addr, t[i].len, t[i].flags & VQ_WRITE};
	}
}

static void toy_write_used(struct toy_mem *m, const struct toy_ring *r, struct vq_pos at, const struct toy_used *u)
{
	struct vq_pdesc *d = toy_pdesc(m, r, at.slot);
	uint64_t gpa = (m->fault == TOY_LOG_ADDR ? r->addr.log : toy_gpa(m, r->addr.desc)) + at.slot * sizeof(*d);
	toy_mark_early(m, gpa, sizeof(*d));
	d->id = u->id;
	d->len = u->len;
	__atomic_store_n(&d->flags, (at.wrap ? VQ_AVAIL | VQ_USED : 0) | (u->write ? VQ_WRITE : 0), __ATOMIC_RELEASE);
	toy_mark_late(m, TOY_LOG_ELEM, gpa, sizeof(*d));
}

// Whether the driver wants to hear of the descriptors from old to where we are.
static bool toy_call_wanted(const struct toy_mem *m, const struct toy_ring *r, struct vq_pos old)
{
	uint32_t e = __atomic_load_n((uint32_t *)(void *)toy_at(m, r->addr.avail, true), __ATOMIC_SEQ_CST);
	if (e >> 16 != VQ_EVENT_DESC)
		return e >> 16 == VQ_EVENT_ENABLE;
	for (; old.slot != r->p_used.slot || old.wrap != r->p_used.wrap; toy_advance(r, &old, 1))
		if (old.slot == (e & 0x7fff) && old.wrap == (e >> 15 & 1))
			return true;
	return false;
}

// What was used, the first last: then the driver sees all of it at once. Then the wish for the next kick.
static bool toy_publish_packed(struct toy_mem *m, struct toy_ring *r)
{
	struct vq_pos at[TOY_MAX_PENDING], old = r->p_used;
	for (unsigned i = 0; i < r->n_pending; i++) {
		at[i] = r->p_used;
		toy_advance(r, &r->p_used, r->pending[i].descs);
	}
	for (unsigned i = r->n_pending; i-- > 0;)
		toy_write_used(m, r, at[i], &r->pending[i]);
	r->n_pending = 0;
	uint32_t wish = r->p_next.slot | (uint32_t)r->p_next.wrap << 15;
	if (bits_has(m->features, VIRTIO_F_EVENT_IDX))
		wish |= VQ_EVENT_DESC << 16;
	toy_mark_early(m, toy_gpa(m, r->addr.used), sizeof(wish));
	__atomic_store_n((uint32_t *)(void *)toy_at(m, r->addr.used, true), wish, __ATOMIC_SEQ_CST);
	toy_mark_late(m, TOY_LOG_EVENT, toy_gpa(m, r->addr.used), sizeof(wish));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return toy_call_wanted(m, r, old);
}

// -- split -------------------------------------------------------------------------------------------------------------
static void toy_next_split(const struct toy_mem *m, struct toy_ring *r, struct toy_chain *c)
{
	const uint16_t *avail = (const uint16_t *)(const void *)toy_at(m, r->addr.avail, true);
	const struct vq_desc *table = (const struct vq_desc *)(const void *)toy_at(m, r->addr.desc, true);
	uint16_t at = c->id = avail[2 + r->next++ % r->num];
	if (table[at].flags & VQ_INDIRECT) {
		table = (const struct vq_desc *)(const void *)toy_at(m, table[at].addr, false);
		at = 0;
	}
	for (;; at = table[at].next) {
		c->seg[c->n++] = (struct toy_seg){table[at].addr, table[at].len, table[at].flags & VQ_WRITE};
		if (!(table[at].flags & VQ_NEXT))
			return;
	}
}

static void toy_publish_split(struct toy_mem *m, struct toy_ring *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	toy_store(m, TOY_LOG_IDX, toy_gpa(m, r->addr.used) + 2, &r->used, 2);
	toy_store(m, TOY_LOG_EVENT, toy_gpa(m, r->addr.used) + 4 + 8 * r->num, &r->next, 2);
}

// -- both --------------------------------------------------------------------------------------------------------------
void toy_ring_base(const struct toy_mem *m, struct toy_ring *r, uint32_t base)
{
	r->n_pending = 0;
	if (!toy_packed(m)) {
		r->next = r->used = (uint16_t)base;
		return;
	}
	r->p_next = (struct vq_pos){.slot = base & 0x7fff, .wrap = base >> 15 & 1};
	r->p_used = (struct vq_pos){.slot = base >> 16 & 0x7fff, .wrap = base >> 31};
}

uint32_t toy_ring_place(const struct toy_mem *m, const struct toy_ring *r)
{
	if (!toy_packed(m))
		return r->next;
	return r->p_next.slot | (uint32_t)r->p_next.wrap << 15 | (uint32_t)r->p_used.slot << 16 |
	       (uint32_t)r->p_used.wrap << 31;
}

bool toy_more(const struct toy_mem *m, const struct toy_ring *r)
{
	if (!toy_packed(m)) {
		uint16_t *avail = (uint16_t *)(void *)toy_at(m, r->addr.avail, true);
		return __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE) != r->next;
	}
	uint16_t flags = __atomic_load_n(&toy_pdesc(m, r, r->p_next.slot)->flags, __ATOMIC_ACQUIRE);
	return (flags & (VQ_AVAIL | VQ_USED)) == (r->p_next.wrap ? VQ_AVAIL : VQ_USED);
}

void toy_next(const struct toy_mem *m, struct toy_ring *r, struct toy_chain *c)
{
	c->n = 0;
	c->descs = 0;
	if (toy_packed(m))
		toy_next_packed(m, r, c);
	else
		toy_next_split(m, r, c);
}

void toy_used(struct toy_mem *m, struct toy_ring *r, const struct toy_chain *c, uint16_t id, uint32_t len)
{
	if (toy_packed(m)) {
		r->pending[r->n_pending++] = (struct toy_used){id, c->descs, len, len > 0};
		return;
	}
	struct vq_elem e = {.id = id, .len = len};
	toy_store(m, TOY_LOG_ELEM, toy_gpa(m, r->addr.used) + 4 + 8 * (r->used % r->num), &e, sizeof(e));
	r->used++;
}

void toy_publish(struct toy_mem *m, struct toy_ring *r)
{
	uint64_t one = 1;
	bool call = true; // split: whether the driver wants it or not
	if (toy_packed(m))
		call = toy_publish_packed(m, r);
	else
		toy_publish_split(m, r);
	if (call && r->call >= 0 && write(r->call, &one, sizeof(one)) < 0)
		abort();
}
