// Storing into a packed ring (the functions are in gwrite.c, the only file that stores through guest pointers).
//
// Order: payload and header -> used descriptors, but for the first -> one full fence -> their log bits -> the first, which
// makes all of them visible -> a full fence -> the log bit of its page. Length, id and flags of a descriptor are one store, so
// at no time is it half the driver's and half ours.
#ifndef GUEST_GWRITE_PACKED_H
#define GUEST_GWRITE_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/gwrite.h"
#include "guest/pring.h"

// The id of a used element: the chain's (in order: of the last of several chains), and how many descriptors the driver skips
// (of all those chains).
static inline uint32_t gwrite_packed_id(uint16_t id, uint16_t slots)
{
	return id | (uint32_t)slots << 16;
}

// Write n used descriptors (at most LEDGER_BATCH); they complete chains that were taken (pring_advance), in order. What they
// overwrite is in the ledger first. Each fill is shown before the next.
void gwrite_packed_fill(struct pring *p, const struct gwrite_used *elems, unsigned n);
// Let the driver see what is filled in. If gwrite_unlogged, a full fence lies between the fill and this; it is logged here.
// gwrite_packed_settle must follow, after a full fence: it logs the last store.
void gwrite_packed_show(struct pring *p);
void gwrite_packed_settle(struct pring *p);
// All of that, with the fences that are needed; n may be any number.
void gwrite_packed_publish(struct pring *p, const struct gwrite_used *elems, unsigned n);
// For pring_resume: what the driver had written goes back into a descriptor that was not shown. Logged with the next flush.
void gwrite_packed_undo(struct pring *p, unsigned slot, uint64_t word);
// Ask the driver not to kick (on = false), or to kick for descriptors from `off` places behind avail on. After switching on
// the caller must look once more (pring_ready): a full fence lies between.
void gwrite_packed_notify(struct pring *p, bool on, unsigned off);

// Does the driver want a call for what was published since the last decision? As vring_wants_call. The fenced one settles, too.
bool pring_wants_call(struct pring *p);
bool pring_wants_call_fenced(struct pring *p);

#endif
