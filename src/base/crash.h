// Named places where a test lets a process die. A build with VRINGD_CRASH_POINTS looks at VRINGD_CRASH in the environment:
//   VRINGD_CRASH=LIFE:POINT:NTH[,LIFE:POINT:NTH]...
// Worker number LIFE (0 is the first) dies by SIGKILL at its NTH pass of POINT (1 is the first). In any other build the
// calls are nothing, and nothing of crash.c is linked.
//
// VRINGD_CRASH_PAGE=FILE: the plan is in that file, which is mapped by keeper and workers, and by a test that says from one moment to
// the next where the next death shall be, and sees what was passed (struct crash_page).
//
// A point that is passed in the course of a frame says what is done by then, in both forms of the datapath and with both
// kinds of ring. What a source's ring is given is passed by the same code and does not count, but for frame_returned.
#ifndef BASE_CRASH_H
#define BASE_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define VRINGD_CRASH_POINTS_LIST(X)                                                                   \
	/* the worker, a message */                                                                   \
	X(msg_taken, "a message was taken up, nothing was looked at")                                 \
	X(msg_planned, "all is checked and built aside, nothing is committed")                        \
	X(msg_committed, "the transition is in the store, nothing of it is true yet")                 \
	X(msg_applied, "it is true, and not told")                                                    \
	X(msg_done, "it is told to the keeper")                                                       \
	/* the worker, taking over */                                                                 \
	X(adopt_told, "all was received from the keeper")                                             \
	X(adopt_leased, "nobody else touches a ring any more")                                        \
	X(adopt_opened, "the rows were read")                                                         \
	X(adopt_built, "memory, log and rings are built aside")                                       \
	X(adopt_logged, "what the predecessor may have written is in the log")                        \
	X(adopt_run, "the rings are published")                                                       \
	/* an upgrade: the worker, */                                                                  \
	X(leave_asked, "the keeper was asked for a candidate")                                        \
	X(leave_sent, "the candidate has its rows")                                                   \
	X(leave_told, "it is fit, nothing was done for it")                                           \
	X(leave_quiet, "no ring is touched any more")                                                 \
	X(leave_closed, "the store is closed")                                                        \
	/* and the candidate, which passes adopt_told to adopt_run, too */                            \
	X(cand_told, "it has the rows")                                                               \
	X(cand_judged, "it has found itself fit")                                                     \
	X(cand_fit, "and has said so")                                                                \
	/* the worker, giving up */                                                                   \
	X(log_filled, "the log is all ones, the socket is not closed")                                \
	/* the worker, a frame */                                                                     \
	X(frame_copied, "the payload is in the destination, nothing is logged")                       \
	X(frame_filled, "its used elements are written (packed: but for the first), nothing is logged") \
	X(frame_logged, "both are in the log, nothing is shown")                                      \
	X(frame_shown, "the destination's index is published, its page is not logged")                \
	X(frame_settled, "that page is logged")                                                       \
	X(frame_returned, "the source is published")                                                  \
	/* the worker, a packed ring's ledger: any ring */                                          \
	X(ledger_saved, "a descriptor is saved, and as the driver wrote it")                          \
	X(ledger_written, "it is overwritten, others of the batch may be")                            \
	X(ledger_filled, "all are but the first, and the ledger says where the batch ends")           \
	X(ledger_shown, "the first is, too: the driver sees them, the ledger does not say so")          \
	X(ledger_undone, "taking over: what was saved is back, the ledger does not say so")           \
	/* the worker, a frame that is held */                                                        \
	X(hold_written, "its bytes are there, and nothing says so")                                   \
	X(hold_kept, "it is held, and its source does not know")                                      \
	X(hold_moving, "some of what is held has another owner already")                              \
	X(hold_given, "what was held is delivered, and still held")                                   \
	/* the keeper; the worker is killed there */                                                  \
	X(keep_stored, "a message is kept, and not forwarded")                                        \
	X(keep_sent, "it is forwarded")                                                               \
	X(keep_got_done, "the worker is done with it, nothing is replied")                            \
	X(keep_replied, "the reply is written")

#define CRASH_ENUM(name, text) CRASH_##name,
enum crash_point { VRINGD_CRASH_POINTS_LIST(CRASH_ENUM) CRASH_N };
#undef CRASH_ENUM

const char *crash_name(enum crash_point p); // "msg_taken"

#define CRASH_PAGE_STEPS 16u
struct crash_page { // all zeroes: nothing is planned
	_Atomic uint32_t armed; // steps that are planned: written last, after `fired` was made 0
	_Atomic uint32_t fired; // steps that came true, in their order
	_Atomic uint32_t left; // passes of the next step's point up to its death
	struct {
		uint32_t point, nth;
	} step[CRASH_PAGE_STEPS];
	_Atomic uint32_t passes[CRASH_N]; // of all processes
};
void crash_arm(struct crash_page *g, const enum crash_point *point, const unsigned *nth, unsigned n); // n deaths, one after the other

// What the build with crash points calls; anything may pass from any thread.
void crash_pass(enum crash_point p);
bool crash_pass_due(enum crash_point p);
void crash_set_life(unsigned n);
// In the place of the environment: NULL or "" for none. REFUSED: it is not written as above.
enum err crash_plan(const char *plan, struct why *why);

// And what really goes wrong, each time: VRINGD_POISON in the environment names a file, looked at anew each time, of lines
//   WHERE PORT NUMBER HOW
// WHERE: message (NUMBER is the request), attached and detached (the same, only while its rings are in the datapath or are not), adopt (a connection is built from its rows), region (one of its descriptors is mapped),
// run (its rings are looked at), tx and rx (a ring has something, or is given something), rpc
// (PORT is the method). HOW: segv, abort, ill, exit, loop, sleep
// (for ever), stop (SIGSTOP), kill (SIGKILL).
void crash_poisoned(const char *where, const char *port, unsigned number);

#ifdef VRINGD_CRASH_POINTS
static inline void crash_poison(const char *where, const char *port, unsigned number)
{
	crash_poisoned(where, port, number);
}
// Here this process dies, if it shall.
static inline void crash_here(enum crash_point p)
{
	crash_pass(p);
}
// Counts the pass, too, but says whether the worker shall die here: for the keeper, which then kills it.
static inline bool crash_due(enum crash_point p)
{
	return crash_pass_due(p);
}
// This process is worker number n from now on (0 until then); the keeper: n is the one that it starts now. Passes are
// counted from 0. A plan in the environment that can't be read ends the process with 2: no test may pass for want of a
// crash.
static inline void crash_life(unsigned n)
{
	crash_set_life(n);
}
#else
static inline void crash_poison(const char *where, const char *port, unsigned number)
{
	(void)where;
	(void)port;
	(void)number;
}
static inline void crash_here(enum crash_point p)
{
	(void)p;
}
static inline bool crash_due(enum crash_point p)
{
	(void)p;
	return false;
}
static inline void crash_life(unsigned n)
{
	(void)n;
}
#endif

#endif
