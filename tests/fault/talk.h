// Two guests that talk at full speed, numbered frames both ways on each pair, while something is done to the daemon under them: what is
// missing, what came twice, whether a connection was lost, and how long it took until frames moved again.
#ifndef FAULT_TALK_H
#define FAULT_TALK_H

#include "proto/lan.h"

#define TALK_PAIRS 4
#define TALK_GAPS 20000
#define TALK_BATCH 64u // frames that may come twice, of a ring and death

#define TALK_KINDS 4

struct talk_gap { // microseconds from the mark to the first frame after it, or the longest silence, if there is an old worker
	unsigned us, kind;
};

struct talk_way { // what guest `to` hears on a pair
	uint64_t sent, next, lost, repeated;
	uint64_t last, runs, run, longest; // the last one that came twice; rows of such, the present and the longest row
};

struct talk {
	struct bed bed;
	struct lan lan;
	struct talk_way way[2][TALK_PAIRS];
	struct fe_conf conf; // set before talk_open: ring size, packed, pairs
	bool log; // guest 0 logs
	uint64_t memory; // of guest 0, in bytes; 0: as little as it needs
	bool messages; // guest 1 asks something now and then, and waits for its answer
	pid_t old; // nothing counts as the first frame while this process is the worker; 0: look at the time alone
	_Atomic uint64_t since_us; // when it was done, until a frame came after it
	_Atomic bool over; // talk_run is to end
	_Atomic int aim; // from another thread: a process to be sent aim_signal so long after frames were given; 0 when it was
	int aim_signal;
	unsigned aim_ns;
	_Atomic bool touch; // from another thread: let the worker touch all memory of guest 0; false again when it has
	_Atomic uint64_t frames;
	uint64_t frame_us, silent_us; // the last frame; the longest silence since the mark
	_Atomic unsigned kind; // of what is done, below TALK_KINDS: set before the mark
	struct talk_gap gap[TALK_GAPS];
	unsigned n_gaps;
	bool touched; // by the guest
	const char *wrong; // the first thing that was; NULL: nothing
};

// The daemon, two guests on its ports a and a2. False: bed.failed, or errno.
bool talk_open(struct talk *t, const char *bin);
// Talk until over is set by another thread, then listen for what is still under way.
void talk_run(struct talk *t);
// From another thread: something is being done now. old: the worker that it ends; 0: it dies at once.
void talk_mark(struct talk *t, pid_t old);
// From another thread: has a frame come after the mark? Waits up to timeout_ms, or until talk_run ends.
bool talk_moves(struct talk *t, unsigned timeout_ms);
struct talk_sum {
	uint64_t lost, repeated, most; // most: repeated on one ring
	uint64_t rows, longest_row; // of frames that came twice: one for each death at most, on one ring; and the longest row of all
	struct talk_gaps {
		unsigned n, p50, p99, longest; // us
	} all, kind[TALK_KINDS];
};
void talk_sum(struct talk *t, struct talk_sum *out);
void talk_tell(const struct talk *t); // where each ring stands
bool talk_close(struct talk *t, bool tell); // false: the daemon did not end well. tell: print what it said
bool talk_connected(const struct talk *t);

#endif
