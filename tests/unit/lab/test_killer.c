// Who is killed, by which signal, and what is seen of it.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kill.h"
#include "lab/killer.h"

static void count(unsigned total, uint64_t seed, unsigned n[3])
{
	struct killer k;
	struct backend b = { .n = 1 };
	assert_int_equal(killer_open(&k, &b, seed, total, NULL), OK);
	n[0] = n[1] = n[2] = 0;
	for (unsigned i = 0; i < total; i++)
		n[k.signal[i] == SIGKILL ? 0 : k.signal[i] == SIGSEGV ? 1 : 2]++;
	killer_close(&k);
}

static void test_signals(void **state)
{
	(void)state;
	unsigned n[3];
	count(100, 1, n);
	assert_int_equal(n[0], 80);
	assert_int_equal(n[1], 10);
	assert_int_equal(n[2], 10);
	count(3, 2, n);
	assert_int_equal(n[0] + n[1] * 10 + n[2] * 100, 111);
	count(2, 3, n);
	assert_int_equal(n[0], 2);
}

static void test_seed(void **state)
{
	(void)state;
	struct killer a, b, c;
	struct backend back = { .n = 1 };
	killer_open(&a, &back, 7, 100, NULL);
	killer_open(&b, &back, 7, 100, NULL);
	killer_open(&c, &back, 8, 100, NULL);
	assert_memory_equal(a.signal, b.signal, 100 * sizeof(int));
	assert_memory_not_equal(a.signal, c.signal, 100 * sizeof(int));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t r = killer_random(&a, 10);
		assert_int_equal(r, killer_random(&b, 10));
		assert_true(r < 10);
	}
	killer_close(&a);
	killer_close(&b);
	killer_close(&c);
}

static void test_serving(void **state)
{
	(void)state;
	const char *log = "vringd: keeper: worker 12 serves, 70 us after the last one's death\n"
			  "vringd: keeper: worker 123 serves, 8123 us after the last one's death\n";
	assert_int_equal(killer_serving_us(log, 123), 8123);
	assert_int_equal(killer_serving_us(log, 12), 70);
	assert_int_equal(killer_serving_us(log, 1), 0);
	assert_int_equal(killer_serving_us("", 1), 0);
}

// A process with a child that has a child: the last one is killed; the first one, if it is alone.
static void test_victim(void **state)
{
	(void)state;
	int ready[2];
	pid_t last;
	assert_int_equal(pipe(ready), 0);
	pid_t first = fork();
	if (first == 0) {
		pid_t second = fork();
		if (second == 0) {
			pid_t self = getpid();
			if (write(ready[1], &self, sizeof(self)) < 0)
				_exit(1);
			for (;;)
				pause();
		}
		waitpid(second, NULL, 0);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &last, sizeof(last)), sizeof(last));
	assert_int_equal(killer_victim(first), last);
	struct killer k;
	struct kill d = { 0 };
	struct backend b = { .n = 1, .proc = { { .pid = first } } };
	assert_int_equal(killer_open(&k, &b, 1, 1, NULL), OK);
	assert_int_equal(killer_strike(&k, &d, NULL), OK);
	assert_int_equal(d.pid, last);
	assert_int_equal(d.number, 1);
	for (int i = 0; i < 500 && killer_victim(first) != first; i++)
		usleep(10000);
	assert_int_equal(killer_victim(first), first);
	killer_close(&k);
	kill_one(first, SIGKILL);
	waitpid(first, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void test_sockets(void **state)
{
	(void)state;
	int a[2], b[2];
	struct sockets before, now;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	sockets_read(&before, getpid());
	assert_true(before.n >= 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	sockets_read(&now, getpid());
	assert_true(sockets_kept(&before, &now));
	close(a[0]);
	close(b[0]);
	close(b[1]);
	a[0] = socket(AF_UNIX, SOCK_STREAM, 0); // at the same number
	sockets_read(&now, getpid());
	assert_int_equal(now.n, before.n);
	assert_false(sockets_kept(&before, &now));
	close(a[0]);
	close(a[1]);
	sockets_read(&before, 0); // of nobody: nothing is known, so nothing is kept
	assert_false(sockets_kept(&before, &now));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_signals), cmocka_unit_test(test_seed), cmocka_unit_test(test_serving),
		cmocka_unit_test(test_victim), cmocka_unit_test(test_sockets) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
