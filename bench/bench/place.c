#include "bench/place.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "bench/stat.h"

#define ROUNDS 9
#define TURNS 2000 // hand-overs there and back a round
#define CORE_BELOW 15.0 // ns: two threads of a core share the first-level cache
#define FAR_ABOVE 90.0

struct line {
	_Alignas(128) _Atomic uint32_t word;
	_Alignas(128) atomic_bool there; // the other thread is pinned and running
	atomic_bool failed;
	int cpu;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

// Wait for an odd or even value; false: the other side does not come (its CPU was taken away).
static bool await(struct line *l, uint32_t value)
{
	for (unsigned i = 0; i < 50000000; i++)
		if (atomic_load_explicit(&l->word, memory_order_acquire) == value)
			return true;
	atomic_store(&l->failed, true);
	return false;
}

static void *echo(void *arg)
{
	struct line *l = arg;
	if (!pin(l->cpu))
		atomic_store(&l->failed, true);
	atomic_store(&l->there, true);
	for (uint32_t i = 0; i < ROUNDS * TURNS && !atomic_load_explicit(&l->failed, memory_order_relaxed); i++) {
		if (!await(l, 2 * i + 1))
			break;
		atomic_store_explicit(&l->word, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

double place_line_ns(int cpu_a, int cpu_b)
{
	struct line l;
	memset(&l, 0, sizeof(l));
	l.cpu = cpu_b;
	cpu_set_t old;
	pthread_getaffinity_np(pthread_self(), sizeof(old), &old);
	pthread_t t;
	if (cpu_a == cpu_b || !pin(cpu_a) || pthread_create(&t, NULL, echo, &l) != 0) {
		pthread_setaffinity_np(pthread_self(), sizeof(old), &old);
		return 0;
	}
	while (!atomic_load(&l.there))
		sched_yield();
	double ns[ROUNDS];
	uint32_t i = 0;
	bool ok = true;
	for (unsigned r = 0; r < ROUNDS && ok; r++) {
		uint64_t from = now_ns();
		for (unsigned k = 0; k < TURNS && ok; k++, i++) {
			atomic_store_explicit(&l.word, 2 * i + 1, memory_order_release);
			ok = await(&l, 2 * i + 2);
		}
		ns[r] = (double)(now_ns() - from) / (2.0 * TURNS);
	}
	pthread_join(t, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(old), &old);
	return ok && !atomic_load(&l.failed) ? stat_quantile(ns, ROUNDS, 0.5) : 0;
}

enum place place_of(double line_ns)
{
	return line_ns <= 0           ? PLACE_UNKNOWN
	       : line_ns < CORE_BELOW ? PLACE_CORE
	       : line_ns <= FAR_ABOVE ? PLACE_NEAR
				      : PLACE_FAR;
}

enum place place_around(double line_before, double line_after, double trip_before, double trip_after)
{
	enum place a = place_of(line_before), b = place_of(line_after);
	if (a != b)
		return PLACE_MIXED;
	if (trip_before > 0 && trip_after > 0 && (trip_before > 1.5 * trip_after || trip_after > 1.5 * trip_before))
		return PLACE_MIXED;
	return a;
}

static const char *const names[PLACES] = { "unknown", "core", "near", "far", "mixed" };

const char *place_name(enum place p)
{
	return (unsigned)p < PLACES ? names[p] : "?";
}

enum place place_parse(const char *name)
{
	for (unsigned i = 0; name && i < PLACES; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum place)i;
	return PLACE_UNKNOWN;
}
