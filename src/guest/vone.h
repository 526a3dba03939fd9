// Chains of one descriptor, many at a time: what nearly all frames are; or of an indirect table of two, the header and the frame, which is
// how DPDK's driver sends where the header does not fit in front of the frame. The same rules as vchain.h (each avail entry and each
// descriptor is read once, checked, then used), but in stages, so that the misses of a batch overlap: all avail entries, then all
// descriptors, then (if there are any) all tables, then the first bytes of all buffers.
//
// Two twins do it: vone.c one at a time, vone_wide.c four at a time where the CPU can. What they take is the same (test_vone).
#ifndef GUEST_VONE_H
#define GUEST_VONE_H

#include <stdint.h>

#include "guest/pring.h"
#include "guest/vring.h"

#define VONE_MAX 64u
#define VONE_FIRST 16u

struct vones { // a batch; arrays, so that four of a kind are one store
	const uint8_t *host[VONE_MAX]; // at least VONE_FIRST bytes may be read there, if the chain has as many or is a table
	union {
		uint64_t gpa[VONE_MAX]; // device-writable: where that is for the guest
		const uint8_t *rest[VONE_MAX]; // readable: byte `ahead`, and those behind it
	};
	uint32_t len[VONE_MAX];
	uint32_t id[VONE_MAX]; // by which it goes back, as gwrite_used has it
};

// The chains of avail entries at, at + 1, ... (n of them, n <= VONE_MAX, all pending): those of one descriptor in one region, with at
// least min_len bytes (>= 1), device-writable if `writable` and readable if not; and if not, tables of `ahead` bytes and of others
// that are in one region, too. Stops at the first that is anything else; that one is not consumed in any way and is vchain_fetch's,
// which reads it anew and uses only what it reads. Returns how many were taken. Prefetches their first line and the one that
// holds byte `ahead`.
unsigned vone_fetch(struct vring *r, uint16_t at, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vones *out);

// The same of a packed ring: the chains behind its place, n at most.
unsigned pone_fetch(struct pring *p, unsigned n, bool writable, uint32_t min_len, uint32_t ahead, struct vones *out);

// A hint: buffers of this receive ring will be wanted in a moment. Sends for what reserving and filling the first one will wait for, one
// line after the other: index, entry, descriptor, buffer, used element. Nothing that is read here decides anything, and all of it
// is read again.
void vone_ahead(const struct vring *r);

// May a ring that begins there (its descriptors) be read four at a time? If the CPU can, the descriptors are aligned, so that one comes
// in one load, and VRINGD_SCALAR_ONLY is not in the environment (for tests).
bool vone_wide_for(const void *desc);

#endif
