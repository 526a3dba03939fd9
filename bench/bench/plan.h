// What is to be measured: the catalogue of cases, and the rows that a command line asks for.
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/opts.h"
#include "load/load.h"

#define PLAN_ROWS 200

enum row_way {
	ROW_PAIRS, // stretches of traffic in turns
	ROW_PACED, // the same at half the slower one's rate: equal load
	ROW_LOG, // each stretch with logging off, then on
	ROW_LATENCY, // ping-pong
	ROW_HANDSHAKE, // connect until all rings run
	ROW_ACK, // an acknowledged message while traffic flows
	ROW_IDLE, // silent guests: CPU time, switches, memory
	ROW_RECOVERY, // kill until the first frame
	ROW_STOP, // GET_VRING_BASE of all rings
	ROW_SEARCH, // highest rate with a given loss
};

struct row {
	char name[64]; // "bothways split 64", unique in a plan
	char what[33]; // the case
	enum row_way way;
	struct load_conf load; // without sockets, CPU and seed
	double loss; // SEARCH, per cent
	bool busy; // RECOVERY: while frames go both ways as fast as they can
};

struct plan {
	struct row row[PLAN_ROWS];
	unsigned n;
};

bool plan_knows(const char *name); // "bothways", "bothways/split"
void plan_help(FILE *f); // one line a case
// False: nothing to do (complained).
bool plan_make(struct plan *p, const struct opts *o);
uint32_t row_max_frame(const struct row *r); // bytes of its longest frame

#endif
