// Chain walking. Not trusted: every field of every descriptor, avail.idx and the avail entries, at any time. What must never
// happen: a loop without bound, a read or write outside the memory map, a field read twice.
#include "guest/vchain.h"

#include <string.h>

#include "guest/mem.h"
#include "guest/vdesc.h"
#include "guest/vlayout.h"

uint16_t vring_pending(struct vring *r)
{
	const _Atomic uint16_t *idx = (const _Atomic uint16_t *)((const uint8_t *)r->avail + VAVAIL_IDX);
	uint16_t n = (uint16_t)(atomic_load_explicit(idx, memory_order_acquire) - r->last_avail);
	if (n > r->num) {
		vring_break(r, "avail index is further ahead than the ring is long");
		return 0;
	}
	return n;
}

struct walk {
	struct gseg *segs;
	unsigned room, n;
	uint64_t len;
	bool writable, seen_write;
	const char *why;
};

static enum vchain_result walk_bad(struct walk *w, const char *why)
{
	w->why = why;
	return VCHAIN_BAD;
}

// Translate one descriptor's buffer into pieces.
static enum vchain_result walk_add(const struct mem_map *mem, struct walk *w, const struct vdesc *d)
{
	bool is_write = (d->flags & VDESC_F_WRITE) != 0;
	if (is_write)
		w->seen_write = true;
	else if (w->seen_write)
		return walk_bad(w, "readable descriptor behind a writable one");
	if (is_write != w->writable)
		return walk_bad(w, w->writable ? "receive buffer is not writable" : "transmit buffer is writable");
	uint64_t gpa = d->addr;
	for (uint64_t left = d->len; left != 0;) {
		uint64_t part;
		const uint8_t *host = mem_gpa_part(mem, gpa, left, &part);
		if (!host)
			return walk_bad(w, "descriptor is outside guest memory");
		if (w->n == VCHAIN_MAX_SEGS)
			return walk_bad(w, "buffer is in too many pieces");
		if (w->n == w->room)
			return VCHAIN_NO_ROOM;
		w->segs[w->n++] = (struct gseg){ .host = host, .gpa = gpa, .len = (uint32_t)part };
		w->len += part;
		gpa += part;
		left -= part;
	}
	if (w->len > UINT32_MAX)
		return walk_bad(w, "buffer is longer than 4 GiB");
	return VCHAIN_OK;
}

static enum vchain_result walk_indirect(struct vring *r, struct walk *w, const struct vdesc *outer)
{
	if (!r->indirect_ok)
		return walk_bad(w, "indirect descriptor without VIRTIO_F_INDIRECT_DESC");
	if (outer->len == 0 || outer->len % VDESC_SIZE != 0)
		return walk_bad(w, "indirect table length is not a multiple of 16");
	uint32_t count = outer->len / VDESC_SIZE;
	if (count > 32768) // no queue, so no chain, is longer
		return walk_bad(w, "indirect table is longer than any queue");
	uint32_t i = 0;
	for (uint32_t seen = 0;; seen++) {
		if (i >= count)
			return walk_bad(w, "next is outside the indirect table");
		if (seen >= count || seen >= r->num) // virtio 1.2, 2.7.5.3.1: no chain is longer than the queue
			return walk_bad(w, "indirect chain has a loop or is longer than the ring");
		struct vdesc d;
		if (!vdesc_load_indirect(r->mem, outer->addr, i, &d))
			return walk_bad(w, "indirect table is outside guest memory");
		if (d.flags & VDESC_F_INDIRECT)
			return walk_bad(w, "indirect table inside an indirect table");
		enum vchain_result res = walk_add(r->mem, w, &d);
		if (res != VCHAIN_OK)
			return res;
		if (!(d.flags & VDESC_F_NEXT))
			return VCHAIN_OK;
		i = d.next;
	}
}

static enum vchain_result walk_chain(struct vring *r, struct walk *w, uint16_t head)
{
	uint16_t i = head;
	for (uint32_t seen = 0;; seen++) {
		if (i >= r->num)
			return walk_bad(w, "next is outside the descriptor table");
		if (seen >= r->num)
			return walk_bad(w, "descriptor chain has a loop");
		struct vdesc d = vdesc_load(r->desc, i);
		enum vchain_result res;
		if (d.flags & VDESC_F_INDIRECT) {
			if (d.flags & VDESC_F_NEXT)
				return walk_bad(w, "indirect descriptor has a next");
			return walk_indirect(r, w, &d);
		}
		res = walk_add(r->mem, w, &d);
		if (res != VCHAIN_OK)
			return res;
		if (!(d.flags & VDESC_F_NEXT))
			return VCHAIN_OK;
		i = d.next;
	}
}

enum vchain_result vchain_fetch(struct vring *r, uint16_t at, bool writable, struct gseg *segs, unsigned room,
				struct vchain *out, const char **why)
{
	const volatile uint16_t *entry = (const volatile uint16_t *)((const uint8_t *)r->avail + VAVAIL_RING(at & r->mask));
	uint16_t head = *entry;
	if (head >= r->num) {
		*why = "avail entry is outside the descriptor table";
		vring_break(r, *why);
		return VCHAIN_BROKEN;
	}
	struct walk w = { .segs = segs, .room = room, .writable = writable };
	enum vchain_result res = walk_chain(r, &w, head);
	*out = (struct vchain){ .id = head, .slots = 1 };
	if (res == VCHAIN_OK) {
		out->n_segs = (uint16_t)w.n;
		out->len = (uint32_t)w.len;
	}
	*why = w.why;
	return res;
}

bool gseg_read(const struct gseg *segs, unsigned n, uint32_t from, void *out, uint32_t len)
{
	uint8_t *to = out;
	for (unsigned i = 0; i < n && len != 0; i++) {
		if (from >= segs[i].len) {
			from -= segs[i].len;
			continue;
		}
		uint32_t part = segs[i].len - from < len ? segs[i].len - from : len;
		memcpy(to, segs[i].host + from, part);
		to += part;
		len -= part;
		from = 0;
	}
	return len == 0;
}
