// What the kernel knows about a process: run time, switches, memory.
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
	uint64_t cpu_ns; // of all threads, in user space and for it in the kernel
	uint64_t wait_ns; // all threads were ready to run and another had their CPU
	uint64_t switches; // context switches of all threads, voluntary and not
	uint64_t anon_kb; // resident memory of its own, without shared memory (guests) and files
};

struct usage usage_own(void); // of the calling thread: cpu_ns and wait_ns only
// Nanoseconds that the host took from these CPUs since the machine's start.
uint64_t usage_stolen_ns(const int *cpu, unsigned n);
struct usage usage_of(pid_t pid); // and its children: a daemon may be several processes
bool usage_listening(const char *path); // somebody listens on that unix socket
// Process that listens on the unix socket path, 0: none found (or not ours to see).
pid_t usage_listener(const char *path);

#endif
