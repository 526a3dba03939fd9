#include "guest/vone.h"

#include "base/once.h"
#include "guest/vone_int.h"

#define WIDE_MIN 8u // fewer are not worth the constants

const uint8_t *vone_seek(struct vring *r, struct vone_region *in, uint64_t gpa, uint32_t len)
{
	for (unsigned i = 0; i < r->mem->n; i++) {
		const struct mem_region *m = &r->mem->region[i];
		if (len <= m->size && gpa - m->gpa <= m->size - len) {
			r->hint = (uint8_t)i;
			*in = vone_region(r);
			return m->host + (gpa - m->gpa);
		}
	}
	return NULL;
}

// -- with tables ----------------------------------------------------------------------------------------------------

// A readable descriptor by its flags: a buffer, or an indirect table of as many bytes as two entries have, which is looked into when
// all descriptors are read; len 0 marks it. False: anything else.
static bool take(struct vring *r, struct vone_region *in, uint16_t flags, uint64_t gpa, uint32_t len, const struct vone_ask *ask,
		 struct vones *out, unsigned i)
{
	bool table = flags == VDESC_F_INDIRECT;
	if (table ? !r->indirect_ok || len != 2 * VDESC_SIZE || r->num < 2 : flags != 0 || len < ask->min_len)
		return false;
	const uint8_t *host = vone_at(r, in, gpa, len);
	if (!host)
		return false;
	vone_keep(out, i, host, gpa, len, ask);
	if (table)
		out->len[i] = 0;
	return true;
}

// The tables among n chains: `ahead` bytes, then the rest. Returns the number of the first that is anything else.
static unsigned open_tables(struct vring *r, struct vone_region *in, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	const uint32_t ahead = ask->ahead;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *t = out->host[i];
		if (out->len[i] != 0)
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
		if (len2 == 0 || len2 > UINT32_MAX - ahead || ahead + len2 < ask->min_len)
			return i;
		const uint8_t *host = vone_at(r, in, gpa, ahead < VONE_FIRST ? VONE_FIRST : ahead);
		const uint8_t *host2 = vone_at(r, in, gpa2, len2);
		if (!host || !host2)
			return i;
		out->host[i] = host;
		out->rest[i] = host2;
		out->len[i] = ahead + len2;
		__builtin_prefetch(host);
		__builtin_prefetch(host2);
	}
	return n;
}

// The chains from number i on, of which the first is no buffer; their heads are read. Out of line: where there are no tables nothing
// is paid for them.
static __attribute__((noinline)) unsigned split_tables(struct vring *r, unsigned i, unsigned n, const struct vone_ask *ask,
						       struct vones *out)
{
	struct vone_region in = vone_region(r);
	const uint8_t *table = r->desc;
	for (; i < n; i++) {
		const volatile uint64_t *d = (const volatile uint64_t *)(table + (size_t)out->id[i] * VDESC_SIZE);
		uint64_t gpa = d[0], rest = d[1];
		if (!take(r, &in, (uint16_t)(rest >> 32), gpa, (uint32_t)rest, ask, out, i))
			break;
	}
	return open_tables(r, &in, i, ask, out);
}

static __attribute__((noinline)) unsigned packed_tables(struct pring *p, unsigned i, unsigned n, const struct vone_ask *ask,
							struct vones *out)
{
	struct vone_region in = vone_region(&p->v);
	struct ppos at = ppos_add(p, p->at.avail, i);
	for (; i < n; i++, at = ppos_add(p, at, 1)) {
		struct pdesc d = pdesc_load(p, at.slot);
		if ((d.flags & PDESC_F_LAP) != pdesc_available(at.wrap) || !take(&p->v, &in, d.flags & ONE_FLAGS, d.addr, d.len, ask, out, i))
			break;
		out->id[i] = gwrite_packed_id(d.id, 1);
	}
	return open_tables(&p->v, &in, i, ask, out);
}

// -- buffers --------------------------------------------------------------------------------------------------------

unsigned vone_fetch(struct vring *r, uint16_t at, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vones *out)
{
	const struct vone_ask ask = { writable, min_len, ahead };
	unsigned i = 0, heads = 0;
	if (r->mem->n == 0)
		return 0;
	if (r->wide && n >= WIDE_MIN) {
		heads = vone_wide_heads(r, at, n, out);
		i = vone_wide_split(r, heads, &ask, out);
	} else {
		struct vone_region in = vone_region(r);
		while (heads < n && vone_head(r, (uint16_t)(at + heads), out, heads))
			heads++;
		while (i < heads && vone_split(r, &in, &ask, out, i))
			i++;
	}
	return writable || i == heads ? i : split_tables(r, i, heads, &ask, out);
}

unsigned pone_fetch(struct pring *p, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vones *out)
{
	const struct vone_ask ask = { writable, min_len, ahead };
	unsigned i = 0;
	if (p->v.mem->n == 0)
		return 0;
	if (n > p->num - p->out)
		n = p->num - p->out; // all others are the device's already
	if (p->v.wide && n >= WIDE_MIN) {
		i = vone_wide_packed(p, n, &ask, out);
	} else {
		struct vone_region in = vone_region(&p->v);
		struct ppos at = p->at.avail;
		while (i < n && vone_packed(p, &in, &ask, at.slot, vone_packed_want(at.wrap, &ask), out, i)) {
			at = ppos_add(p, at, 1);
			i++;
		}
	}
	return writable || i == n ? i : packed_tables(p, i, n, &ask, out);
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
		vone_touch(m->host + (gpa - m->gpa), 64, true);
}
