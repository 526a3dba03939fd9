// What a front end knows to be durable: the record of its acknowledged requests, and how it compares with what a dead
// daemon left in its database. Things that no acknowledged request says (what a stop does to addresses and descriptors)
// are not compared.
#ifndef FAULT_RECORD_H
#define FAULT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "snap/snap.h"

enum {
	KNOW_NUM = 1,
	KNOW_BASE = 2,
	KNOW_ADDR = 4,
	KNOW_STARTED = 8,
	KNOW_ENABLED = 16,
	KNOW_KICK = 32,
	KNOW_CALL = 64,
	KNOW_ERR = 128
};

struct record {
	struct snap snap;
	unsigned known[SNAP_MAX_RINGS]; // fields of each ring that requests have said
	bool log_unknown; // the last ring stopped: what becomes of the log then is the back end's affair
	bool any;                       // a request was acknowledged at all
};

// What is in state.db of a dead daemon for the last connection of port in its last life. False: it can't be read; *found
// tells whether there is one. *seq: its last committed message.
bool record_load(const char *path, const char *port, struct snap *out, bool *found, uint64_t *seq, char *why,
		 unsigned why_size);
// NULL if the stored image says all that the record says; else the first thing that differs.
const char *record_differs(const struct record *r, const struct snap *stored, bool found);

#endif
