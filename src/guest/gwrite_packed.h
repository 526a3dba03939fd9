// Storing into a packed ring (the functions are in gwrite.c, the only file that stores through guest pointers).
//
// Order: payload and header -> used descriptors, but for the flags of the first -> one full fence -> their log bits -> those
// flags, which make all of them visible -> the fence of the call decision -> the log bit of that descriptor's page.
#ifndef GUEST_GWRITE_PACKED_H
#define GUEST_GWRITE_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/pring.h"

struct gwrite_pused { // one used descriptor
	uint16_t id; // of the chain; of the last one of several chains of a ring in order
	uint16_t slots; // that the driver skips: of all those chains
	uint32_t len; // bytes written into the buffers; 0 for transmit
};

// Write n used descriptors behind those that are filled in; they complete chains that were taken (pring_advance), in order.
void gwrite_packed_fill(struct pring *p, const struct gwrite_pused *elems, unsigned n);
// Log what is pending, let the driver see what is filled in. The call decision must follow: it logs the last store.
void gwrite_packed_publish(struct pring *p);
void gwrite_packed_settle(struct pring *p); // after a full fence; part of the call decision
// Ask the driver not to kick (on = false), or to kick for descriptors from `off` places behind avail on. After switching on
// the caller must look once more (pring_ready): a full fence lies between.
void gwrite_packed_notify(struct pring *p, bool on, unsigned off);

// Does the driver want a call for what was published since the last decision? As vring_wants_call.
bool pring_wants_call(struct pring *p);
bool pring_wants_call_fenced(struct pring *p);

#endif
