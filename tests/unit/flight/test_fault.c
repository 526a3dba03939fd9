// The handler of fatal signals: what it notes, what it leaves alone, and that the process dies of the signal.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/guard.h"
#include "base/kill.h"
#include "flight/flight.h"

static struct flight_page *page;
static int page_fd;

static void crash_segv(void)
{
	static volatile uintptr_t nowhere = 64;
	*(volatile int *)nowhere = 1;
}

static void crash_abort(void)
{
	abort();
}

static void crash_ill(void)
{
	__builtin_trap();
}

static void crash_bus(void) // outside guarded memory
{
	volatile char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_create("empty", 0), 0);
	*p = 1;
}

static int deeper(volatile char *from)
{
	volatile char room[4096] = { 0 };
	room[0] = from[0];
	return room[0] ? deeper(room) + room[1] : 0;
}

static void crash_stack(void)
{
	char c = 1;
	deeper(&c);
}

static void killed(int signo)
{
	pid_t pid = getpid();
	if (fork() == 0) {
		kill_one(pid, signo);
		_exit(0);
	}
	for (;;)
		pause();
}

static void killed_segv(void)
{
	killed(SIGSEGV);
}

static void killed_abort(void)
{
	killed(SIGABRT);
}

// In a child that has taken up a message, or, as data thread 3, a ring. Returns what it died of.
static int run(void (*fn)(void), bool data)
{
	struct why why;
	int status;
	flight_reset(page);
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		for (int i = 1; i < 32; i++) // cmocka and sanitizers have their own
			signal(i, SIG_DFL);
		if (flight_use(page_fd, -1, &why) != OK || flight_install() != 0 || guard_install() != 0)
			_exit(99);
		struct flight_thread *t = flight_here(data ? 3 : FLIGHT_CONTROL);
		flight_port(7, "vm7");
		if (data)
			flight_at(t, FLIGHT_AT(7, 31, 65535));
		else
			flight_take(FLIGHT_MESSAGE, UINT64_C(1) << 32 | 5, 12, "vm7");
		fn();
		_exit(98);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void faults(void **state)
{
	static const struct {
		void (*fn)(void);
		int signo;
	} cases[] = {
		{ crash_segv, SIGSEGV }, { crash_abort, SIGABRT }, { crash_ill, SIGILL }, { crash_bus, SIGBUS }, { crash_stack, SIGSEGV },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int data = 0; data < 2; data++) {
			int status = run(cases[i].fn, data);
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), cases[i].signo);
			const struct flight_fault *f = &page->fault;
			assert_true(f->whole);
			assert_int_equal(f->signal, cases[i].signo);
			assert_int_equal(f->slot, data ? 3 : (int)FLIGHT_CONTROL);
			if (data) {
				assert_int_equal(FLIGHT_AT_PORT(f->at), 7);
				assert_int_equal(FLIGHT_AT_RING(f->at), 31);
				assert_int_equal(FLIGHT_AT_POS(f->at), 65535);
			} else {
				assert_int_equal(f->doing, FLIGHT_MESSAGE);
				assert_int_equal(f->conn, UINT64_C(1) << 32 | 5);
				assert_int_equal(f->seq, 12);
			}
		}
}

static void kills(void **state)
{
	(void)state;
	int status = run(killed_segv, false);
	assert_false(page->fault.claimed);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = run(killed_abort, true);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_false(page->fault.claimed);
}

// Of another size or kind, or one that its giver can still cut.
static void pages(void **state)
{
	struct why why;
	int fd;
	void *map;
	struct flight_page *other;
	(void)state;
	assert_int_equal(flight_share(&fd, "other", 1, 4096, &map, &why), OK);
	assert_int_equal(flight_use(fd, -1, &why), REFUSED);
	assert_int_equal(flight_map(fd, 2, 4096, false, &map, &why), REFUSED);
	close(fd);
	fd = memfd_create("cut", 0);
	assert_int_equal(ftruncate(fd, sizeof(struct flight_page)), 0);
	assert_int_equal(flight_use(fd, -1, &why), REFUSED);
	close(fd);
	assert_int_equal(flight_make(&fd, &other, &why), OK);
	assert_int_equal(flight_map(fd, other->magic, sizeof(*other), false, &map, &why), OK);
	close(fd);
}

int main(void)
{
	struct why why;
	if (flight_make(&page_fd, &page, &why) != OK)
		return 1;
	const struct CMUnitTest tests[] = { cmocka_unit_test(faults), cmocka_unit_test(kills), cmocka_unit_test(pages) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
