#include "guest/vone.h"

#include "base/once.h"
#include "guest/gwrite_packed.h"
#include "guest/mem.h"
#include "guest/vlayout.h"

#define ONE_FLAGS (VDESC_F_NEXT | VDESC_F_WRITE | VDESC_F_INDIRECT) // what tells the kinds of a packed descriptor apart

// The region of the last hit is nearly always the region of this one.
static inline const uint8_t *translate(struct vring *r, const struct mem_region **hint, uint64_t gpa, uint32_t len)
{
	const struct mem_region *last = *hint;
	if (len <= last->size && gpa - last->gpa <= last->size - len)
		return last->host + (gpa - last->gpa);
	for (unsigned i = 0; i < r->mem->n; i++) {
		const struct mem_region *m = &r->mem->region[i];
		if (len <= m->size && gpa - m->gpa <= m->size - len) {
			r->hint = (uint8_t)i;
			*hint = m;
			return m->host + (gpa - m->gpa);
		}
	}
	return NULL;
}

static inline void touch(const uint8_t *host, uint32_t ahead, bool writable)
{
	if (writable) {
		__builtin_prefetch(host, 1);
		__builtin_prefetch(host + ahead, 1);
	} else {
		__builtin_prefetch(host);
		__builtin_prefetch(host + ahead);
	}
}

static inline void keep(struct vone *out, const uint8_t *host, uint64_t gpa, uint32_t len, uint32_t ahead, bool writable)
{
	out->host = host;
	out->len = len;
	if (writable)
		out->gpa = gpa;
	else
		out->rest = host + ahead;
	touch(host, ahead, writable);
}

// -- with tables ----------------------------------------------------------------------------------------------------

// A readable descriptor by its flags: a buffer, or an indirect table of as many bytes as two entries have, which is looked into when
// all descriptors are read; len 0 marks it. False: anything else.
static bool take(struct vring *r, const struct mem_region **hint, uint16_t flags, uint64_t gpa, uint32_t len, uint32_t min_len,
		 uint32_t ahead, struct vone *out)
{
	bool table = flags == VDESC_F_INDIRECT;
	if (table ? !r->indirect_ok || len != 2 * VDESC_SIZE || r->num < 2 : flags != 0 || len < min_len)
		return false;
	const uint8_t *host = translate(r, hint, gpa, len);
	if (!host)
		return false;
	keep(out, host, gpa, len, ahead, false);
	if (table)
		out->len = 0;
	return true;
}

// The tables among n chains: `ahead` bytes, then the rest. Returns the number of the first that is anything else.
static unsigned open_tables(struct vring *r, const struct mem_region **hint, unsigned n, uint32_t min_len, uint32_t ahead,
			    struct vone *out)
{
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *t = out[i].host;
		if (out[i].len != 0)
			continue;
		uint64_t gpa = once_load64(t), rest = once_load64(t + 8), gpa2 = once_load64(t + VDESC_SIZE), rest2 = once_load64(t + VDESC_SIZE + 8);
		uint32_t len2 = (uint32_t)rest2;
#ifdef VRINGD_MUTANT_TABLE_FIRST // seeded bugs: the header is as long as it should be,
		rest = (rest & ~UINT64_C(0xffffffff)) | ahead;
#elif defined VRINGD_MUTANT_TABLE_FLAGS // the second entry the last one and readable
		rest2 = len2;
#endif
		if (r->packed) { // of the flags in a table two mean something, and the id nothing (virtio 1.2, 2.8.7)
			const uint64_t bad = (uint64_t)(VDESC_F_WRITE | VDESC_F_INDIRECT) << 48;
			if ((uint32_t)rest != ahead || ((rest | rest2) & bad))
				return i;
		} else if (rest != (ahead | (uint64_t)VDESC_F_NEXT << 32 | UINT64_C(1) << 48) || (uint16_t)(rest2 >> 32) != 0) {
			return i;
		}
		if (len2 == 0 || len2 > UINT32_MAX - ahead || ahead + len2 < min_len)
			return i;
		const uint8_t *host = translate(r, hint, gpa, ahead < VONE_FIRST ? VONE_FIRST : ahead);
		const uint8_t *host2 = translate(r, hint, gpa2, len2);
		if (!host || !host2)
			return i;
		out[i].host = host;
		out[i].rest = host2;
		out[i].len = ahead + len2;
		__builtin_prefetch(host);
		__builtin_prefetch(host2);
	}
	return n;
}

// The chains from number i on, of which the first is no buffer. Out of line: where there are no tables nothing is paid for them.
static __attribute__((noinline)) unsigned split_tables(struct vring *r, unsigned i, unsigned n, uint32_t min_len, uint32_t ahead,
						       struct vone *out)
{
	const struct mem_region *hint = &r->mem->region[r->hint];
	const uint8_t *table = r->desc;
	for (; i < n; i++) {
		const volatile uint64_t *d = (const volatile uint64_t *)(table + (size_t)out[i].id * VDESC_SIZE);
		uint64_t gpa = d[0], rest = d[1];
		if (!take(r, &hint, (uint16_t)(rest >> 32), gpa, (uint32_t)rest, min_len, ahead, &out[i]))
			break;
	}
	return open_tables(r, &hint, i, min_len, ahead, out);
}

static __attribute__((noinline)) unsigned packed_tables(struct pring *p, unsigned i, unsigned n, uint32_t min_len, uint32_t ahead,
							struct vone *out)
{
	const struct mem_region *hint = &p->v.mem->region[p->v.hint];
	struct ppos at = ppos_add(p, p->at.avail, i);
	for (; i < n; i++, at = ppos_add(p, at, 1)) {
		struct pdesc d = pdesc_load(p, at.slot);
		if ((d.flags & PDESC_F_LAP) != pdesc_available(at.wrap) ||
		    !take(&p->v, &hint, d.flags & ONE_FLAGS, d.addr, d.len, min_len, ahead, &out[i]))
			break;
		out[i].id = gwrite_packed_id(d.id, 1);
	}
	return open_tables(&p->v, &hint, i, min_len, ahead, out);
}

// -- buffers --------------------------------------------------------------------------------------------------------

unsigned vone_fetch(struct vring *r, uint16_t at, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vone *out)
{
	const uint8_t *avail = r->avail, *table = r->desc;
	const uint16_t want = writable ? VDESC_F_WRITE : 0;
	const struct mem_region *hint = &r->mem->region[r->hint];
	unsigned i;
	if (r->mem->n == 0)
		return 0;
	for (i = 0; i < n; i++) {
		uint32_t head = *(const volatile uint16_t *)(avail + VAVAIL_RING((uint16_t)(at + i) & r->mask));
		if (head >= r->num)
			break;
		out[i].id = head;
		__builtin_prefetch(table + (size_t)head * VDESC_SIZE);
	}
	n = i;
	for (i = 0; i < n; i++) {
		const volatile uint64_t *d = (const volatile uint64_t *)(table + (size_t)out[i].id * VDESC_SIZE);
		uint64_t gpa = d[0], rest = d[1];
		uint32_t len = (uint32_t)rest;
		if ((uint16_t)(rest >> 32) != want || len < min_len)
			break;
		const uint8_t *host = translate(r, &hint, gpa, len);
		if (!host)
			break;
		keep(&out[i], host, gpa, len, ahead, writable);
	}
	return writable || i == n ? i : split_tables(r, i, n, min_len, ahead, out);
}

unsigned pone_fetch(struct pring *p, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vone *out)
{
	const struct mem_region *hint = &p->v.mem->region[p->v.hint];
	unsigned slot = p->at.avail.slot, i;
	uint16_t want = (writable ? VDESC_F_WRITE : 0) | pdesc_available(p->at.avail.wrap);
	if (p->v.mem->n == 0)
		return 0;
	if (n > p->num - p->out)
		n = p->num - p->out; // all others are the device's already
	for (i = 0; i < n; i++) {
		struct pdesc d = pdesc_load(p, (uint16_t)slot);
		if ((d.flags & (PDESC_F_LAP | ONE_FLAGS)) != want || d.len < min_len)
			break;
		const uint8_t *host = translate(&p->v, &hint, d.addr, d.len);
		if (!host)
			break;
		keep(&out[i], host, d.addr, d.len, ahead, writable);
		out[i].id = gwrite_packed_id(d.id, 1);
		if (++slot == p->num) {
			slot = 0;
			want ^= PDESC_F_LAP; // the next lap's
		}
	}
	return writable || i == n ? i : packed_tables(p, i, n, min_len, ahead, out);
}

void vone_ahead(const struct vring *r)
{
	const struct mem_region *m = &r->mem->region[r->hint];
	uint64_t gpa;
	if (r->mem->n == 0)
		return;
	if (r->packed) {
		const struct pring *p = pring_of_const(r);
		if (!pring_ready(p, 0))
			return;
		gpa = pdesc_load(p, p->at.avail.slot).addr;
	} else {
		const uint8_t *avail = r->avail, *table = r->desc;
		__builtin_prefetch(r->used + VUSED_ELEM(r->last_used & r->mask), 1);
		if (vring_avail_idx(r) == r->last_avail)
			return;
		uint16_t head = *(const volatile uint16_t *)(avail + VAVAIL_RING(r->last_avail & r->mask)) & r->mask;
		gpa = *(const volatile uint64_t *)(table + (size_t)head * VDESC_SIZE);
	}
	if (gpa - m->gpa < m->size)
		touch(m->host + (gpa - m->gpa), 64, true);
}
