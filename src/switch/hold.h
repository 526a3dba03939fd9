// Frames that wait for a guest: its rings are stopped (a migration's gap) or paused for a moment. First in, first out, in
// chunks that are allocated when the first frame comes and freed when the last one leaves. Under a mutex; reached only when
// the port's gate is up.
#ifndef SWITCH_HOLD_H
#define SWITCH_HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/vnet.h"

#define HOLD_CHUNK (256u * 1024u)

struct hold_chunk;

struct hold_rec {
	uint32_t len; // of the frame that follows
	uint16_t src_port; // index of the port it came in on
	uint8_t gone; // taken out of turn (hold_move of one address)
	uint8_t forever; // of a pause that lasts: hold-ms does not count yet
	uint64_t until_us; // CLOCK_BOOTTIME
	struct vnet_hdr hdr;
	uint16_t cut_done; // of a frame that is cut for its receiver: that many of the parts are there already
	uint16_t pad;
};

struct hold_counts { // over the port's life
	_Atomic uint64_t total, delivered, dropped;
};

struct hold {
	pthread_mutex_t lock;
	_Atomic bool gate; // up: every frame for the port goes through here, behind what waits
	struct hold_chunk *head, *tail;
	_Atomic uint64_t frames, bytes;
	_Atomic uint64_t oldest_until_us; // of the first frame that can get too old; 0: none
	struct hold_counts own_counts, *counts; // hold_init: its own; the owner may have it count elsewhere
};

void hold_init(struct hold *h);
void hold_fini(struct hold *h, _Atomic uint64_t *used); // drops all

// All below: with h->lock held.
// Append a frame: its bytes are written by the caller into the place returned (len bytes). NULL: no memory or no room within
// limit (of this port) and all_limit (of *used, which counts all ports).
uint8_t *hold_append(struct hold *h, const struct hold_rec *rec, uint64_t limit, _Atomic uint64_t *used, uint64_t all_limit);
// The first frame that waits, or NULL.
struct hold_rec *hold_first(struct hold *h);
static inline uint8_t *hold_bytes(struct hold_rec *rec)
{
	return (uint8_t *)(rec + 1);
}
void hold_pop(struct hold *h, _Atomic uint64_t *used); // the first one
// Put all of `from` in front of what `to` has (both locked by the caller).
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

#endif
