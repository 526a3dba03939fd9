// Taking buffers from a split virtqueue: one avail entry is one chain of descriptors. The guest may change everything under
// us, so each index and each descriptor is read exactly once, into our own memory, and only that copy is used.
#ifndef GUEST_VCHAIN_H
#define GUEST_VCHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/gseg.h"
#include "guest/vring.h"

// A frame may lie in that many pieces; a chain with more is refused like any bad chain.
#define VCHAIN_MAX_SEGS 1024u

struct vchain {
	uint16_t id; // by which it goes back: split: the index of its first descriptor; packed: the driver's, any number
	uint16_t slots; // places of the ring that it takes: split: 1, an avail entry; packed: its descriptors
	uint16_t n_segs;
	uint32_t len; // sum of the pieces
};

enum vchain_result {
	VCHAIN_OK,
	VCHAIN_BAD, // unusable (outside memory, loop, wrong direction, too many pieces): return it with length 0
	VCHAIN_BROKEN, // the head itself is no descriptor: the ring is broken, nothing can be returned
	VCHAIN_NO_ROOM, // segs is too small for it now
};

// How many entries can be fetched: avail.idx - last_avail, by one acquire load. More than the ring has: broken is set, 0.
uint16_t vring_pending(struct vring *r);

// Fetch the chain of avail entry `at` (last_avail <= at < last_avail + pending): device-writable pieces if writable (receive),
// else device-readable ones (transmit). Pieces of length 0 are left out. segs has room for `room`. why: a static reason for
// BAD and BROKEN.
enum vchain_result vchain_fetch(struct vring *r, uint16_t at, bool writable, struct gseg *segs, unsigned room,
				struct vchain *out, const char **why);

// Copy len bytes from the pieces, starting `from` bytes in, to out. False if they are shorter. Reads each byte once.
bool gseg_read(const struct gseg *segs, unsigned n, uint32_t from, void *out, uint32_t len);

#endif
