// The command line: what goes together, what does not, and what is said of neither.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab/opts.h"

static enum opts_result parse(struct opts *o, const char *line)
{
	static char text[300];
	char *argv[40] = { NULL }, *save = NULL;
	int argc = 0;
	snprintf(text, sizeof(text), "vringlab %s", line);
	for (char *word = strtok_r(text, " ", &save); word && argc < 39; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	return opts_parse(o, argc, argv);
}

static void test_taken(void **state)
{
	(void)state;
	struct opts o;
	assert_int_equal(parse(&o, "crash"), OPTS_RUN);
	assert_int_equal(o.verb, LAB_CRASH);
	assert_int_equal(o.kills, OPTS_KILLS_DEFAULT);
	assert_int_equal(parse(&o, "crash --kills 7 --seed 18446744073709551615 --queues 2 --packed"), OPTS_RUN);
	assert_int_equal(o.kills, 7);
	assert_true(o.seed == UINT64_MAX);
	assert_int_equal(parse(&o, "migrate"), OPTS_RUN);
	assert_int_equal(o.verb, LAB_MIGRATE);
	assert_int_equal(o.kills, 0);
	assert_int_equal(parse(&o, "migrate --kills 3 --verify-ram --rounds 2"), OPTS_RUN);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"fly", "crash now", "crash --kills 0", "crash --kills x", "crash --seed -1", "crash --verify-ram", "crash --cancel-at before-stop",
		"crash --rounds 2", "crash --one-path", "crash --two-daemons", "crash --backend none", "migrate --kills 2", "migrate --kills 3 --two-daemons",
		"migrate --two-hosts", "migrate --postcopy",
	};
	struct opts o;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (parse(&o, lines[i]) != OPTS_WRONG)
			fail_msg("was taken: %s", lines[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_taken), cmocka_unit_test(test_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
