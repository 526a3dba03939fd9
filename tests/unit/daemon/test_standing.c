// What a connection is to its port, over the death of whoever wrote it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/standing.h"

static void outlives(void **state)
{
	(void)state;
	struct standings *s = NULL;
	struct why why;
	int fd, status;
	assert_int_equal(standings_make(&fd, &why), OK);
	pid_t pid = fork();
	if (pid == 0) {
		if (standings_open(&s, fd, &why) != OK)
			_exit(1);
		struct standing *a = standings_of(s, 7), *b = standings_of(s, 8);
		a->taking = 3;
		a->ran = b->ran = 1;
		b->stopped_us = 99;
		standings_of(s, 9)->ran = 1;
		standings_drop(s, 9);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(standings_open(&s, fd, &why), OK);
	assert_int_equal(standings_of(s, 7)->taking, 3);
	assert_int_equal(standings_of(s, 8)->stopped_us, 99);
	assert_int_equal(standings_of(s, 9)->ran, 0); // a new one
	static const uint64_t living[] = {8};
	standings_keep_only(s, living, 1);
	assert_int_equal(standings_of(s, 8)->ran, 1);
	assert_int_equal(standings_of(s, 7)->ran, 0);
	standings_close(s);
	close(fd);
}

static void bounds(void **state)
{
	(void)state;
	struct standings *s = NULL;
	struct why why;
	int fd;
	assert_null(standings_of(NULL, 5));
	standings_drop(NULL, 5);
	assert_int_equal(standings_make(&fd, &why), OK);
	assert_int_equal(standings_open(&s, fd, &why), OK);
	unsigned n = 0;
	while (standings_of(s, n + 1) != NULL && n < 4096)
		n++;
	assert_int_equal(n, 512);
	standings_drop(s, 100);
	assert_non_null(standings_of(s, 5000));
	standings_close(s);
	close(fd);
	fd = dup(0);
	assert_int_equal(standings_open(&s, fd, &why), REFUSED);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(outlives), cmocka_unit_test(bounds)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
