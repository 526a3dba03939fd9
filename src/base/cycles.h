// The CPU's constant-rate counter: a few nanoseconds to read, no system call. Differences on one machine only; it counts on
// while a thread does not have its CPU.
#ifndef BASE_CYCLES_H
#define BASE_CYCLES_H

#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#elif !defined(__aarch64__)
#include <time.h>
#endif

// x86-64: the time stamp counter; arm64: the virtual counter (its rate is far below the CPU's); elsewhere nanoseconds.
static inline uint64_t cycles_now(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#elif defined(__aarch64__)
	uint64_t t;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
#else
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

// For a loop that waits for another CPU.
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
