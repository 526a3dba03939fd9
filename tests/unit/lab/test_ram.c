// The comparison of guest memory: equal dumps, one flipped bit anywhere, dumps of different sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab/verify_ram.h"

#define PAGES 16
#define BASE 0x100000

static char path[2][40];

static void write_dump(int which, size_t size, long flip_at)
{
	FILE *f = fopen(path[which], "w");
	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		fputc((int)((i * 31) & 255) ^ (flip_at == (long)i), f);
	assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "/tmp/test_ram_XXXXXX");
		int fd = mkstemp(path[i]);
		if (fd < 0)
			return -1;
		close(fd);
		write_dump(i, PAGES * RAM_PAGE, -1);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path[0]);
	unlink(path[1]);
	return 0;
}

static void test_equal(void **state)
{
	(void)state;
	struct ram_diff d = { 0 };
	assert_int_equal(ram_compare(path[0], path[1], BASE, &d, NULL), OK);
	assert_int_equal(d.pages, PAGES);
	assert_int_equal(d.differ, 0);
}

static void test_flipped(void **state)
{
	(void)state;
	const long places[] = { 0, RAM_PAGE - 1, RAM_PAGE, 5 * RAM_PAGE + 77, PAGES * RAM_PAGE - 1 };
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct ram_diff d = { 0 };
		write_dump(1, PAGES * RAM_PAGE, places[i]);
		assert_int_equal(ram_compare(path[0], path[1], BASE, &d, NULL), OK);
		assert_int_equal(d.differ, 1);
		assert_int_equal(d.first[0], BASE + places[i] / RAM_PAGE * RAM_PAGE);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	struct ram_diff d = { 0 };
	struct why why = { "" };
	write_dump(1, (PAGES - 1) * RAM_PAGE, -1);
	assert_int_equal(ram_compare(path[0], path[1], BASE, &d, &why), OURS);
	assert_int_not_equal(why.text[0], 0);
	assert_int_equal(ram_compare(path[0], "/nonexistent", BASE, &d, &why), OURS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_equal), T(test_flipped), T(test_sizes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
