// Two guests over several lives of the datapath: the guests' drivers are this process, each life is a child that serves
// their rings until it is told to end, or dies. What lies between two lives is here, in files that each child maps anew.
#ifndef TESTS_LIFEBED_H
#define TESTS_LIFEBED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guestbed.h"

struct lifebed {
	struct guestbed g[2];
	uint8_t mac[2][6];
	unsigned threads; // of the next life
	bool lease, await; // the next life takes the lease; its control thread waits for all slots first
	const char *plan; // crash points of the next life (as worker 0), NULL: none
	unsigned lives; // begun so far
	bool no_ledger; // packed rings have none that survives
	bool no_counters; // each life counts for itself
	bool no_held; // so do held frames
	bool stopped; // the second guest's rings are stopped in the next life
	int lease_fd, ledger_fd, counters_fd, held_fd;
};

struct life {
	pid_t pid;
	int end; // closed: it shall end in order
};

void lb_open(struct lifebed *l, uint64_t features, uint16_t base); // receive buffers are posted
void lb_close(struct lifebed *l);
// Begin a life. All its rings are published when this returns; its data threads may still wait for the lease.
struct life lb_life(struct lifebed *l);
void lb_end(struct life *f); // in order; asserts that it did not die
void lb_reap(struct life *f, int sig); // it has died by sig, or will now
bool lb_died(struct life *f); // by itself, by SIGKILL: it is reaped then
// Frame `seq` of guest i to the other one is sent.
bool lb_send(struct lifebed *l, unsigned i, uint64_t seq);
// Both guests talk: n frames each way, numbered from `from`.
void lb_exchange(struct lifebed *l, uint64_t from, unsigned n);

#endif
