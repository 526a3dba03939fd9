// A process that watches the workers of a keeper by ptrace, and kills one before or after any of its system calls. It is a process of
// its own: the test waits for its children without seeing their stops.
#ifndef FAULT_TRACER_H
#define FAULT_TRACER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tracer {
	_Atomic int ready; // 1: it watches; below 0: -errno
	_Atomic uint32_t first, second, alone; // see tracer_arm
	_Atomic uint32_t fired; // deaths that came true since then
	_Atomic uint32_t stops; // of the worker since tracer_arm: two for each system call of each of its threads
	_Atomic uint32_t life; // of the present worker since the one before it was dead, or since it was forked
	_Atomic int present; // the present worker; 0: none that is watched
	_Atomic uint32_t call; // number of the system call at the last death
	_Atomic uint32_t entered; // it had not been made
	pid_t pid;
};

// Watch that keeper from now on: processes that it has by now not, all that come after them. The oldest of them is the worker,
// another one stands by.
// False with errno: it may not (EPERM), or can't.
bool tracer_start(struct tracer **out, pid_t keeper);
// At its first-th stop from now the worker dies, and the one after it at the second-th of its life; 0: not at all. alone: who stands by
// dies with the first, so that the second begins at its beginning.
void tracer_arm(struct tracer *t, uint32_t first, uint32_t second, bool alone);
void tracer_end(struct tracer *t); // after all that it watched is dead. NULL is fine

#endif
