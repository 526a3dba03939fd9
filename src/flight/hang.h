// Which thread of the worker stands still. The keeper asks five times a second, while a message is out or a data thread is awake;
// at idle nobody asks (flight_page.watched).
//
// What is not a hang: a worker that dies of a signal and writes its core. And a thread that waits for a CPU: its beat stands still as
// well, and for seconds where a machine is loaded. So a thread that can
// run is hung only once it has used HANG_RAN_MS of CPU time, too, without getting anywhere (a batch takes microseconds); one
// that sleeps in a system call (it said that it is awake: nothing of ours may sleep there) after HANG_LOOKS looks, if no other thread of
// the worker waits for a CPU, for that one may have what it waits for; one in the midst of a system call that can't be
// interrupted (disk, page fault) after five times as many: killing it would have to wait for the same. Looks are counted, and not
// time: a machine that was suspended, or a keeper that had no CPU itself, makes no one hung.
#ifndef FLIGHT_HANG_H
#define FLIGHT_HANG_H

#include <sys/types.h>

#include "flight/flight.h"

#define HANG_LOOK_US UINT64_C(200000)
#define HANG_LOOKS 9u // with the one that found it so: 2 s
#define HANG_RAN_MS 200u
#define HANG_HURRY_LOOKS 2u // in place of HANG_LOOKS, while a guest's memory waits to be let go: 0.6 s
#define HANG_HURRY_FOR 10u // looks
#define HANG_DYING_LOOKS 50u // 10 s, and a core that is not written by then is not waited for

struct hang {
	bool watching; // a data thread is awake, or was within the last second
	unsigned quiet; // looks at which none was
	uint64_t looked_us;
	int slot; // the one that stands still; -1: none
	unsigned dying; // looks that found it dying
	unsigned hurry; // looks to come for which fewer are enough
	struct {
		uint64_t key; // what changes as it gets on
		uint64_t ran_ns; // at the first look that found it so
		unsigned looks;
	} thread[FLIGHT_SLOTS];
};

void hang_reset(struct hang *h); // another worker
void hang_wake(struct hang *h, uint64_t now_us); // a data thread woke, and nobody watched
// A front end has gone: the worker holds its guest's memory, and one that stands still holds it on.
void hang_hurry(struct hang *h);
// When to look next; 0: nothing is under way. since_us: when the oldest message that is out was given to the worker, 0: none.
uint64_t hang_due(const struct hang *h, uint64_t since_us);
// A look. True: h->slot stands still; -1: all of it dies of a fatal signal, and does not come to an end. The control thread is judged while
// a message is out, or it takes a connection over.
bool hang_look(struct hang *h, struct flight_page *flight, pid_t pid, uint64_t since_us, uint64_t now_us);

#endif
