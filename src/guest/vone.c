#include "guest/vone.h"

#include "guest/mem.h"
#include "guest/vlayout.h"

// The region of the last hit is nearly always the region of this one.
static inline const uint8_t *translate(struct vring *r, uint64_t gpa, uint32_t len)
{
	const struct mem_region *hint = &r->mem->region[r->hint];
	if (len <= hint->size && gpa - hint->gpa <= hint->size - len)
		return hint->host + (gpa - hint->gpa);
	for (unsigned i = 0; i < r->mem->n; i++) {
		const struct mem_region *m = &r->mem->region[i];
		if (len <= m->size && gpa - m->gpa <= m->size - len) {
			r->hint = (uint8_t)i;
			return m->host + (gpa - m->gpa);
		}
	}
	return NULL;
}

unsigned vone_fetch(struct vring *r, uint16_t at, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vone *out)
{
	const uint8_t *avail = r->avail, *table = r->desc;
	const uint16_t want = writable ? VDESC_F_WRITE : 0;
	unsigned i;
	if (r->mem->n == 0)
		return 0;
	for (i = 0; i < n; i++) {
		uint16_t head = *(const volatile uint16_t *)(avail + VAVAIL_RING((uint16_t)(at + i) & r->mask));
		if (head >= r->num)
			break;
		out[i].head = head;
		__builtin_prefetch(table + (size_t)head * VDESC_SIZE);
	}
	n = i;
	for (i = 0; i < n; i++) {
		const volatile uint64_t *d = (const volatile uint64_t *)(table + (size_t)out[i].head * VDESC_SIZE);
		uint64_t gpa = d[0], rest = d[1];
		uint32_t len = (uint32_t)rest;
		if ((uint16_t)(rest >> 32) != want || len < min_len)
			break;
		const uint8_t *host = translate(r, gpa, len);
		if (!host)
			break;
		out[i].host = host;
		out[i].gpa = gpa;
		out[i].len = len;
		if (writable) {
			__builtin_prefetch(host, 1);
			__builtin_prefetch(host + ahead, 1);
		} else {
			__builtin_prefetch(host);
			__builtin_prefetch(host + ahead);
		}
	}
	return i;
}
