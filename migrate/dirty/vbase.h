// What SET_VRING_BASE and GET_VRING_BASE carry, and the checks on it. Pure.
#ifndef DIRTY_VBASE_H
#define DIRTY_VBASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

// Split ring: bits 0-15 are the next avail index, 16-31 must be zero.
enum err vbase_check_split(uint32_t num, struct why *why);

// Packed ring: bits 0-14 the next available slot, bit 15 the wrap counter there; the upper half the same for the next used
// one, or zero where only one is told. Refused: a slot that a ring of num does not have.
enum err vbase_check_packed(uint32_t base, uint32_t num, struct why *why);

// What a given base means beside the used index found in guest memory. In-order completion makes them equal at every
// clean stop; a front end that lost us restores base from used.idx itself.
enum vbase_verdict {
	VBASE_EQUAL,
	VBASE_AHEAD, // base - used in 1..size: fetched, never returned: start from used.idx, so nothing is lost
	VBASE_BEHIND, // used - base in 1..size: read before our last completion was visible: start from used.idx, or buffers that
		      // the driver has taken back already would be used again
	VBASE_WILD, // further apart than the ring is long: take base, report
};
enum vbase_verdict vbase_compare(uint16_t base, uint16_t used_idx, uint32_t ring_size);

#endif
