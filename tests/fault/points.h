// A recorded session of one front end, done again and again while the worker under it dies where a test wants it to; and what
// must be as in the session without a death. keeper_points kills at named places, keeper_syscalls at system calls.
//
// The session is a row of steps: each message of the front end on port a is one, each bout of traffic with its neighbour on port
// a2 is one. A dry run notes of each what it passes and what it leads to.
#ifndef FAULT_POINTS_H
#define FAULT_POINTS_H

#include "base/crash.h"
#include "driver/flog.h"
#include "proto/lan.h"

#define POINTS_STEPS 320
#define POINTS_PAIRS 4
#define POINTS_PORT_ARGS 2

enum step_kind { STEP_MESSAGE, STEP_FRAMES };

struct step {
	enum step_kind kind;
	char name[28];
	unsigned sent; // messages of all front ends when it is done
	uint32_t passes[CRASH_N];
	uint64_t foreign; // announcements of the switch that came meanwhile: frames that pass points, too
	uint64_t replies; // a sum of all that was answered so far
	bool names; // it brings or drops a descriptor, or stops a ring: it is committed, whatever else it changes
	char *state; // that the daemon tells of; NULL: not asked
};

struct session_conf {
	unsigned pairs;
	bool log, packed;
	bool acks; // each message that can asks for an acknowledgement; else as QEMU does
};

struct points;
// Called by the session: before a step what shall befall it is arranged, and when it is done looked whether it did.
typedef void step_fn(struct points *p, struct step *s);

struct way { // what is heard on a pair, one direction
	uint64_t sent, next, repeated;
};

struct points {
	struct session_conf conf;
	const char *bin;
	struct bed bed; // bed.d and bed.failed alone
	struct lan lan; // guest 0 is the one whose session it is
	struct crash_page *page; // NULL: the build has none
	char page_path[96];
	struct flog *log;
	struct step step[POINTS_STEPS]; // of the dry run
	unsigned n_steps;
	struct step cur; // of this run
	unsigned at; // its number
	bool dry, inside;
	step_fn *begin, *end;
	bool dry_too; // they are called in the dry run
	bool (*started)(struct points *p); // the daemon was; before anybody connects
	void *arg;
	bool live; // all rings run, and will after the next message
	bool silent; // frames are under way that nobody was kicked for
	unsigned deaths; // of this step, as begin arranged them
	uint64_t sum;
	char fds[700]; // what the daemon has open at the end of the dry run
	struct way way[2][POINTS_PAIRS];
	uint64_t frames, repeated;
	char *dump[8]; // of the store, at each phase's end
	unsigned phase;
};

// Run the session once, with a daemon of its own. dry: this is the one that is the measure of all others. False: bed.failed says why.
bool points_run(struct points *p, bool dry);
void points_free(struct points *p);
bool points_fail(struct points *p, const char *fmt, ...) __attribute__((format(printf, 2, 3))); // false

// -- for the session's files ------------------------------------------------------------------------------------------------
bool points_open(struct points *p); // daemon and neighbour
void points_close(struct points *p);
void points_step(struct points *p, enum step_kind kind, const char *name); // the last one is over, this one begins
void points_steps_end(struct points *p);
bool points_session(struct points *p);
bool points_handshake(struct points *p); // its parts
bool points_log_on(struct points *p);
bool points_well(struct points *p, enum fe_res res);
// Compare what the daemon says of itself, and what is in its store, with the dry run (which notes it).
char *points_state(struct points *p);
bool points_phase(struct points *p, const char *name);

// -- frames; lost, damaged or too often repeated ones are failures ---------------------------------------------------------
bool frames_singly(struct points *p); // one each way on each pair, one after the other
bool frames_burst(struct points *p, unsigned n); // n at once
void frames_silent(struct points *p); // one each way, and no kick
bool frames_arrive(struct points *p); // all that are under way

#endif
