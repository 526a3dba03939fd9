// Counters of a port as they lie in memory, which is a page that may outlive the process (counters.h).
#ifndef SWITCH_CTR_H
#define SWITCH_CTR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/vring.h"
#include "switch/counters.h"
#include "switch/dp.h"
#include "switch/hold.h"

#define DP_MAX_THREADS 16
#define DP_RINGS (2 * DP_MAX_PAIRS)

struct dp_ctr { // of one port, written by one data thread
	struct dp_counters queue[DP_MAX_PAIRS];
	uint64_t drops_in[DP_DROP_N], drops_out[DP_DROP_N];
	uint64_t flooded;
	uint64_t gso_in, gso_out, gso_cut, gso_parts;
} __attribute__((aligned(64)));

struct port_counters { // of one port
	struct dp_ctr thread[DP_MAX_THREADS];
	struct {
		struct vring_counts n;
	} __attribute__((aligned(64))) ring[DP_RINGS]; // of several threads
	struct hold_counts hold;
	uint64_t expired; // held frames that the control thread dropped: too old
} __attribute__((aligned(64)));

// Those of a port of that name, as an earlier process left them (*went_on), or zeroes; *number is its number there. NULL: no room.
struct port_counters *counters_take(struct counters *c, const char *id, uint16_t *number, bool *went_on);
void counters_drop(struct counters *c, unsigned number); // the port is gone
bool counters_left(const struct counters *c); // counters_leave was called

// Counters have one writer and are read by the control thread: relaxed, never a locked operation.
static inline void ctr_add(uint64_t *c, uint64_t n)
{
	_Atomic uint64_t *a = (_Atomic uint64_t *)c;
	atomic_store_explicit(a, atomic_load_explicit(a, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
