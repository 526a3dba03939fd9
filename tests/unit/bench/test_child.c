// Child processes on their terminals: what they print never holds them up, and is there when it is asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/child.h"

static void start(struct child *c, const char *script)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL };
	struct why why = { "" };
	if (child_start(c, argv, NULL, 0, &why) != OK)
		fail_msg("%s", why.text);
}

static void test_never_held_up(void **state)
{
	(void)state;
	static struct child c;
	char path[] = "/tmp/vringd-child-XXXXXX", script[200];
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	snprintf(script, sizeof(script), "head -c 1000000 /dev/zero | tr '\\0' x; : > %s; read word; echo \"got $word\"; exit 3", path);
	start(&c, script);
	for (unsigned i = 0; i < 500 && access(path, F_OK) != 0; i++)
		usleep(10000); // nobody asks what it prints
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	assert_true(child_alive(&c));
	child_forget(&c);
	assert_true(child_tell(&c, "hello"));
	assert_non_null(child_wait(&c, "got hello", 5000));
	for (unsigned i = 0; i < 500 && child_alive(&c); i++)
		usleep(10000);
	assert_true(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 3);
	child_end(&c, 0);
}

static void test_last_words(void **state)
{
	(void)state;
	static struct child c;
	char line[160];
	start(&c, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo no such device; exit 1");
	while (child_alive(&c))
		usleep(1000);
	assert_string_equal(child_last_line(&c, line, sizeof(line)), "no such device");
	child_kill(&c);
	start(&c, "echo one; sleep 100");
	assert_non_null(child_wait(&c, "one", 5000));
	assert_null(child_wait(&c, "two", 50));
	child_end(&c, 2000);
	assert_int_equal(c.pid, 0);
	assert_string_equal(child_last_line(&c, line, sizeof(line)), "one");
}

static void test_not_there(void **state)
{
	(void)state;
	static struct child c;
	struct why why;
	char *argv[] = { (char *)(uintptr_t) "/no/such/program", NULL };
	assert_int_equal(child_start(&c, argv, NULL, 0, &why), OURS);
	child_end(&c, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_never_held_up), cmocka_unit_test(test_last_words),
					    cmocka_unit_test(test_not_there) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
