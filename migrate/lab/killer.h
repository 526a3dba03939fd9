// Who kills the back end's worker: finds it, sends the signal, waits until another one serves in its place. Knows of vringd only that its keeper
// says when a worker serves; of any other back end, who runs.
#ifndef LAB_KILLER_H
#define LAB_KILLER_H

#include "lab/backend.h"
#include "lab/result.h"

struct killer {
	struct backend *backend;
	uint64_t random;
	unsigned total, done; // kills of this run
	int *signal; // of each
};

// total kills: a tenth of them, but at least one of three or more, by SIGSEGV, as many by SIGABRT, the rest by SIGKILL, in an order that the
// seed decides. OURS: no memory.
enum err killer_open(struct killer *k, struct backend *b, uint64_t seed, unsigned total, struct why *why);
void killer_close(struct killer *k);
uint64_t killer_random(struct killer *k, uint64_t below); // below > 0

// Who would be killed: the last one in the line of first children of the process that was started, which is vringd's worker, what a shell runs,
// or that process itself. 0: nobody is there.
pid_t killer_victim(pid_t started);
// Send the next signal and fill in number, signal, pid and at_us. OURS: nobody is there.
enum err killer_strike(struct killer *k, struct kill *d, struct why *why);
// Until somebody else runs and, if that is vringd, its keeper says that it serves. REFUSED: nobody does.
enum err killer_await(struct killer *k, struct kill *d, struct why *why);

// In text, what the keeper said of the worker `pid`: microseconds from the death before to its serving; 0: it has not said so.
uint64_t killer_serving_us(const char *text, pid_t pid);

#define SOCKETS_MAX 64
struct sockets { // that a process has
	uint64_t inode[SOCKETS_MAX];
	unsigned n;
};
void sockets_read(struct sockets *s, pid_t pid);
// Are all of `before` there still? A connection that was lost and made again is another socket.
bool sockets_kept(const struct sockets *before, const struct sockets *now);

#endif
