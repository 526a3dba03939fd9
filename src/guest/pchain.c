// Taking chains from a packed ring. Not trusted: every field of every descriptor, at any time. What must never happen: a
// loop without bound, an access outside the memory map, a field read twice and used both times.
#include <string.h>

#include "guest/mem.h"
#include "guest/playout.h"
#include "guest/pring.h"

static inline struct ppos place(const struct pring *p, unsigned off)
{
	return ppos_add(p, p->at.avail, off);
}

bool pring_ready(const struct pring *p, unsigned off)
{
	if (off + p->out >= p->num)
		return false; // all others are the device's already
	struct ppos at = place(p, off);
	const _Atomic uint16_t *flags = (const _Atomic uint16_t *)(p->ring + (size_t)at.slot * VDESC_SIZE + PDESC_FLAGS);
	return (atomic_load_explicit(flags, memory_order_acquire) & PDESC_F_LAP) == pdesc_available(at.wrap);
}

struct walk {
	struct gseg *segs;
	unsigned room, n;
	uint64_t len;
	bool writable, seen_write;
	const char *why; // of the first thing that was wrong
	bool no_room;
};

static void wrong(struct walk *w, const char *why)
{
	if (!w->why)
		w->why = why;
}

static void walk_add(const struct mem_map *mem, struct walk *w, uint64_t gpa, uint32_t len, bool is_write)
{
	if (is_write)
		w->seen_write = true;
	else if (w->seen_write)
		wrong(w, "readable descriptor behind a writable one");
	if (is_write != w->writable)
		wrong(w, w->writable ? "receive buffer is not writable" : "transmit buffer is writable");
	for (uint64_t left = len; left != 0 && !w->why && !w->no_room;) {
		uint64_t part;
		const uint8_t *host = mem_gpa_part(mem, gpa, left, &part);
		if (!host) {
			wrong(w, "descriptor is outside guest memory");
		} else if (w->n == VCHAIN_MAX_SEGS || w->len + part > UINT32_MAX) {
			wrong(w, "buffer is in too many pieces, or longer than 4 GiB");
		} else if (w->n == w->room) {
			w->no_room = true;
		} else {
			w->segs[w->n++] = (struct gseg){ .host = host, .gpa = gpa, .len = (uint32_t)part };
			w->len += part;
			gpa += part;
			left -= part;
		}
	}
}

// Entries follow one another; of their flags only WRITE means something (virtio 1.2, 2.8.7). The table may be unaligned and
// may straddle two regions.
static void walk_indirect(struct pring *p, struct walk *w, const struct pdesc *outer)
{
	if (!p->v.indirect_ok)
		wrong(w, "indirect descriptor without VIRTIO_F_INDIRECT_DESC");
	if (outer->flags & VDESC_F_NEXT)
		wrong(w, "indirect descriptor has a next");
	if (outer->len == 0 || outer->len % VDESC_SIZE != 0 || outer->len / VDESC_SIZE > p->num)
		wrong(w, "indirect table length is no multiple of 16, or longer than the ring");
	for (uint32_t i = 0; !w->why && !w->no_room && i < outer->len / VDESC_SIZE; i++) {
		uint8_t raw[VDESC_SIZE];
		uint64_t gpa = outer->addr + (uint64_t)i * VDESC_SIZE, part;
		for (uint32_t got = 0; got < VDESC_SIZE; got += (uint32_t)part) {
			const uint8_t *host = mem_gpa_part(p->v.mem, gpa + got, VDESC_SIZE - got, &part);
			if (!host) {
				wrong(w, "indirect table is outside guest memory");
				return;
			}
			for (uint64_t k = 0; k < part; k++)
				raw[got + k] = *(const volatile uint8_t *)(host + k);
		}
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		memcpy(&addr, raw, sizeof(addr));
		memcpy(&len, raw + PDESC_LEN, sizeof(len));
		memcpy(&flags, raw + PDESC_FLAGS, sizeof(flags));
		if (flags & VDESC_F_INDIRECT)
			wrong(w, "indirect table inside an indirect table");
		walk_add(p->v.mem, w, addr, len, (flags & VDESC_F_WRITE) != 0);
	}
}

enum vchain_result pchain_fetch(struct pring *p, unsigned off, bool writable, struct gseg *segs, unsigned room,
				struct vchain *out, const char **why)
{
	struct walk w = { .segs = segs, .room = room, .writable = writable };
	*out = (struct vchain){ 0 };
	// the chain is followed to its end even when it is bad: only there is the id by which it goes back
	for (unsigned n = 0;; n++) {
		if (off + n + p->out >= p->num) {
			*why = "chain has no end within the ring";
			vring_break(&p->v, *why);
			return VCHAIN_BROKEN;
		}
		struct pdesc d = pdesc_load(p, place(p, off + n).slot);
		if (!(d.flags & VDESC_F_INDIRECT))
			walk_add(p->v.mem, &w, d.addr, d.len, (d.flags & VDESC_F_WRITE) != 0);
		else if (n != 0)
			wrong(&w, "indirect descriptor inside a chain");
		else
			walk_indirect(p, &w, &d);
		if (d.flags & VDESC_F_NEXT)
			continue;
		out->id = d.id;
		out->slots = (uint16_t)(n + 1);
		break;
	}
	*why = w.why;
	if (w.why)
		return VCHAIN_BAD;
	if (w.no_room)
		return VCHAIN_NO_ROOM;
	out->n_segs = (uint16_t)w.n;
	out->len = (uint32_t)w.len;
	return VCHAIN_OK;
}
