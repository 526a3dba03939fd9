// Frames that wait for a guest: its rings are stopped (a migration's gap) or paused for a moment. First in, first out, in
// chunks (held.h) that are taken when the first frame comes and given back when the last one leaves. Under a mutex; reached only
// when the port's gate is up.
//
// Where that memory outlives the process, so do the frames: one is there from hold_commit until the hold_settle after it was
// taken out, in its order; at no moment is one lost that had been there, or half there.
#ifndef SWITCH_HOLD_H
#define SWITCH_HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/vnet.h"

#define HOLD_CHUNK (256u * 1024u)

struct held;

struct hold_meta { // of a chunk, beside it
	_Atomic uint64_t place; // whose and the how manieth it is (hold_place); 0: it is free
	_Atomic uint32_t read, write; // offsets: frames from one to the other
};

struct hold_chunk { // ours, of a chunk
	struct hold_chunk *next;
	uint32_t read; // taken out up to here; in hold_meta: and delivered
};

struct hold_rec {
	uint32_t len; // of the frame that follows
	uint16_t src; // number of the port it came in on
	uint8_t gone; // taken out of turn (hold_move of one address)
	uint8_t forever; // of a pause that lasts: hold-ms does not count yet
	uint64_t until_us; // CLOCK_BOOTTIME
	struct vnet_hdr hdr;
	uint16_t cut_done; // of a frame that is cut for its receiver: that many of the parts are there already
	uint16_t pad;
};

static inline uint32_t hold_rec_size(uint32_t len)
{
	return (uint32_t)sizeof(struct hold_rec) + ((len + 7u) & ~7u);
}
#define HOLD_REC_MAX (66u * 1024u) // more than that of the longest frame

struct hold_counts { // over the port's life
	_Atomic uint64_t total, delivered, dropped;
};

struct hold {
	pthread_mutex_t lock;
	_Atomic bool gate; // up: every frame for the port goes through here, behind what waits
	struct held *mem;
	uint16_t owner;
	struct hold_chunk *head, *tail;
	struct hold_chunk *at; // where the next frame is taken; those in front of it are delivered or about to be
	struct hold_rec *pending; // appended, not committed
	uint64_t first_order; // of the first chunk of an empty hold
	_Atomic uint64_t frames, bytes;
	_Atomic uint64_t oldest_until_us; // of the first frame that can get too old; 0: none
	struct hold_counts own_counts, *counts; // hold_init: its own; the owner may have it count elsewhere
};

// owner: the port's number (counters.h), by which a successor finds what is held. Its hold is empty; hold_adopt finds.
void hold_init(struct hold *h, struct held *mem, uint16_t owner);
// One whose frames belong in front of what `to` has: for a splice.
void hold_init_before(struct hold *h, const struct hold *to);
void hold_fini(struct hold *h, _Atomic uint64_t *used, bool leave); // drops all; leave: leaves it to a successor
// What an earlier process left for this owner (keep), or drop that. Counted in *used. Before the hold is used.
void hold_adopt(struct hold *h, _Atomic uint64_t *used, bool keep);

// All below: with h->lock held.
// Append a frame: its bytes are written by the caller into the place returned (len bytes), then hold_commit says that they are
// there. NULL: no memory or no room within limit (of this port) and all_limit (of *used, which counts all ports).
uint8_t *hold_append(struct hold *h, const struct hold_rec *rec, uint64_t limit, _Atomic uint64_t *used, uint64_t all_limit);
void hold_commit(struct hold *h);
// The first frame that waits, or NULL.
struct hold_rec *hold_first(struct hold *h);
static inline uint8_t *hold_bytes(struct hold_rec *rec)
{
	return (uint8_t *)(rec + 1);
}
// The first one is taken out. It stays where it is, for whoever still reads it and for a successor, until hold_settle: what was
// taken out is delivered and the receiver sees it.
void hold_pop(struct hold *h, _Atomic uint64_t *used);
void hold_settle(struct hold *h);
// Put all of `from` in front of what `to` has (both locked by the caller, and settled).
void hold_splice(struct hold *from, struct hold *to);
// Visit the frames in order.
typedef void hold_each_fn(void *arg, struct hold_rec *rec);
void hold_each(struct hold *h, hold_each_fn *fn, void *arg);
void hold_take_out(struct hold *h, struct hold_rec *rec, _Atomic uint64_t *used); // mark gone; it keeps its place in memory
void hold_clock(struct hold *h); // recompute oldest_until_us
// Take out all that has waited until now_us or longer, those of a pause aside. Returns how many.
uint64_t hold_expire(struct hold *h, uint64_t now_us, _Atomic uint64_t *used);
// The pause became a stop: its frames have a time to wait, too, until until_us. True: there were some.
bool hold_stamp(struct hold *h, uint64_t until_us);

// -- between hold.c and held.c ------------------------------------------------------------------------------------------
#define HOLD_ORDER_FIRST (UINT64_C(1) << 46) // of a hold that is empty: room to both sides
#define HOLD_ORDER_ROOM (UINT64_C(1) << 20) // more chunks than there are
static inline uint64_t hold_place(uint16_t owner, uint64_t order)
{
	return (uint64_t)(owner + 1u) << 48 | order;
}
static inline unsigned hold_owner(uint64_t place)
{
	return (unsigned)(place >> 48) - 1;
}
struct hold_meta *held_meta(struct held *m, const struct hold_chunk *c);
uint8_t *held_bytes(struct held *m, const struct hold_chunk *c);
struct hold_chunk *held_new(struct held *m, uint64_t place); // NULL: none is left
void held_free(struct held *m, struct hold_chunk *c);
struct hold_chunk *held_left(struct held *m, uint16_t owner); // what an earlier process left for it, checked, in order

#endif
