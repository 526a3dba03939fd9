// A child process on a pseudo-terminal of its own: what it prints is kept and can be waited for, what it is told goes to
// its stdin. A thread reads what it prints as it comes: a child whose terminal is full stands still in the middle of its
// work. It dies with this process.
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define CHILD_TEXT 65536

struct reader; // the thread
struct child {
	pid_t pid; // 0: none
	int tty; // our side; -1: none
	struct reader *reader;
	int status; // of waitpid, once it ended
	bool stopped; // by child_pause
	size_t n; // bytes of text, the oldest are dropped
	char text[CHILD_TEXT];
};

// Start argv[0] (looked up in PATH), pinned to the CPUs of the list (n_cpus 0: as we are). OURS: it can't be executed.
enum err child_start(struct child *c, char *const argv[], const int *cpus, unsigned n_cpus, struct why *why);
// Read what is there; false once the child has ended (it is reaped).
bool child_alive(struct child *c);
// Forget what was printed; send a line; wait until `sign` is printed. NULL: not within timeout_ms, or it ended.
// The pointer is to the sign's first byte; valid until the next call.
void child_forget(struct child *c);
bool child_tell(struct child *c, const char *line);
const char *child_wait(struct child *c, const char *sign, unsigned timeout_ms);
void child_pause(struct child *c, bool stop); // SIGSTOP, SIGCONT
// SIGTERM (after SIGCONT), up to grace_ms, then SIGKILL. Harmless if there is none.
void child_end(struct child *c, unsigned grace_ms);
void child_kill(struct child *c); // SIGKILL, reaped
const char *child_last_line(const struct child *c, char *buf, size_t size); // that is not empty

#endif
