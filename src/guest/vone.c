#include "guest/vone.h"

#include "guest/gwrite_packed.h"
#include "guest/mem.h"
#include "guest/vlayout.h"

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
		out[i].host = host;
		out[i].gpa = gpa;
		out[i].len = len;
		touch(host, ahead, writable);
	}
	return i;
}

unsigned pone_fetch(struct pring *p, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vone *out)
{
	const uint16_t mask = PDESC_F_LAP | VDESC_F_NEXT | VDESC_F_WRITE | VDESC_F_INDIRECT;
	const struct mem_region *hint = &p->v.mem->region[p->v.hint];
	unsigned slot = p->at.avail.slot, i;
	uint16_t want = (writable ? VDESC_F_WRITE : 0) | pdesc_available(p->at.avail.wrap);
	if (p->v.mem->n == 0)
		return 0;
	if (n > p->num - p->out)
		n = p->num - p->out; // all others are the device's already
	for (i = 0; i < n; i++) {
		struct pdesc d = pdesc_load(p, (uint16_t)slot);
		if ((d.flags & mask) != want || d.len < min_len)
			break;
		const uint8_t *host = translate(&p->v, &hint, d.addr, d.len);
		if (!host)
			break;
		out[i].host = host;
		out[i].gpa = d.addr;
		out[i].len = d.len;
		out[i].id = gwrite_packed_id(d.id, 1);
		touch(host, ahead, writable);
		if (++slot == p->num) {
			slot = 0;
			want ^= PDESC_F_LAP; // the next lap's
		}
	}
	return i;
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
