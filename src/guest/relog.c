// Not trusted: every descriptor, at any time. Each is read once. What must never happen: work without bound (the control
// thread does this), a page that is left out in silence. To log too much is harmless.
#include "guest/relog.h"

#include "dirty/dirty.h"
#include "guest/mem.h"
#include "guest/pring.h"
#include "guest/vdesc.h"

#ifdef VRINGD_MUTANT_NO_RELOG // seeded bug: the dead process is believed to have logged all that it wrote
#define RELOGS false
#else
#define RELOGS true
#endif

// Indirect tables may be shared by all heads: the longest ring of the longest tables is 2^30 descriptors. An honest one
// with a thousand buffers of a thousand pieces is just within this.
enum { MOST_DESCRIPTORS = 1 << 20 };

struct relog {
	const struct mem_map *mem;
	struct dirty_log *log;
	unsigned left; // descriptors that may still be looked at
	uint64_t bytes_left; // buffers of an honest driver do not overlap: no more than the guest has, and as much that it had
	bool indirect_ok;
};

static bool count(struct relog *l)
{
	return l->left != 0 && l->left-- != 0;
}

// All of [gpa, gpa+len), if it is the guest's memory. stop_outside: as much of it as is.
static bool mark(struct relog *l, uint64_t gpa, uint64_t len, bool stop_outside)
{
	if (len > l->bytes_left)
		return false;
	l->bytes_left -= len;
	while (len != 0) {
		uint64_t part;
		if (!mem_gpa_part(l->mem, gpa, len, &part))
			return stop_outside;
		dirty_mark(l->log, gpa, part);
		gpa += part;
		len -= part;
	}
	return true;
}

// A table's entries: those of a split ring are chained, those of a packed one follow one another.
static bool indirect(struct relog *l, uint64_t table, uint32_t len, bool chained)
{
	uint32_t n = len / VDESC_SIZE, i = 0;
	if (!l->indirect_ok || len == 0 || len % VDESC_SIZE != 0 || n > 32768)
		return false;
	for (uint32_t seen = 0; seen < n; seen++) {
		struct vdesc d;
		if (i >= n || !count(l) || !vdesc_load_indirect(l->mem, table, i, &d))
			return false;
		uint16_t flags = chained ? d.flags : d.next; // of a packed ring they are in its place
		if (flags & VDESC_F_INDIRECT)
			return false;
		if ((flags & VDESC_F_WRITE) && !mark(l, d.addr, d.len, false))
			return false;
		if (chained && !(d.flags & VDESC_F_NEXT))
			return true;
		i = chained ? d.next : i + 1;
	}
	return !chained; // as many as there are and none the last: a loop
}

static bool split_chain(struct relog *l, const struct vring *r, uint16_t i)
{
	for (uint32_t seen = 0; seen < r->num; seen++) {
		if (i >= r->num || !count(l))
			return false;
		struct vdesc d = vdesc_load(r->desc, i);
		if (d.flags & VDESC_F_INDIRECT)
			return !(d.flags & VDESC_F_NEXT) && indirect(l, d.addr, d.len, true);
		if ((d.flags & VDESC_F_WRITE) && !mark(l, d.addr, d.len, false))
			return false;
		if (!(d.flags & VDESC_F_NEXT))
			return true;
		i = d.next;
	}
	return false;
}

static bool split(struct relog *l, const struct vring *r)
{
	uint16_t n = (uint16_t)(vring_avail_idx(r) - r->last_used);
	if (r->log_used)
		dirty_mark(r->log, r->used_log_gpa, VUSED_BYTES(r->num));
	if (n > r->num)
		return false;
	for (uint16_t k = 0; k < n; k++) {
		uint16_t at = (uint16_t)(r->last_used + k);
		const volatile uint16_t *entry =
			(const volatile uint16_t *)((const uint8_t *)r->avail + VAVAIL_RING(at & r->mask));
		if (!split_chain(l, r, *entry))
			return false;
	}
	return true;
}

// A packed ring. Descriptors that the driver has made available are as it left them. Of a used one that it can't see yet
// (of a batch whose first was not shown) the address is left, and how much was written there; but where there are tables
// it may have named one, and what was in that is gone. If the position is in doubt every descriptor is one of these.
static bool packed(struct relog *l, const struct pring *p, bool sure)
{
	if (p->v.log_used) {
		dirty_mark(p->v.log, p->ring_gpa, (uint64_t)p->num * VDESC_SIZE);
		dirty_mark(p->v.log, p->v.used_log_gpa, PEVENT_BYTES);
	}
	if (!sure && l->indirect_ok)
		return false;
	for (unsigned off = 0; off < p->num; off++) {
		struct ppos at = ppos_add(p, p->at.used, off);
		struct pdesc d = pdesc_load(p, at.slot);
		uint16_t lap = d.flags & PDESC_F_LAP;
		bool given = lap == pdesc_available(at.wrap), used = lap == pdesc_used(at.wrap);
		if (!count(l))
			return false;
		if (sure && !given && !used)
			continue; // of an earlier lap: returned, and logged before that
		if (used && l->indirect_ok)
			return false;
		if (given && (d.flags & VDESC_F_INDIRECT)) {
			if (!indirect(l, d.addr, d.len, false))
				return false;
		} else if ((d.flags & VDESC_F_WRITE) && !mark(l, d.addr, d.len, !given)) {
			return false;
		}
	}
	return true;
}

bool ring_relog(struct vring *r, bool sure)
{
	struct relog l = { .mem = r->mem, .log = r->log, .left = MOST_DESCRIPTORS, .bytes_left = 2 * r->mem->bytes,
			   .indirect_ok = r->indirect_ok };
	if (!r->log || !RELOGS)
		return true;
	dirty_fence(); // what the other one wrote is there before a bit is found set
	return r->packed ? packed(&l, pring_of_const(r), sure) : split(&l, r);
}
