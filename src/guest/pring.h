// A packed virtqueue, device side (virtio 1.2, 2.8): one ring of descriptors that both sides write. Each descriptor is
// fetched once, checked, then used; completion is strictly in ring order.
//
// What both formats have in common (memory, log, features, call descriptor, pending ranges) is in `v`: gwrite_payload,
// gwrite_header and gwrite_frames take &p->v. Of v, what names an avail or used ring is not used here.
//
// Position: no index in guest memory says where a device stands in a packed ring. It is in the ring's ledger (ledger.h),
// which may outlive the process. Where there is none, there is what SET_VRING_BASE says (the last clean stop, where nobody
// knows better), and what the descriptors' flags say (pring_find).
#ifndef GUEST_PRING_H
#define GUEST_PRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/ledger.h"
#include "guest/playout.h"
#include "guest/vchain.h"
#include "guest/vring.h"

struct ppos { // a place in the ring, and the wrap counter there
	uint16_t slot;
	bool wrap;
};

struct pring_at { // where the device stands: our copy
	struct ppos avail; // next to fetch
	struct ppos fill; // behind the used descriptors that are written and not visible yet
	struct ppos used; // next used descriptor that the driver will see
};

struct pring {
	struct vring v;
	const uint8_t *ring; // guest memory, written through gwrite.c only
	uint64_t ring_gpa; // its guest-physical address: where descriptor writes are logged
	uint32_t num; // 1..32768, any number
	struct pring_at at;
	struct pring_ledger *ledger; // vring_conf's, or the one below
	uint64_t first; // length, id and flags of the first of those that are written and not visible: withheld until then
	struct ppos unlogged; // the descriptor that was published last, if v.idx_unlogged
	uint16_t out; // slots between used and avail
	struct pring_ledger own;
};

// conf as for a split ring, but: num is any number from 1 to 32768; desc_uaddr is the descriptor ring, avail_uaddr the
// driver's event area, used_uaddr the device's (4 bytes each); log_gpa is the device area's. Position {0, 1} (a fresh ring).
enum err pring_new(struct pring **out, const struct vring_conf *conf, struct why *why);
void pring_free(struct pring *p); // NULL is fine
// Set the position, here and in the ledger; base as in SET_VRING_BASE, checked by vbase_check_packed. The next call decision
// signals.
void pring_restore(struct pring *p, uint32_t base);
// Take the position from the ledger, and end what an earlier process left unfinished: a batch that it had not shown is
// taken back, and fetched again. Nothing is shown by this. False: the ledger knows nothing of a ring of this size, or
// what no ring can have.
bool pring_resume(struct pring *p);
// What GET_VRING_BASE says: both halves, equal, since what was not returned will be fetched again.
uint32_t pring_base(const struct pring *p);

// Where the flags in the ring say that a device stands which completes in order: what SET_VRING_BASE would say. False: they do
// not say it, since chains of several descriptors or batches in order left their traces, or somebody wrote nonsense. Reads
// the whole ring.
bool pring_find(const struct pring *p, uint32_t *base);
// Of a ring that starts anew, at its position: where an earlier process had written the used descriptors of a batch but for the
// first, which shows them, that is shown now, with length 0: its frame is lost (transmit) or an empty buffer (receive), and the
// ring goes on. Returns how many descriptors that were, 0: there was nothing of the kind.
unsigned pring_finish(struct pring *p);
// With what pring_find found, can this base be right all the same? If it is the same place; or the one behind it, and what lies
// between may be the tail of a chain of two that was completed last (it has that one's id, and no batch was cut short there).
bool pring_admits(const struct pring *p, uint32_t found, uint32_t base);

// Is there a descriptor `off` (< num) places behind avail?
bool pring_ready(const struct pring *p, unsigned off);
// Fetch the chain that begins `off` places behind avail (pring_ready said yes). Like vchain_fetch; VCHAIN_BROKEN: the chain
// has no end within what the ring may hold.
enum vchain_result pchain_fetch(struct pring *p, unsigned off, bool writable, struct gseg *segs, unsigned room,
				struct vchain *out, const char **why);
// Chains of that many slots are the device's now; each is to be completed, in order.
void pring_advance(struct pring *p, unsigned slots);

static inline struct pring *pring_of(struct vring *v) // v->packed
{
	return (struct pring *)v;
}
static inline const struct pring *pring_of_const(const struct vring *v)
{
	return (const struct pring *)v;
}

struct pdesc { // a descriptor, our copy
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

// Length, id and flags come in one load: what the driver wrote before the flags is there if they are.
static inline struct pdesc pdesc_load(const struct pring *p, uint16_t slot)
{
	const uint8_t *d = p->ring + (size_t)slot * VDESC_SIZE;
	uint64_t hi = atomic_load_explicit((const _Atomic uint64_t *)(d + PDESC_LEN), memory_order_acquire);
	uint64_t lo = atomic_load_explicit((const _Atomic uint64_t *)d, memory_order_relaxed);
	return (struct pdesc){ .addr = lo, .len = (uint32_t)hi, .id = (uint16_t)(hi >> 32), .flags = (uint16_t)(hi >> 48) };
}

static inline uint64_t pdesc_rest(const uint8_t *d) // length, id and flags
{
	return atomic_load_explicit((const _Atomic uint64_t *)(d + PDESC_LEN), memory_order_relaxed);
}

// The two flags of a descriptor that is available, and of one that is used, in the lap of that wrap counter.
#define PDESC_F_LAP (PDESC_F_AVAIL | PDESC_F_USED)
static inline uint16_t pdesc_available(bool wrap)
{
	return wrap ? PDESC_F_AVAIL : PDESC_F_USED;
}
static inline uint16_t pdesc_used(bool wrap)
{
	return wrap ? PDESC_F_LAP : 0;
}

// Between two stores that a process' death must not swap: it falls between two instructions, so the compiler's order does.
static inline void ledger_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static inline struct ppos ppos_add(const struct pring *p, struct ppos at, unsigned slots)
{
	unsigned slot = at.slot + slots;
	return slot < p->num ? (struct ppos){ (uint16_t)slot, at.wrap } : (struct ppos){ (uint16_t)(slot - p->num), !at.wrap };
}

#endif
