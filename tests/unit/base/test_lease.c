// The lease: one writer at a time over stops and deaths of processes. A writer owns a shared word; whoever finds another
// pid in it while it writes was not alone.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/kill.h"
#include "base/lease.h"

struct ring { // what two writers must not touch at a time
	_Atomic int writer, entered, two;
	_Atomic uint64_t turns;
	_Atomic int end; // of an orderly end
};

struct scene {
	int fd;
	struct ring *ring;
};

static void scene_open(struct scene *s)
{
	struct why why;
	assert_int_equal(lease_make(&s->fd, &why), OK);
	s->ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s->ring != MAP_FAILED);
}

static void scene_close(struct scene *s)
{
	close(s->fd);
	munmap(s->ring, 4096);
}

static struct lease *open_lease(const struct scene *s)
{
	struct lease *l = NULL;
	struct why why;
	assert_int_equal(lease_open(&l, s->fd, &why), OK);
	return l;
}

// A process that writes as data thread `slot`; leased: as it should be.
static pid_t writer(const struct scene *s, unsigned slot, bool leased)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	struct lease *l = NULL;
	struct ring *r = s->ring;
	int me = getpid();
	alarm(60);
	if (leased && (lease_open(&l, s->fd, NULL) != OK || !lease_take(l, slot, NULL)))
		_exit(1);
	atomic_store(&r->writer, me);
	atomic_fetch_add(&r->entered, 1);
	while (!atomic_load(&r->end)) {
		if (atomic_load(&r->writer) != me)
			atomic_store(&r->two, 1);
		atomic_fetch_add(&r->turns, 1);
	}
	if (leased)
		lease_give(l, slot);
	_exit(0);
}

// False: not within ms.
static bool becomes(_Atomic int *v, int value, unsigned ms)
{
	uint64_t end = clock_boot_us() + ms * 1000u;
	while (atomic_load(v) != value && clock_boot_us() < end)
		usleep(500);
	return atomic_load(v) == value;
}

static void turns(const struct scene *s) // a few of whoever writes now
{
	uint64_t from = atomic_load(&s->ring->turns), end = clock_boot_us() + 10000000;
	while (atomic_load(&s->ring->turns) < from + 100 && clock_boot_us() < end)
		usleep(500);
	assert_true(atomic_load(&s->ring->turns) >= from + 100);
}

static void reap(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void signal_to(pid_t pid, int sig)
{
	int status;
	assert_int_equal(kill_one(pid, sig), 0);
	if (sig == SIGSTOP)
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
}

// A is stopped in the middle of its writes, B is its successor, A goes on, and dies. True: there were two at a time.
static bool stop_and_kill(bool leased)
{
	struct scene s;
	scene_open(&s);
	struct ring *r = s.ring;
	pid_t a = writer(&s, 3, leased);
	assert_true(becomes(&r->entered, 1, 10000));
	turns(&s);
	signal_to(a, SIGSTOP);
	pid_t b = writer(&s, 3, leased);
	bool early = becomes(&r->entered, 2, leased ? 300 : 10000); // a stopped holder keeps it
	assert_int_equal(early, !leased);
	signal_to(a, SIGCONT);
	turns(&s);
	if (!leased)
		becomes(&r->two, 1, 10000);
	signal_to(a, SIGKILL);
	reap(a);
	assert_true(becomes(&r->entered, 2, 10000));
	turns(&s);
	bool two = atomic_load(&r->two);
	atomic_store(&r->end, 1);
	reap(b);
	scene_close(&s);
	return two;
}

static void test_one_writer(void **state)
{
	(void)state;
	assert_false(stop_and_kill(true));
}

// The control: without the lease this very scene has two writers, and is found out.
static void test_lease_missing(void **state)
{
	(void)state;
	assert_true(stop_and_kill(false));
}

static void test_killed_while_stopped(void **state)
{
	(void)state;
	struct scene s;
	scene_open(&s);
	pid_t a = writer(&s, 0, true), b;
	assert_true(becomes(&s.ring->entered, 1, 10000));
	signal_to(a, SIGSTOP);
	signal_to(a, SIGKILL); // not reaped: dead is enough
	b = writer(&s, 0, true);
	assert_true(becomes(&s.ring->entered, 2, 10000));
	assert_true(becomes(&s.ring->writer, b, 10000));
	atomic_store(&s.ring->end, 1);
	reap(a);
	reap(b);
	scene_close(&s);
}

// All slots of the predecessor, also those for which this process has no thread, and who has them.
static void test_await_all(void **state)
{
	(void)state;
	struct scene s;
	struct why why;
	char want[60];
	scene_open(&s);
	struct lease *l = open_lease(&s);
	pid_t a = writer(&s, 9, true), b = writer(&s, 15, true);
	assert_true(becomes(&s.ring->entered, 2, 10000));
	signal_to(a, SIGSTOP);
	assert_int_equal(lease_await_all(l, 50, &why), OURS);
	snprintf(want, sizeof(want), "held by data thread 9 of pid %d, data thread 15 of pid %d", a, b);
	if (!strstr(why.text, want))
		fail_msg("\"%s\", not \"%s\"", why.text, want);
	signal_to(b, SIGKILL);
	reap(b);
	assert_int_equal(lease_await_all(l, 50, &why), OURS); // the stopped one is there
	assert_null(strstr(why.text, "thread 15"));
	signal_to(a, SIGKILL);
	assert_int_equal(lease_await_all(l, 10000, &why), OK);
	reap(a);
	// what this process holds itself is no obstacle, and the control thread's slot is held from now on
	assert_true(lease_take(l, 9, NULL));
	assert_int_equal(lease_await_all(l, 0, &why), OK);
	pid_t c = fork();
	if (c == 0) {
		struct lease *other = NULL;
		bool right = lease_open(&other, s.fd, NULL) == OK && lease_await_all(other, 20, &why) == OURS &&
			     strstr(why.text, "data thread 9 of") && strstr(why.text, "the control thread of");
		_exit(right ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(c, &status, 0), c);
	assert_int_equal(status, 0);
	lease_give(l, 9);
	lease_close(l);
	l = open_lease(&s); // given back in order: no death in between
	assert_int_equal(lease_await_all(l, 0, &why), OK);
	lease_close(l);
	scene_close(&s);
}

static void test_stop_while_waiting(void **state)
{
	(void)state;
	struct scene s;
	scene_open(&s);
	struct lease *l = open_lease(&s);
	pid_t a = writer(&s, 0, true);
	assert_true(becomes(&s.ring->entered, 1, 10000));
	_Atomic bool stop = true;
	assert_false(lease_take(l, 0, &stop));
	atomic_store(&s.ring->end, 1);
	reap(a);
	atomic_store(&stop, false);
	assert_true(lease_take(l, 0, &stop));
	lease_give(l, 0);
	lease_close(l);
	scene_close(&s);
}

static void test_no_page(void **state)
{
	(void)state;
	struct lease *l;
	struct why why;
	int fd = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(lease_open(&l, -1, &why), REFUSED);
	assert_int_equal(lease_open(&l, fd, &why), REFUSED);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(lease_open(&l, fd, &why), REFUSED); // it could shrink
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_writer), cmocka_unit_test(test_lease_missing),      cmocka_unit_test(test_killed_while_stopped),
		cmocka_unit_test(test_await_all),  cmocka_unit_test(test_stop_while_waiting), cmocka_unit_test(test_no_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
