// The fixture of the protocol tests: one running daemon, an innocent pair of guests that must be able to talk after
// whatever was done to the port under test, and one way to put a message and see what comes of it.
//
// Ports: a, a2, a3 (net default) for the tests; calm1, calm2 (net calm) for the innocent pair; one (sessions=1).
#ifndef PROTO_BED_H
#define PROTO_BED_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/fe.h"
#include "driver/net.h"
#include "proto/daemon.h"

struct bed {
	struct daemon d;
	struct fe *calm[2];
	struct net calm_net[2];
	uint64_t calm_seq;
	pid_t worker; // with a keeper a death would else be seen by nobody
	int fds; // of the daemon with nobody on the ports under test
	unsigned checks, cases, bad;
	const char *row;  // in hand
	const char *only; // if not NULL: the rows and cases whose name has this in it
	char at[120];     // the case in hand
	char failed[1600]; // why; "": it holds
};

struct bed_row {
	const char *name;
	void (*run)(struct bed *b);
};

// With VRINGD_TEST_KEEPER in the environment: as it is run by default, in two processes.
bool bed_open(struct bed *b, const char *bin);
bool bed_close(struct bed *b); // false: the daemon did not end well
// A row consists of one or more cases. bed_case_begin names the next (false: it is not asked for); bed_case_end settles,
// says what failed, if anything, and counts.
bool bed_case_begin(struct bed *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bed_case_end(struct bed *b);
// What follows each case: alive, descriptors back, the innocent pair talks. Sets failed.
void bed_settle(struct bed *b);
void bed_fail(struct bed *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define NEED(b, cond, ...)                          \
	do {                                        \
		(b)->checks++;                      \
		if (!(cond)) {                      \
			bed_fail((b), __VA_ARGS__); \
			return;                     \
		}                                   \
	} while (0)

// How far a front end has come before the message under test.
enum bed_stage {
	BED_CONNECTED,
	BED_BARE,     // SET_OWNER, but no protocol features: REPLY_ACK is off
	BED_OWNED,    // negotiated as QEMU does
	BED_PREPARED, // memory table, ring sizes and addresses; no kick
	BED_RUNNING,  // all rings of one pair
	BED_LOGGING,  // running, and logging
};
// A front end on port at that stage; NULL (failed is set) if it can't be had. log_fd of BED_LOGGING: log, else unused.
struct fe *bed_front_end(struct bed *b, const char *port, enum bed_stage stage, const struct fe_conf *conf, int log);

// What a message led to. Found out with a barrier message behind it, so silence costs no time-out.
struct bed_outcome {
	unsigned replies;      // before the barrier's own
	struct conn_msg reply; // the first
	bool closed;
	bool lost; // neither the barrier's reply nor the end of the connection came
};
// The message's bytes were sent already (send_ok false: the socket was closed while sending).
void bed_outcome(struct fe *fe, uint32_t id, bool send_ok, struct bed_outcome *out);
void bed_put(struct fe *fe, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned n_fds,
	     struct bed_outcome *out);
// "reply of 8 bytes: 0", "closed", "silence"...
const char *bed_outcome_text(const struct bed_outcome *o);

#endif
