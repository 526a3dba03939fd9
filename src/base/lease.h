// Who may touch rings. A page in a memfd that outlives a worker, with a mutex for each data thread and one for the control
// thread: process-shared and robust. A thread holds its own for as long as it may touch a ring; the kernel gives it back
// when the thread dies, whatever it died of, and not while it is merely stopped. So a successor, which takes them all one
// after the other, knows that nobody else writes guest memory any more.
//
// The page is taken once at a thread's start and given back at its end: no cost per frame or turn. It holds nothing that a
// peer or guest could write.
#ifndef BASE_LEASE_H
#define BASE_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LEASE_THREADS 16u // slots 0 to 15: data threads by their number
#define LEASE_CONTROL LEASE_THREADS // the control thread's slot
#define LEASE_SLOTS (LEASE_THREADS + 1u)

struct lease_page;

struct lease { // this process' view
	struct lease_page *page;
	_Atomic bool mine[LEASE_SLOTS]; // a thread of this process holds it
};

// Make a page nobody holds: a sealed memfd, whose descriptor is the caller's (the keeper makes it once, before its first
// worker, and hands it to each of them). OURS: no memory or descriptor.
enum err lease_make(int *fd, struct why *why);
// Map the page of fd (borrowed). REFUSED: it is none. Unmapped only by lease_close, or at the process' end.
enum err lease_open(struct lease **out, int fd, struct why *why);
// No thread holds a slot any more but the calling one, which may hold the control thread's: it is given back. NULL is fine.
void lease_close(struct lease *l);

// Take a slot for the calling thread; it must not touch a ring before. Waits for a holder that lives, stopped or not,
// until it gives the slot back or dies; looks at *stop every 5 ms (may be NULL: never). False: *stop was set, or the page
// is broken.
bool lease_take(struct lease *l, unsigned slot, const _Atomic bool *stop);
// Give it back: the thread that took it touches no ring any more.
void lease_give(struct lease *l, unsigned slot);

// For the control thread of a successor, before it touches or publishes its first ring: wait until no slot is held by
// another process, also those for which this process has no thread. Then it has the control thread's slot itself. May be
// called again. OURS: deadline_ms are over (or the page is broken); the reason names the slot and the pid of each that is
// still held, and nothing may be touched.
// (A data thread that is stopped before it has taken its slot can't be seen here; its control thread's slot is: so the
// control thread takes its own before it publishes anything.)
enum err lease_await_all(struct lease *l, unsigned deadline_ms, struct why *why);

#endif
