// A virtqueue of either kind. Whoever holds a ring holds its struct vring; where the kinds differ, these ask which it is: one
// branch that goes the same way for all of a batch, no call through a pointer. Places are avail entries of a split ring,
// descriptors of a packed one; an offset counts places behind the next one to be fetched.
#ifndef GUEST_RING_H
#define GUEST_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/gwrite.h"
#include "guest/gwrite_packed.h"
#include "guest/pring.h"
#include "guest/vchain.h"
#include "guest/vone.h"
#include "guest/vring.h"

#define RING_FRESH_PACKED 0x80008000u // the base of a packed ring that was never used; of a split one it is 0

// As vring_new or pring_new, as the features have it.
enum err ring_new(struct vring **out, const struct vring_conf *conf, struct why *why);
void ring_free(struct vring *r); // NULL is fine
// Position, as SET_VRING_BASE and GET_VRING_BASE carry it.
void ring_restore(struct vring *r, uint32_t base);
uint32_t ring_base(const struct vring *r);
// Of a ring that another process of ours had in its datapath, and that is dead: go on where it stood. A split ring: used.idx in
// guest memory, always. A packed one: its ledger; false, and nothing is changed, if there is none.
bool ring_resume(struct vring *r);
// The same of a ring that may be running, for any thread to look at.
uint32_t ring_base_now(const struct vring *r);

// How many places can be fetched: split: so many; packed: at least one, or 0; ring_has says where the last one is.
static inline unsigned ring_pending(struct vring *r)
{
	if (r->packed)
		return pring_ready(pring_of(r), 0) ? pring_of(r)->num : 0;
	return vring_pending(r);
}
// Is there one at this offset? pending: what ring_pending said.
static inline bool ring_has(const struct vring *r, unsigned off, unsigned pending)
{
	return off < pending && (!r->packed || pring_ready(pring_of_const(r), off));
}
// A number that changes when the driver adds buffers, of a ring that has none at this offset.
static inline uint16_t ring_mark(const struct vring *r, unsigned off)
{
	if (!r->packed)
		return (uint16_t)(r->last_avail + off);
	struct ppos at = ppos_add(pring_of_const(r), pring_of_const(r)->at.avail, off);
	return (uint16_t)(at.slot | (unsigned)at.wrap << 15);
}

// vchain_fetch or pchain_fetch.
static inline enum vchain_result ring_fetch(struct vring *r, unsigned off, bool writable, struct gseg *segs, unsigned room,
					    struct vchain *out, const char **why)
{
	if (r->packed)
		return pchain_fetch(pring_of(r), off, writable, segs, room, out, why);
	return vchain_fetch(r, (uint16_t)(r->last_avail + off), writable, segs, room, out, why);
}
// So many places are the device's now.
static inline void ring_advance(struct vring *r, unsigned places)
{
	if (r->packed)
		pring_advance(pring_of(r), places);
	else
		r->last_avail = (uint16_t)(r->last_avail + places);
}

// How a chain goes back, and how many places it takes then.
static inline struct gwrite_used ring_used(const struct vring *r, const struct vchain *c, uint32_t len)
{
	return (struct gwrite_used){ .id = r->packed ? gwrite_packed_id(c->id, c->slots) : c->id, .len = len };
}
static inline unsigned ring_places(const struct vring *r, const struct gwrite_used *u)
{
	return r->packed ? u->id >> 16 : 1;
}

// Give n chains back, in ring order: gwrite_publish_used or gwrite_packed_publish.
static inline void ring_publish(struct vring *r, const struct gwrite_used *elems, unsigned n)
{
	if (r->packed)
		gwrite_packed_publish(pring_of(r), elems, n);
	else
		gwrite_publish_used(r, elems, n);
}
// Kicks: none, or from the first place on that is not there yet, which is at this offset.
static inline void ring_notify(struct vring *r, bool on, unsigned off)
{
	if (r->packed)
		gwrite_packed_notify(pring_of(r), on, off);
	else
		gwrite_notify(r, on);
}
static inline bool ring_wants_call(struct vring *r)
{
	return r->packed ? pring_wants_call(pring_of(r)) : vring_wants_call(r);
}

// The steps of a batch, as gwrite.h and vone.h say. pending: what ring_pending said.
static inline unsigned ring_fetch_ones(struct vring *r, unsigned n, unsigned pending, bool writable, uint32_t min_len, uint32_t ahead,
				       struct vones *out)
{
	if (n > pending)
		n = pending;
	if (r->packed)
		return pone_fetch(pring_of(r), n, writable, min_len, ahead, out);
	return vone_fetch(r, r->last_avail, n, writable, min_len, ahead, out);
}
static inline void ring_stage(struct vring *r, const struct gwrite_used *elems, unsigned n)
{
	if (r->packed)
		gwrite_packed_fill(pring_of(r), elems, n);
	else
		gwrite_stage_used(r, elems, n);
}
static inline void ring_show(struct vring *r, unsigned n)
{
	if (r->packed)
		gwrite_packed_show(pring_of(r));
	else
		gwrite_show(r, n);
}
static inline void ring_settle(struct vring *r)
{
	if (r->packed)
		gwrite_packed_settle(pring_of(r));
	else
		gwrite_settle(r);
}
static inline bool ring_wants_call_fenced(struct vring *r)
{
	return r->packed ? pring_wants_call_fenced(pring_of(r)) : vring_wants_call_fenced(r);
}

#endif
