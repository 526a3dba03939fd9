// A virtqueue, device side: what split and packed rings have in common, and the split one (virtio 1.2, 2.7). A packed one is a
// struct pring around it; ring.h serves both. Each descriptor and index is fetched once, checked, then used;
// completion is strictly in ring order, so used.idx in guest memory is always the truth about what a split ring has done.
//
// A vring is built aside by the control thread, then belongs to the data thread that it is published to; the control
// thread touches it again only after it was retracted and all data threads have passed. Stores into guest memory are all
// in gwrite.c.
#ifndef GUEST_VRING_H
#define GUEST_VRING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/gseg.h"

struct mem_map;
struct dirty_log;
struct pring_ledger;

struct vring_conf {
	uint32_t num; // power of two, 1..32768
	uint64_t features; // virtio features the guest acknowledged
	const struct mem_map *mem; // borrowed: outlives the ring
	uint64_t desc_uaddr, avail_uaddr, used_uaddr; // front-end virtual addresses, as SET_VRING_ADDR gives them
	struct dirty_log *log; // borrowed, or NULL: not logging
	bool log_used; // VHOST_VRING_F_LOG: the used ring is logged, too
	uint64_t log_gpa; // where the used ring lies for the log
	int call_fd; // borrowed, or -1; the owner replaces it with vring_set_call
	struct pring_ledger *ledger; // of a packed ring: borrowed, written from pring_restore on; NULL: its own, which dies with it
};

struct vring_pos { // of a split ring: both are next indices, free running
	uint16_t avail;
	uint16_t used;
};

struct vring_counts {
	_Atomic uint64_t kicks, calls; // relaxed
};

enum { VRING_TSO4 = 1, VRING_TSO6 = 2, VRING_ECN = 4 };

struct vring {
	// fixed while published
	const struct mem_map *mem;
	const void *desc; // guest memory, read through vring.c only
	const void *avail;
	const uint8_t *used; // guest memory, written through gwrite.c only
	uint16_t num, mask; // num is at most 32768
	bool event_idx, indirect_ok, in_order;
	uint8_t hdr_len; // of the virtio-net header: 12 or 10
	bool packed; // this is the v of a struct pring
	bool wide; // see vone_wide_for
	bool mergeable, guest_csum; // what this ring's driver takes on receive
	bool tx_csum; // it may leave a checksum to us on transmit
	uint8_t rx_gso, tx_gso; // VRING_TSO4...: TCP frames that it takes whole, that it may leave whole
	bool log_used;
	uint64_t used_log_gpa;
	struct dirty_log *log;
	// position: the owning data thread's
	uint16_t last_avail; // next avail entry to fetch
	uint16_t last_used; // next used entry to write == used.idx in guest memory
	uint16_t signalled; // used index at the last call decision
	bool signalled_valid; // false after start: the next decision is "signal"
	bool notify_off; // kicks are suppressed
	uint8_t hint; // region of the last translated buffer, see vone_int.h
	bool idx_unlogged; // used.idx was stored and its page is not logged yet, see gwrite_settle
	_Atomic(const char *) broken; // the rule that the guest broke (static text): nothing more is done here until it starts anew
	_Atomic int call_fd;
	// pages that are written and not logged yet, see gwrite.c: a batch of 64 frames, each in pages of its own, used elements
	// before and behind the ring's end
	unsigned n_pending;
	struct {
		uint64_t first, last;
	} pending[68];
	struct vring_counts own_counts, *counts; // where it counts: here, or (while it is published) with its port
};

// Why nothing is done on this ring any more, NULL: all is well. Any thread may ask.
static inline const char *vring_broken(struct vring *r)
{
	return atomic_load_explicit(&r->broken, memory_order_relaxed);
}
// For the owner: done with this ring; why is static.
static inline void vring_break(struct vring *r, const char *why)
{
	atomic_store_explicit(&r->broken, why, memory_order_relaxed);
}

// Resolve the three areas inside single regions, aligned as the specification says, and build a ring at position
// {0,0}. Position is set by vring_restore before it is published.
enum err vring_new(struct vring **out, const struct vring_conf *conf, struct why *why);
// For pring_new: set what depends on the network features alone, the same for both kinds of ring: mergeable, guest_csum,
// tx_csum, rx_gso, tx_gso.
void vring_offloads(struct vring *r, uint64_t features);
void vring_free(struct vring *r); // NULL is fine

// used.idx as it stands in guest memory.
uint16_t vring_used_idx(const struct vring *r);
// avail.idx as it stands in guest memory (untrusted).
uint16_t vring_avail_idx(const struct vring *r);
// Set the position; the next call decision signals. In-order completion: both indices are equal.
void vring_restore(struct vring *r, uint16_t next);
// Position of a retracted ring.
struct vring_pos vring_position(const struct vring *r);
// Replace the call descriptor (borrowed, -1: none) of a ring that may be running. After it returns and all data threads have
// passed, the old one may be closed.
void vring_set_call(struct vring *r, int fd);
// Signal the call descriptor once, whatever the guest's suppression says: after start, restore, a new call descriptor.
void vring_call_now(struct vring *r);

#endif
