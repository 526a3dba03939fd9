// Crash points: a process dies where the plan says, and nowhere else; a plan that can't be read is none.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash.h"

// In a process of its own, with that plan in its environment: as worker `life` it passes msg_taken and msg_applied in
// turn, nine times each. Returns how many passes it told of before it died by SIGKILL; 100: it did not; negative: minus
// its exit status.
static int walk(const char *plan, unsigned life)
{
	int at[2], n = 0, status;
	uint8_t byte;
	assert_int_equal(pipe(at), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("VRINGD_CRASH", plan, 1);
		crash_life(7); // an earlier number's passes do not count
		crash_here(CRASH_msg_taken);
		crash_life(life);
		for (unsigned i = 0; i < 18; i++) {
			crash_here(i % 2 ? CRASH_msg_applied : CRASH_msg_taken);
			if (write(at[1], "x", 1) != 1)
				_exit(9);
		}
		_exit(0);
	}
	close(at[1]);
	while (read(at[0], &byte, 1) == 1)
		n++;
	close(at[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return n;
	}
	return WEXITSTATUS(status) ? -WEXITSTATUS(status) : 100;
}

static void test_dies(void **state)
{
	(void)state;
	assert_int_equal(walk("0:msg_taken:1", 0), 0);
	assert_int_equal(walk("0:msg_taken:3", 0), 4);
	assert_int_equal(walk("0:msg_applied:9", 0), 17);
	assert_int_equal(walk("0:msg_applied:10", 0), 100);
	assert_int_equal(walk("1:msg_taken:1", 0), 100);
	assert_int_equal(walk("1:msg_taken:1", 1), 0);
	assert_int_equal(walk("0:frame_copied:1,3:msg_applied:2,3:msg_taken:5", 3), 3);
	assert_int_equal(walk("", 0), 100);
	assert_int_equal(walk("0:msg_takn:1", 0), -2); // and not: goes on without
}

static void test_plans(void **state)
{
	(void)state;
	static const char *const bad[] = { "0", "0:", ":msg_taken:1", "0:msg_taken", "0:msg_taken:", "0:msg_taken:0",
					   "0:msg_taken:x",
					   "0:msg_taken:1,", "0:msg_taken:1;", "0:msg:1", "0:msg_takenx:1", "-1:msg_taken:1",
					   "99999999999:msg_taken:1", "0::1" };
	struct why why;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (crash_plan(bad[i], &why) != REFUSED)
			fail_msg("\"%s\" was taken", bad[i]);
	for (unsigned p = 0; p < CRASH_N; p++) { // each has a name that means it
		char text[64];
		snprintf(text, sizeof(text), "0:%s:1", crash_name(p));
		assert_int_equal(crash_plan(text, &why), OK);
		crash_set_life(0);
		assert_true(crash_due(p));
		assert_false(crash_due(p));
		crash_set_life(1);
		assert_false(crash_due(p));
	}
	assert_int_equal(crash_plan(NULL, &why), OK);
}

// A plan that is written while it runs: each pass is counted, deaths come one after the other, whichever process passes.
static void test_page(void **state)
{
	(void)state;
	static struct crash_page page;
	static const enum crash_point point[] = { CRASH_msg_taken, CRASH_msg_applied, CRASH_msg_taken };
	static const unsigned nth[] = { 2, 1, 1 };
	char path[] = "/tmp/vringd-crash-page-XXXXXX";
	int fd = mkstemp(path), status;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &page, sizeof(page)), sizeof(page));
	struct crash_page *g = mmap(NULL, sizeof(page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(g, MAP_FAILED);
	for (unsigned life = 0; life < 4; life++) {
		pid_t pid = fork();
		if (pid == 0) {
			setenv("VRINGD_CRASH_PAGE", path, 1);
			crash_life(life);
			crash_here(CRASH_msg_applied); // nothing is planned, or this is
			if (life == 0)
				crash_arm(g, point, nth, 3);
			for (unsigned i = 0; i < 4; i++)
				crash_here(i % 2 ? CRASH_msg_applied : CRASH_msg_taken);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		static const uint32_t fired[] = { 1, 2, 3, 3 }, taken[] = { 2, 2, 3, 5 }, applied[] = { 2, 3, 4, 7 };
		assert_int_equal(WIFSIGNALED(status), life < 3);
		assert_int_equal(g->fired, fired[life]);
		assert_int_equal(g->passes[CRASH_msg_taken], taken[life]);
		assert_int_equal(g->passes[CRASH_msg_applied], applied[life]);
	}
	unlink(path);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_page), cmocka_unit_test(test_dies), cmocka_unit_test(test_plans) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
