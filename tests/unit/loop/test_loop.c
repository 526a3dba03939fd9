// The event loop: readiness, one-shot timers, signals, deferred work, objects that free themselves, sleep at idle.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "loop/loop.h"

struct bed {
	struct loop *loop;
	int fd[2];
	struct watch *watch;
	struct timer *timer, *other;
	int open_before;
	unsigned calls, order[8], n_order;
	int ready;
};

static int bed_open(void **state)
{
	static struct bed bed;
	memset(&bed, 0, sizeof(bed));
	bed.open_before = fd_count_open();
	bed.loop = loop_new();
	assert_non_null(bed.loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, bed.fd), 0);
	*state = &bed;
	return 0;
}

static int bed_close(void **state)
{
	struct bed *b = *state;
	watch_free(b->watch);
	timer_free(b->timer);
	timer_free(b->other);
	loop_free(b->loop);
	fd_reset_all(b->fd, 2);
	assert_int_equal(fd_count_open(), b->open_before);
	return 0;
}

static void on_stop(void *arg)
{
	struct bed *b = arg;
	loop_stop(b->loop);
}

static void on_ready(void *arg, int fd, int ready)
{
	struct bed *b = arg;
	char c[16];
	b->calls++;
	b->ready = ready;
	if (ready & LOOP_READ)
		assert_true(read(fd, c, sizeof(c)) > 0);
	loop_stop(b->loop);
}

static void test_watch(void **state)
{
	struct bed *b = *state;
	b->watch = watch_new(b->loop, b->fd[0], 0, on_ready, b);
	b->timer = timer_new(b->loop, on_stop, b);
	assert_int_equal(write(b->fd[1], "x", 1), 1);
	timer_arm(b->timer, 20000);
	loop_run(b->loop); // nothing is asked for: the timer ends it
	assert_int_equal(b->calls, 0);
	watch_set(b->watch, LOOP_READ);
	loop_run(b->loop);
	assert_int_equal(b->calls, 1);
	assert_int_equal(b->ready, LOOP_READ);
	watch_set(b->watch, LOOP_WRITE);
	loop_run(b->loop);
	assert_int_equal(b->ready, LOOP_WRITE);
	watch_set(b->watch, LOOP_READ | LOOP_WRITE);
	assert_int_equal(write(b->fd[1], "x", 1), 1);
	loop_run(b->loop);
	assert_int_equal(b->ready, LOOP_READ | LOOP_WRITE);
	watch_set(b->watch, 0);
	assert_int_equal(write(b->fd[1], "x", 1), 1);
	timer_arm(b->timer, 20000);
	loop_run(b->loop);
	assert_int_equal(b->calls, 3);
}

static void on_ready_free(void *arg, int fd, int ready)
{
	struct bed *b = arg;
	(void)fd, (void)ready;
	b->calls++;
	watch_free(b->watch); // from its own callback
	b->watch = NULL;
}

static void on_timer_free(void *arg)
{
	struct bed *b = arg;
	b->calls++;
	timer_free(b->timer);
	b->timer = NULL;
	loop_stop(b->loop);
}

static void test_free_inside(void **state)
{
	struct bed *b = *state;
	assert_int_equal(write(b->fd[1], "x", 1), 1);
	b->watch = watch_new(b->loop, b->fd[0], LOOP_READ, on_ready_free, b);
	b->timer = timer_new(b->loop, on_timer_free, b);
	timer_arm(b->timer, 10000);
	loop_run(b->loop);
	assert_int_equal(b->calls, 2); // readable all the time, called once
	assert_null(b->watch);
	assert_null(b->timer);
	watch_free(NULL);
	timer_free(NULL);
}

static void on_kill_other(void *arg)
{
	struct bed *b = arg;
	b->calls++;
	// both timers are due in this batch: the one that runs first frees the other
	timer_free(b->other);
	b->other = NULL;
	watch_free(b->watch); // so is the watch
	b->watch = NULL;
}

static void on_never(void *arg)
{
	(void)arg;
	fail_msg("a freed timer was called");
}

static void on_never_ready(void *arg, int fd, int ready)
{
	(void)arg, (void)fd, (void)ready;
	fail_msg("a freed watch was called");
}

static void test_free_others(void **state)
{
	struct bed *b = *state;
	b->timer = timer_new(b->loop, on_kill_other, b);
	b->other = timer_new(b->loop, on_never, b);
	timer_arm(b->timer, 1000);
	timer_arm(b->other, 1001);
	usleep(3000);
	struct timer *end = timer_new(b->loop, on_stop, b);
	timer_arm(end, 20000);
	b->watch = watch_new(b->loop, b->fd[0], LOOP_READ, on_never_ready, b);
	loop_run(b->loop);
	assert_int_equal(b->calls, 1);
	timer_free(end);
}

static void test_timer(void **state)
{
	struct bed *b = *state;
	b->timer = timer_new(b->loop, on_stop, b);
	assert_false(timer_armed(b->timer));
	timer_arm(b->timer, 5000000);
	assert_true(timer_armed(b->timer));
	uint64_t from = clock_boot_us();
	timer_arm(b->timer, 30000); // moves it
	loop_run(b->loop);
	uint64_t took = clock_boot_us() - from;
	assert_in_range(took, 30000, 2000000);
	assert_false(timer_armed(b->timer)); // one shot
	timer_arm(b->timer, 1000);
	timer_cancel(b->timer);
	assert_false(timer_armed(b->timer));
	b->other = timer_new(b->loop, on_stop, b);
	timer_arm(b->other, 0); // 0 is "as soon as may be", not "never"
	loop_run(b->loop);
}

static void note(struct bed *b, unsigned what)
{
	if (b->n_order < 8)
		b->order[b->n_order++] = what;
}

static void on_deferred_again(void *arg)
{
	note(arg, 3);
	loop_stop(((struct bed *)arg)->loop);
}

static void on_deferred(void *arg)
{
	struct bed *b = arg;
	note(b, 2);
	loop_defer(b->loop, on_deferred_again, b); // runs in a later turn, but runs
}

static void on_ready_defer(void *arg, int fd, int ready)
{
	struct bed *b = arg;
	char c;
	(void)ready;
	assert_int_equal(read(fd, &c, 1), 1);
	loop_defer(b->loop, on_deferred, b);
	note(b, 1); // the deferred call is not made inside this one
}

static void test_defer(void **state)
{
	struct bed *b = *state;
	assert_int_equal(write(b->fd[1], "x", 1), 1);
	b->watch = watch_new(b->loop, b->fd[0], LOOP_READ, on_ready_defer, b);
	loop_run(b->loop);
	assert_int_equal(b->n_order, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(b->order[i], i + 1);
	loop_defer(b->loop, on_never, b); // never run: freed with the loop
}

static void on_signal(void *arg, int fd, int ready)
{
	struct bed *b = arg;
	(void)fd;
	b->ready = ready;
	b->calls++;
	loop_stop(b->loop);
}

static void test_signal(void **state)
{
	struct bed *b = *state;
	b->watch = loop_signal(b->loop, SIGUSR1, on_signal, b);
	assert_non_null(b->watch);
	raise(SIGUSR1);
	loop_run(b->loop);
	assert_int_equal(b->ready, SIGUSR1);
	raise(SIGUSR1);
	loop_run(b->loop);
	assert_int_equal(b->calls, 2);
}

static uint64_t cpu_us(const struct rusage *r)
{
	return (uint64_t)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1000000 + (uint64_t)(r->ru_utime.tv_usec + r->ru_stime.tv_usec);
}

// A loop with nothing to do sleeps: no tick, no spin.
static void test_idle(void **state)
{
	struct bed *b = *state;
	struct rusage before, after;
	b->watch = watch_new(b->loop, b->fd[0], LOOP_READ, on_ready, b);
	b->timer = timer_new(b->loop, on_stop, b);
	timer_arm(b->timer, 200000);
	getrusage(RUSAGE_THREAD, &before);
	loop_run(b->loop);
	getrusage(RUSAGE_THREAD, &after);
	assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 0, 3);
	assert_in_range(cpu_us(&after) - cpu_us(&before), 0, 50000); // of 200 ms
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_watch, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_free_inside, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_free_others, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_timer, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_defer, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_signal, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_idle, bed_open, bed_close),
	};
	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
