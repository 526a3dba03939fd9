// Shared by the files of this folder.
#ifndef LOAD_INNER_H
#define LOAD_INNER_H

#include "load/lane.h"
#include "load/load.h"

#define LOAD_SIDES 2

struct side { // one guest
	struct fe *fe;
	struct lane *rx, *tx; // one of each per queue pair
	uint64_t lost; // frames sent that are not on their way any more, as far as the window goes
};

struct load_harvest {
	int fd;
	uint64_t *words, bytes, pages;
	uint64_t next_us;
	bool on;
};

struct load {
	struct load_conf conf;
	unsigned n_sides, n_senders; // sides 0.. send, the last one (ONE_WAY: side 1 only) receives
	struct side side[LOAD_SIDES];
	struct load_harvest log[LOAD_SIDES];
	uint32_t max_frame;
	uint64_t rate;
	uint64_t window; // frames of a sender on their way at once: a receive ring takes them, whenever this thread loses its CPU
	uint64_t corrupt, foreign, odd_headers;
	uint32_t *latency;
};

enum { LOAD_IDLE_LIMIT_MS = 2000 }; // nothing at all moves for that long: the back end is dead

bool load_fail(char why[LOAD_WHY], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// One turn: reap, send what the budget and the rings allow (burst at most per lane), receive. Frames received; *moved: anything moved.
struct budget {
	uint64_t left; // frames that may still be sent; UINT64_MAX: no limit
};
unsigned load_turn(struct load *l, struct budget *b, bool *moved);
// What is in transmit buffer b of side s: a frame by weight and flow, its header.
void load_fill(struct load *l, unsigned s, struct lane *tx);
// One in many of the frames that arrive: a lane_check.
void load_check_frame(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len);
#define LOAD_GSO_LEAD 66u // Ethernet, IPv4 and TCP headers of a segment that is to be cut
uint64_t load_sent(const struct load *l);
uint64_t load_received(const struct load *l);
void load_harvest_run(struct load *l, uint64_t now_us);
const char *load_broken(const struct load *l);
bool load_ping_pong(struct load *l, unsigned ms, struct load_result *r, char why[LOAD_WHY]);
// One frame from side `from`, until the other side has it. Nanoseconds; 0: it did not come in time.
uint64_t load_one(struct load *l, unsigned from);

#endif
