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

#define RECORD_CLAIMS 64
#define RECORD_OWED 4096

struct record {
	struct snap snap;
	unsigned known[SNAP_MAX_RINGS]; // fields of each ring that requests have said
	bool log_unknown; // the last ring stopped: what becomes of the log then is the back end's affair
	bool any; // a request was acknowledged at all
	uint32_t ran, stopped; // rings whose last start or stop was acknowledged on this connection
	uint32_t last_base[SNAP_MAX_RINGS]; // what the stop of each stopped one answered
	unsigned n_claims; // SEND_RARPs of this connection, which is younger than a schedule of announcements lasts
	uint8_t claim[RECORD_CLAIMS][6];
	uint64_t claim_seq[RECORD_CLAIMS]; // number of its message
};

// What is in state.db of a dead daemon: the last connection of a port in its last life, the port's device, what is owed for it.
struct stored {
	bool found; // there is a connection
	struct snap snap;
	uint64_t seq; // its last committed message
	bool has_device;
	uint64_t device_acked;
	uint32_t last_base_set, last_base[SNAP_MAX_RINGS];
	unsigned n_owed;
	uint8_t owed[RECORD_OWED][6];
};

// False: it can't be read, or there is more than fits.
bool record_load(const char *path, const char *port, struct stored *out, char *why, unsigned why_size);
// NULL if the stored image says all that the record says; else the first thing that differs.
const char *record_differs(const struct record *r, const struct stored *stored);
// The same of the device, whose row is written before or after the connection's: it may be that of the request that is on its way
// while the connection's is not.
const char *record_device_differs(const struct record *r, const struct stored *stored);
// Announcements owed: of each of the first n_acked claims, and of each whose message is stored as committed.
const char *record_owed_differs(const struct record *r, unsigned n_acked, const struct stored *stored);

#endif
