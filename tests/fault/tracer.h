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
	_Atomic uint32_t first, second; // see tracer_arm
	_Atomic uint32_t fired; // deaths that came true since then
	_Atomic uint32_t stops; // of the worker since tracer_arm: two for each system call of each of its threads
	_Atomic uint32_t life; // of the present worker since it was forked
	_Atomic uint32_t workers; // that were seen
	_Atomic uint32_t call; // number of the system call at the last death
	_Atomic uint32_t entered; // it had not been made
	pid_t pid;
};

// Watch that keeper from now on: its present worker not, all that come after it. False with errno: it may not (EPERM), or can't.
bool tracer_start(struct tracer **out, pid_t keeper);
// At its first-th stop from now the worker dies, and the one after it at the second-th of its life; 0: not at all.
void tracer_arm(struct tracer *t, uint32_t first, uint32_t second);
void tracer_end(struct tracer *t); // after all that it watched is dead. NULL is fine

#endif
