// What the twins of vone.h have in common: the region of a buffer, and one descriptor.
#ifndef GUEST_VONE_INT_H
#define GUEST_VONE_INT_H

#include "guest/gwrite_packed.h"
#include "guest/mem.h"
#include "guest/vlayout.h"
#include "guest/vone.h"

#define ONE_FLAGS (VDESC_F_NEXT | VDESC_F_WRITE | VDESC_F_INDIRECT) // what tells the kinds of a packed descriptor apart

struct vone_ask { // what vone_fetch is asked for
	bool writable;
	uint32_t min_len, ahead;
};

// The region of the last buffer, which is nearly always that of the next one; a copy, to be held in registers.
struct vone_region {
	uint64_t gpa, size;
	const uint8_t *host;
};

static inline struct vone_region vone_region(const struct vring *r)
{
	const struct mem_region *m = &r->mem->region[r->hint];
	return (struct vone_region){ m->gpa, m->size, m->host };
}

// Looks in all regions; where it is will be looked at first. NULL: nowhere.
const uint8_t *vone_seek(struct vring *r, struct vone_region *in, uint64_t gpa, uint32_t len);

static inline const uint8_t *vone_at(struct vring *r, struct vone_region *in, uint64_t gpa, uint32_t len)
{
	if (len <= in->size && gpa - in->gpa <= in->size - len)
		return in->host + (gpa - in->gpa);
	return vone_seek(r, in, gpa, len);
}

// Always inline: a function that does nothing but prefetch is taken for one that does nothing, and its call for superfluous.
static inline __attribute__((always_inline)) void vone_touch(const uint8_t *host, uint32_t ahead, bool writable)
{
	if (writable) {
		__builtin_prefetch(host, 1);
		__builtin_prefetch(host + ahead, 1);
	} else {
		__builtin_prefetch(host);
		__builtin_prefetch(host + ahead);
	}
}

static inline void vone_keep(struct vones *out, unsigned i, const uint8_t *host, uint64_t gpa, uint32_t len, const struct vone_ask *ask)
{
	out->host[i] = host;
	out->len[i] = len;
	if (ask->writable)
		out->gpa[i] = gpa;
	else
		out->rest[i] = host + ask->ahead;
	vone_touch(host, ask->ahead, ask->writable);
}

// Number i, the avail entry at this index. False: there is no such descriptor.
static inline bool vone_head(const struct vring *r, uint16_t index, struct vones *out, unsigned i)
{
	const uint8_t *avail = r->avail;
	uint32_t head = *(const volatile uint16_t *)(avail + VAVAIL_RING(index & r->mask));
	out->id[i] = head;
	__builtin_prefetch((const uint8_t *)r->desc + (size_t)head * VDESC_SIZE);
	return head < r->num;
}

// Number i, by its head. False: it is anything else than one buffer.
static inline bool vone_split(struct vring *r, struct vone_region *in, const struct vone_ask *ask, struct vones *out, unsigned i)
{
	const volatile uint64_t *d = (const volatile uint64_t *)((const uint8_t *)r->desc + (size_t)out->id[i] * VDESC_SIZE);
	uint64_t gpa = d[0], word = d[1];
	uint32_t len = (uint32_t)word;
	if ((uint16_t)(word >> 32) != (ask->writable ? VDESC_F_WRITE : 0) || len < ask->min_len)
		return false;
	const uint8_t *host = vone_at(r, in, gpa, len);
	if (host)
		vone_keep(out, i, host, gpa, len, ask);
	return host != NULL;
}

// Number i, the descriptor at this slot; want: all flags that mean anything.
static inline bool vone_packed(struct pring *p, struct vone_region *in, const struct vone_ask *ask, unsigned slot, uint16_t want,
			       struct vones *out, unsigned i)
{
	struct pdesc d = pdesc_load(p, (uint16_t)slot);
	if ((d.flags & (PDESC_F_LAP | ONE_FLAGS)) != want || d.len < ask->min_len)
		return false;
	const uint8_t *host = vone_at(&p->v, in, d.addr, d.len);
	if (!host)
		return false;
	vone_keep(out, i, host, d.addr, d.len, ask);
	out->id[i] = gwrite_packed_id(d.id, 1);
	return true;
}

static inline uint16_t vone_packed_want(bool wrap, const struct vone_ask *ask)
{
	return (uint16_t)((ask->writable ? VDESC_F_WRITE : 0) | pdesc_available(wrap));
}

// -- four at a time: of rings that vone_wide_for was true for ---------------------------------------------------------------

// The heads of n avail entries, up to the first that is out of range.
unsigned vone_wide_heads(const struct vring *r, uint16_t at, unsigned n, struct vones *out);
// Of n chains, whose heads are there, those that are one buffer, up to the first that is anything else.
unsigned vone_wide_split(struct vring *r, unsigned n, const struct vone_ask *ask, struct vones *out);
unsigned vone_wide_packed(struct pring *p, unsigned n, const struct vone_ask *ask, struct vones *out);

#endif
