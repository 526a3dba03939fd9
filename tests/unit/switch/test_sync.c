// dp_sync with data threads that never sleep: it returns, whether they are on the caller's CPU or on another, and a turn has
// ended then. A thread that forgot to tell would leave it asleep: the test's time limit sees that.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/guard.h"
#include "base/slice.h"
#include "guestbed.h"

#define SYNCS 300

static cpu_set_t may; // CPUs that we may use

static int last_cpu(void)
{
	int last = -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &may))
			last = cpu;
	return last;
}

static int first_cpu(void)
{
	int cpu = 0;
	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET((size_t)cpu, &may))
		cpu++;
	return cpu;
}

static void stay_on(int cpu)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
}

static uint64_t turns(const struct dp *dp, unsigned thread)
{
	struct dp_thread_stats t[2];
	assert_true(dp_thread_stats(dp, t, 2) > thread);
	return t[thread].turns;
}

// A turn is counted after it was told, so the second call has seen the end of one more than was counted before the first.
static void sync_often(struct dp *dp, unsigned threads)
{
	for (unsigned i = 0; i < SYNCS; i++) {
		uint64_t before[2] = { turns(dp, 0), threads > 1 ? turns(dp, 1) : 0 };
		dp_sync(dp);
		dp_sync(dp);
		for (unsigned t = 0; t < threads; t++)
			assert_true(turns(dp, t) > before[t]);
	}
}

static void with_threads(unsigned threads, int here, int there)
{
	struct dp_conf conf = { .threads = threads, .cpus = { here, there }, .poll_us = DP_POLL_ALWAYS, .hold_total = 1 << 20 };
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b"); // neighbours: one for each of two threads
	struct why why = { "" };
	struct guestbed a, b;
	struct dp *dp = dp_new(&conf, &why);
	assert_non_null(dp);
	gb_open(&a, dp, &ca, UINT64_C(1) << 32, 0, true);
	gb_open(&b, dp, &cb, UINT64_C(1) << 32, 0, true);
	while (turns(dp, 0) < 2 || (threads > 1 && turns(dp, 1) < 2))
		sched_yield(); // until they look at their rings
	sync_often(dp, threads);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_same_cpu(void **state)
{
	(void)state;
	stay_on(first_cpu());
	with_threads(1, first_cpu(), -1);
	pthread_setaffinity_np(pthread_self(), sizeof(may), &may);
}

static void test_other_cpu(void **state)
{
	(void)state;
	stay_on(first_cpu());
	with_threads(1, last_cpu(), -1);
	with_threads(2, first_cpu(), last_cpu());
	pthread_setaffinity_np(pthread_self(), sizeof(may), &may);
}

static void *shorten(void *arg)
{
	uint32_t before = slice_now_us();
	bool done = slice_short();
	*(bool *)arg = done ? slice_now_us() == SLICE_SHORT_US : slice_now_us() == before;
	return NULL;
}

// Of the calling thread alone; where the kernel knows no slices nothing changes.
static void test_slice(void **state)
{
	(void)state;
	uint32_t before = slice_now_us();
	bool as_told = false;
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, shorten, &as_told), 0);
	pthread_join(t, NULL);
	assert_true(as_told);
	assert_int_equal(slice_now_us(), before);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

static int setup(void **state)
{
	(void)state;
	return sched_getaffinity(0, sizeof(may), &may) == 0 ? guard_install() : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_cpu),
		cmocka_unit_test(test_other_cpu),
		cmocka_unit_test(test_slice),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
