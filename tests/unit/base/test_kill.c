// Whom a signal must never reach.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kill.h"

static pid_t child(void) // a group of its own, with a member
{
	int told[2];
	char byte;
	assert_int_equal(pipe(told), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setsid();
		fork();
		if (write(told[1], "", 1) != 1)
			_exit(1);
		close(told[1]);
		close(told[0]);
		for (;;)
			pause();
	}
	close(told[1]);
	assert_int_equal(read(told[0], &byte, 1), 1);
	assert_int_equal(read(told[0], &byte, 1), 1);
	close(told[0]);
	return pid;
}

static void test_nobody(void **state)
{
	(void)state;
	static const pid_t nobody[] = {1, 0, -1, -2};
	for (unsigned i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
		errno = 0;
		assert_int_equal(kill_one(nobody[i], 0), -1); // signal 0: were it let through, nobody would be hurt
		assert_int_equal(errno, ESRCH);
		errno = 0;
		assert_int_equal(kill_group(nobody[i], 0), -1);
		assert_int_equal(errno, ESRCH);
	}
}

static void test_one_and_group(void **state)
{
	(void)state;
	int status;
	pid_t pid = child();
	assert_int_equal(kill_one(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(kill_group(pid, SIGKILL), 0); // its member was still there
	pid = child();
	assert_int_equal(kill_group(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_one_and_group),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
