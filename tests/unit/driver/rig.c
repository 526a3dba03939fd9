#include "rig.h"

#include <string.h>

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v & 0xffff);
	put16(p + 2, v >> 16);
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

void rig_init(struct rig *r, const struct vq *q, const struct gmem *mem, uint32_t base)
{
	memset(r, 0, sizeof(*r));
	r->q = q;
	r->mem = mem;
	r->desc = gmem_at(mem, q->desc_gpa);
	r->driver = gmem_at(mem, q->avail_gpa);
	r->device = gmem_at(mem, q->used_gpa);
	if (!q->packed) {
		r->next = r->used = (uint16_t)base;
		return;
	}
	r->next = base & 0x7fff;
	r->next_wrap = base >> 15 & 1;
	r->used = base >> 16 & 0x7fff;
	r->used_wrap = base >> 31;
}

static bool rig_wrong(struct rig *r, const char *what)
{
	r->wrong = what;
	return false;
}

static bool rig_seg(struct rig *r, struct rig_chain *c, const uint8_t *desc, bool write)
{
	if (c->n == RIG_SEGS)
		return rig_wrong(r, "a chain without end");
	if (c->n > 0 && c->seg[c->n - 1].write && !write)
		return rig_wrong(r, "a readable buffer behind a writable one");
	c->seg[c->n++] = (struct vq_buf){.gpa = get64(desc), .len = get32(desc + 8), .write = write};
	return true;
}

static bool rig_fetch_split(struct rig *r, struct rig_chain *c)
{
	const uint8_t *table = r->desc;
	unsigned size = r->q->size;
	if (get16(r->driver + 2) == r->next)
		return false;
	uint16_t at = c->id = get16(r->driver + 4 + 2 * (r->next % size));
	if (at >= size)
		return rig_wrong(r, "head beyond the table");
	if (r->q->in_order && at != r->table)
		return rig_wrong(r, "head out of the table's order");
	r->next++;
	c->descs = 1;
	if (get16(table + 16 * at + 12) & 4) {
		if (get16(table + 16 * at + 12) != 4)
			return rig_wrong(r, "flags beside INDIRECT");
		size = get32(table + 16 * at + 8) / 16;
		table = gmem_at(r->mem, get64(table + 16 * at));
		at = 0;
	}
	for (;;) {
		const uint8_t *d = table + 16 * at;
		if (!rig_seg(r, c, d, get16(d + 12) & 2))
			return false;
		if (!(get16(d + 12) & 1))
			break;
		if (get16(d + 14) >= size || (r->q->in_order && get16(d + 14) != (at + 1) % size))
			return rig_wrong(r, "next out of the table, or of its order");
		at = get16(d + 14);
		c->descs = (uint16_t)(table == r->desc ? c->descs + 1 : 1);
	}
	r->table = (uint16_t)((r->table + c->descs) % r->q->size);
	return true;
}

static void rig_step(const struct rig *r, uint16_t *at, bool *wrap)
{
	if (++*at == r->q->size) {
		*at = 0;
		*wrap = !*wrap;
	}
}

// Only the first descriptor says whether the chain is there; the others must say the same by then.
static bool rig_fetch_packed(struct rig *r, struct rig_chain *c)
{
	for (;;) {
		const uint8_t *d = r->desc + 16 * r->next;
		uint16_t flags = get16(d + 14);
		if (!(flags >> 7 & 1) != !r->next_wrap || !(flags >> 15 & 1) == !r->next_wrap)
			return c->descs > 0 ? rig_wrong(r, "a chain's descriptor is not available") : false;
		rig_step(r, &r->next, &r->next_wrap);
		c->descs++;
		c->id = get16(d + 12);
		if (flags & 4) {
			if (c->descs != 1 || (flags & 3) != 0 || get32(d + 8) % 16 != 0)
				return rig_wrong(r, "an indirect descriptor with NEXT, WRITE or half an entry");
			const uint8_t *table = gmem_at(r->mem, get64(d));
			for (uint32_t i = 0; i < get32(d + 8) / 16; i++) {
				if ((get16(table + 16 * i + 14) & ~2) != 0)
					return rig_wrong(r, "an indirect entry with more flags than WRITE");
				if (!rig_seg(r, c, table + 16 * i, get16(table + 16 * i + 14) & 2))
					return false;
			}
			return true;
		}
		if (!rig_seg(r, c, d, flags & 2))
			return false;
		if (!(flags & 1))
			return true;
	}
}

bool rig_fetch(struct rig *r, struct rig_chain *c)
{
	memset(c, 0, sizeof(*c));
	if (r->wrong != NULL)
		return false;
	return r->q->packed ? rig_fetch_packed(r, c) : rig_fetch_split(r, c);
}

void rig_used(struct rig *r, const struct rig_chain *c, uint32_t len, unsigned chains, unsigned descs)
{
	if (!r->q->packed) {
		uint8_t *elem = r->device + 4 + 8 * (r->used % r->q->size);
		put32(elem, c->id);
		put32(elem + 4, len);
		r->used = (uint16_t)(r->used + chains);
		put16(r->device + 2, r->used);
		return;
	}
	uint8_t *d = r->desc + 16 * r->used;
	bool write = c->seg[c->n - 1].write;
	put16(d + 12, c->id);
	put32(d + 8, write ? len : 0xdeadbeef); // reserved, where nothing is writable
	put16(d + 14, (write ? 2 : 0) | (r->used_wrap ? 0x8080 : 0));
	for (unsigned i = 0; i < descs; i++)
		rig_step(r, &r->used, &r->used_wrap);
}

void rig_ask(struct rig *r, enum rig_ask ask, int ahead)
{
	int size = r->q->size, slot = r->next + ahead;
	if (!r->q->packed) {
		put16(r->device, ask == RIG_NEVER);
		if (r->q->event_idx) // the flag is not looked at: never is a place that has long gone by
			put16(r->device + 4 + 8 * (unsigned)size,
			      (unsigned)(ask == RIG_AT ? slot : ask == RIG_ALWAYS ? r->next : r->next - 1));
		return;
	}
	bool wrap = r->next_wrap;
	for (; slot < 0; slot += size)
		wrap = !wrap;
	for (; slot >= size; slot -= size)
		wrap = !wrap;
	put16(r->device, (unsigned)slot | (wrap ? 0x8000 : 0));
	put16(r->device + 2, ask == RIG_AT ? 2 : ask == RIG_NEVER);
}

bool rig_must_call(const struct rig *r, unsigned chains, unsigned descs)
{
	if (!r->q->packed) {
		uint16_t event = get16(r->driver + 4 + 2 * r->q->size);
		if (!r->q->event_idx)
			return !(get16(r->driver) & 1);
		for (unsigned i = 1; i <= chains; i++)
			if ((uint16_t)(r->used - i) == event)
				return true;
		return false;
	}
	uint16_t event = get16(r->driver), kind = get16(r->driver + 2), at = r->used;
	bool wrap = r->used_wrap;
	if (kind != 2)
		return kind == 0;
	while (descs-- > 0) { // back over every place
		wrap = at == 0 ? !wrap : wrap;
		at = at == 0 ? (uint16_t)(r->q->size - 1) : (uint16_t)(at - 1);
		if ((event & 0x7fff) == at && event >> 15 == wrap)
			return true;
	}
	return false;
}
