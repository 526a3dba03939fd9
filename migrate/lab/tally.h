// Counting what a guest received of one run: what is new, repeated, out of order, corrupt; the longest gap; how many came in
// each 10 ms. Pure: told of each datagram with its time. The agent feeds it in the guest, the tests feed it by hand.
#ifndef LAB_TALLY_H
#define LAB_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_proto.h"

#define TALLY_SEQ_MAX (1u << 22) // sequence numbers of a stream that can be told apart
#define TALLY_BINS 30000         // five minutes; what comes later is counted, but not drawn

struct tally_counts {
	uint64_t received;  // datagrams of this run, whatever else they are
	uint64_t unique;    // good ones, each counted once
	uint64_t repeated;  // good, but had come before
	uint64_t reordered; // good and new, but a later one of its stream had come before
	uint64_t corrupt;   // of this run, or of no run at all, with a wrong length or pattern
	uint64_t other_run; // left over from a run before
	uint64_t beyond;    // sequence number too large to be told apart: the run was too long
	uint64_t first_us, last_us;
	uint64_t gap_us;     // longest time between two arrivals
	uint64_t gap_end_us; // when it ended
	uint64_t second_us;  // the longest of all others
};

#define TALLY_GAPS 16
#define TALLY_GAP_US 3000 // what is shorter is no gap to a look

struct tally_gap { // a time without arrivals
	uint64_t us, end_us;
};

struct tally_window { // since somebody looked last
	struct tally_gap gap[TALLY_GAPS]; // the longest of those that ended, in no order; the first may have begun before
	unsigned n;
	uint64_t last_us; // the last arrival of all; 0: none yet
};

struct tally {
	struct tally_counts counts;
	struct tally_window window;
	uint32_t run;
	uint32_t size;
	unsigned streams;
	uint64_t start_us;                // begin of bin 0
	uint64_t next[LAB_STREAMS_MAX];   // highest sequence number seen, plus one
	uint8_t *seen[LAB_STREAMS_MAX];   // one bit each
	uint16_t bins[TALLY_BINS];
};

// false if there is no memory for it. The caller frees it with tally_free.
struct tally *tally_new(void);
void tally_free(struct tally *t);
// Forget all; from now on expect `run` with datagrams of `size` bytes on streams 0 to streams-1.
void tally_reset(struct tally *t, uint32_t run, uint32_t size, unsigned streams, uint64_t now_us);
// A time without arrivals that ended then.
void tally_gap_add(struct tally_counts *c, uint64_t gap_us, uint64_t end_us);
// What came since the last call (or the reset); the next one begins now.
struct tally_window tally_look(struct tally *t);
// A datagram that arrived. len is what the socket said, which may be more than `size`.
void tally_take(struct tally *t, const uint8_t *data, size_t len, uint64_t now_us);
// Sequence numbers below `sent` of a stream that did not come. from/to (inclusive) take up to max ranges, NULL to count only.
// Returns how many numbers are missing in all; *ranges how many ranges were stored.
uint64_t tally_holes(const struct tally *t, unsigned stream, uint64_t sent, uint64_t *from, uint64_t *to, unsigned max,
	unsigned *ranges);

#endif
