// Waiting until the data threads have passed a quiescent point (dp_int.h).
//
// A data thread that has a CPU of its own passes within microseconds: the control thread looks on for so long. If both share a
// CPU it must sleep, until the other tells it, and the other then makes way. It must not yield: the scheduler then leaves the
// CPU to the data thread until the next tick, 4 ms later at worst, for a turn that takes microseconds. Nor would waking it be
// enough: who has just used the CPU does not get it from another that has used it less, until the same tick.
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cycles.h"
#include "switch/dp_int.h"

#define LOOK_US 100u // longer than a turn; who takes longer has lost its CPU
#define LOOKS_PER_CLOCK 16

static bool passes_soon(struct worker *w, uint64_t seen)
{
	uint64_t until = clock_boot_us() + LOOK_US;
	while (atomic_load_explicit(&w->cpu, memory_order_relaxed) != sched_getcpu() && clock_boot_us() < until) {
		for (unsigned i = 0; i < LOOKS_PER_CLOCK; i++) {
			if (atomic_load(&w->qs) != seen)
				return true;
			cpu_relax();
		}
	}
	return false;
}

static void sleep_until_passed(struct worker *w, uint64_t seen)
{
	for (;;) {
		atomic_store(&w->awaited, 1); // before qs is read again: passed (worker.c) reads them the other way round
		if (atomic_load(&w->qs) != seen)
			break;
		syscall(SYS_futex, &w->awaited, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	}
	atomic_store(&w->awaited, 0);
}

void worker_tell_passed(struct worker *w)
{
	if (!atomic_exchange(&w->awaited, 0))
		return;
	syscall(SYS_futex, &w->awaited, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	sched_yield();
}

void dp_sync(struct dp *dp)
{
	for (unsigned i = 0; i < dp->n_workers; i++) {
		struct worker *w = dp->worker[i];
		uint64_t seen = atomic_load(&w->qs);
		if (seen % 2 == 0)
			continue; // offline: it loads everything afresh when it comes back
		if (!passes_soon(w, seen))
			sleep_until_passed(w, seen);
	}
}
