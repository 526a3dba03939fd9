// What lies between two lives of the datapath: who may touch rings, and what was counted.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kill.h"
#include "base/lease.h"
#include "lifebed.h"
#include "switch/counters.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29 | UINT64_C(1) << 28)

static void stop(struct life *f)
{
	int status;
	assert_int_equal(kill_one(f->pid, SIGSTOP), 0);
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

// What a life that has these ports would see of the counters of the lives before it.
static void read_counters(const struct lifebed *l, const char *id, struct dp_stats *st)
{
	struct dp_conf c = { .threads = 1, .cpus = { -1 } };
	struct dp_port_conf conf = gb_conf(id);
	struct dp_port *port;
	struct why why;
	assert_int_equal(counters_open(&c.counters, l->counters_fd, &why), OK);
	counters_leave(c.counters);
	struct dp *dp = dp_new(&c, &why);
	assert_non_null(dp);
	assert_int_equal(dp_port_add(dp, &conf, &port, &why), OK);
	dp_port_stats(port, st);
	dp_port_del(dp, port);
	dp_free(dp);
	counters_close(c.counters);
}

static uint64_t counted(bool no_counters)
{
	struct lifebed l;
	struct dp_stats a, b, c;
	lb_open(&l, F_USUAL, 0);
	l.no_counters = no_counters;
	l.threads = 3;
	struct life f = lb_life(&l);
	lb_exchange(&l, 0, 50);
	usleep(100000); // counted after it is shown, and nothing says when
	lb_reap(&f, SIGKILL);
	l.threads = 1;
	f = lb_life(&l);
	lb_exchange(&l, 50, 30);
	lb_end(&f);
	read_counters(&l, "a", &a);
	read_counters(&l, "b", &b);
	read_counters(&l, "c", &c);
	assert_int_equal(a.total.in_frames, b.total.out_frames);
	assert_int_equal(a.total.in_bytes, b.total.out_bytes);
	assert_true((a.calls != 0 && a.kicks != 0) == (a.total.in_frames != 0));
	assert_int_equal(c.total.in_frames + c.total.out_frames + c.kicks + c.calls, 0);
	lb_close(&l);
	return a.total.in_frames;
}

static void test_counters(void **state)
{
	(void)state;
	assert_int_equal(counted(false), 80);
	assert_int_equal(counted(true), 0); // the control
}

static struct dp_port *add(struct dp *dp, const char *id)
{
	struct dp_port_conf conf = gb_conf(id);
	struct dp_port *port = NULL;
	struct why why;
	assert_int_equal(dp_port_add(dp, &conf, &port, &why), OK);
	return port;
}

// Places are keyed by id; a port that is deleted takes its counters with it, and what an earlier process left to nobody
// makes room.
static void test_places(void **state)
{
	(void)state;
	struct dp_conf c = { .threads = 1, .cpus = { -1 } };
	struct why why;
	struct dp_stats st;
	struct dp_port *port[DP_MAX_PORTS];
	char id[20];
	int fd;
	assert_int_equal(counters_make(&fd, &why), OK);
	assert_int_equal(counters_open(&c.counters, fd, &why), OK);
	struct dp *dp = dp_new(&c, &why);
	struct dp_port_conf null = gb_conf("n");
	null.kind = DP_NULL;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		snprintf(id, sizeof(id), "p%u", i);
		port[i] = add(dp, id);
	}
	assert_int_equal(dp_port_add(dp, &null, &port[0], &why), REFUSED);
	counters_leave(c.counters);
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		dp_port_del(dp, port[i]);
	dp_free(dp);
	counters_close(c.counters);
	assert_int_equal(counters_open(&c.counters, fd, &why), OK); // another process: all places are left, to other ids
	dp = dp_new(&c, &why);
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		snprintf(id, sizeof(id), "q%u", i);
		port[i] = add(dp, id);
	}
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		dp_port_del(dp, port[i]);
	port[0] = add(dp, "q7");
	dp_port_stats(port[0], &st);
	assert_int_equal(st.total.in_frames, 0);
	dp_port_del(dp, port[0]);
	dp_free(dp);
	counters_close(c.counters);
	close(fd);
	assert_int_equal(counters_open(&c.counters, 0, &why), REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_lease_missing),
		cmocka_unit_test(test_fewer_threads),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_places),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
