// What lies between two lives of the datapath: who may touch rings.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lease.h"
#include "lifebed.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29 | UINT64_C(1) << 28)

static void stop(struct life *f)
{
	int status;
	assert_int_equal(kill(f->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(f->pid, &status, WUNTRACED), f->pid);
	assert_true(WIFSTOPPED(status));
}

// The predecessor is stopped, not dead, and has the rings; its successor has them, too. True: a frame moved.
static bool moves_beside(bool lease)
{
	struct lifebed l;
	lb_open(&l, F_USUAL, 0);
	l.lease = lease;
	struct life old = lb_life(&l);
	lb_exchange(&l, 0, 20);
	stop(&old);
	struct life new = lb_life(&l);
	assert_true(lb_send(&l, 0, 20));
	bool moved = gb_recv_no(&l.g[1], lease ? 300 : 5000) == 20;
	lb_reap(&old, SIGKILL);
	if (!moved)
		assert_int_equal(gb_recv_no(&l.g[1], 5000), 20); // now it may
	assert_true(lb_send(&l, 1, 20));
	assert_int_equal(gb_recv_no(&l.g[0], 5000), 20);
	lb_exchange(&l, 21, 20);
	lb_end(&new);
	lb_close(&l);
	return moved;
}

static void test_lease(void **state)
{
	(void)state;
	assert_false(moves_beside(true));
}

static void test_lease_missing(void **state) // the control: two at a time are seen
{
	(void)state;
	assert_true(moves_beside(false));
}

// A successor with fewer threads: the control thread waits for slots that no thread of its own would wait for.
static void test_fewer_threads(void **state)
{
	(void)state;
	struct lifebed l;
	struct why why;
	struct lease *lease;
	char want[80];
	lb_open(&l, F_USUAL, 0);
	l.lease = l.await = true;
	l.threads = 3;
	struct life old = lb_life(&l);
	lb_exchange(&l, 0, 5);
	stop(&old);
	assert_int_equal(lease_open(&lease, l.lease_fd, &why), OK);
	assert_int_equal(lease_await_all(lease, 20, &why), OURS);
	for (unsigned i = 0; i < 2; i++) { // which have moved frames; the third may have been stopped before it began
		snprintf(want, sizeof(want), "data thread %u of pid %d", i, old.pid);
		assert_non_null(strstr(why.text, want));
	}
	snprintf(want, sizeof(want), "the control thread of pid %d", old.pid);
	assert_non_null(strstr(why.text, want));
	lease_close(lease);
	lb_reap(&old, SIGKILL);
	l.threads = 1;
	struct life new = lb_life(&l);
	lb_exchange(&l, 5, 5);
	lb_end(&new); // gives all back
	l.threads = 2;
	new = lb_life(&l);
	lb_exchange(&l, 10, 5);
	lb_end(&new);
	lb_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_lease_missing),
		cmocka_unit_test(test_fewer_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
