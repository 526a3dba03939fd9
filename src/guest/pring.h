// A packed virtqueue, device side (virtio 1.2, 2.8): one ring of descriptors that both sides write. Each descriptor is
// fetched once, checked, then used; completion is strictly in ring order. Not wired into the switch yet.
//
// What both formats have in common (memory, log, features, call descriptor, pending ranges) is in `v`: gwrite_payload,
// gwrite_header and gwrite_frames take &p->v. Of v, what names an avail or used ring is not used here.
//
// Position: nothing in guest memory says where a device stands in a packed ring. After a crash of the daemon without a side
// record it is what SET_VRING_BASE says, which is the last clean stop: descriptors completed since would be taken again.
#ifndef GUEST_PRING_H
#define GUEST_PRING_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/vchain.h"
#include "guest/vring.h"

struct ppos { // a place in the ring, and the wrap counter there
	uint16_t slot;
	bool wrap;
};

struct pchain { // one chain; its pieces are elsewhere
	uint16_t id; // the driver's, any number: goes back as it is
	uint16_t slots; // descriptors of the ring that it takes
	uint16_t n_segs;
	uint32_t len; // sum of the pieces
};

struct pring {
	struct vring v;
	const uint8_t *ring; // guest memory, written through gwrite.c only
	uint64_t ring_gpa; // its guest-physical address: where descriptor writes are logged
	uint32_t num; // 1..32768, any number
	struct ppos avail; // next to fetch
	struct ppos used; // next used descriptor that the driver will see
	struct ppos fill; // behind the used descriptors that are written and not visible yet
	uint16_t first_flags; // of the first of those: withheld until the publish
	struct ppos unlogged; // the descriptor that was published last, if v.idx_unlogged
	uint16_t out; // slots between used and avail
};

// conf as for a split ring, but: num is any number from 1 to 32768; desc_uaddr is the descriptor ring, avail_uaddr the
// driver's event area, used_uaddr the device's (4 bytes each); log_gpa is the device area's. Position {0, 1} (a fresh ring).
enum err pring_new(struct pring **out, const struct vring_conf *conf, struct why *why);
void pring_free(struct pring *p); // NULL is fine
// Set the position; base as in SET_VRING_BASE, checked by vbase_check_packed. The next call decision signals.
void pring_restore(struct pring *p, uint32_t base);
// What GET_VRING_BASE says: both halves, equal when nothing is out.
uint32_t pring_base(const struct pring *p);

// Is there a descriptor `off` (< num) places behind avail?
bool pring_ready(const struct pring *p, unsigned off);
// Fetch the chain that begins `off` places behind avail (pring_ready said yes). Like vchain_fetch; VCHAIN_BROKEN: the chain
// has no end within what the ring may hold.
enum vchain_result pchain_fetch(struct pring *p, unsigned off, bool writable, struct gseg *segs, unsigned room,
				struct pchain *out, const char **why);
// Fetch up to max chains of the plainest kind, one piece each, from `off` places behind avail on; the memory of each one's
// beginning is on its way to the cache. Stops where there is none, or at the first that is anything else.
unsigned pchain_take(struct pring *p, unsigned off, bool writable, struct gseg *segs, struct pchain *out, unsigned max);
// Chains of that many slots are the device's now; each is to be completed, in order.
void pring_advance(struct pring *p, unsigned slots);

static inline struct ppos ppos_add(const struct pring *p, struct ppos at, unsigned slots)
{
	unsigned slot = at.slot + slots;
	return slot < p->num ? (struct ppos){ (uint16_t)slot, at.wrap } : (struct ppos){ (uint16_t)(slot - p->num), !at.wrap };
}

#endif
