// When it pays to look again, and when it does not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/brisk.h"
#include "base/clock.h"

static void test_for_a_while(void **state)
{
	struct brisk b = {0};
	(void)state;
	assert_false(brisk_now(&b));
	assert_false(brisk_again(&b));
	brisk_expect(&b, 1000, false);
	assert_true(brisk_now(&b));
	assert_true(brisk_judge(&b, 1001, 1002));
	assert_true(brisk_judge(&b, 1002, 1000 + BRISK_US - 1));
	assert_false(brisk_judge(&b, 1000 + BRISK_US - 1, 1000 + BRISK_US));
	assert_false(brisk_now(&b));
	brisk_expect(&b, 2000, true); // others want the CPUs
	assert_false(brisk_now(&b));
	brisk_expect(&b, 3000, false);
	brisk_expect(&b, 3001, true);
	assert_false(brisk_now(&b));
}

static void test_crowded(void **state)
{
	struct brisk b = {0};
	uint64_t now = 1000000, pause = BRISK_PAUSE_LEAST_US;
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		brisk_expect(&b, now, false);
		assert_true(brisk_now(&b));
		now += BRISK_CROWDED_US + 1;
		assert_false(brisk_judge(&b, now - BRISK_CROWDED_US - 1, now)); // somebody took the CPU
		brisk_expect(&b, now + pause - 1, false);
		assert_false(brisk_now(&b));
		now += pause;
		pause = 2 * pause > BRISK_PAUSE_MOST_US ? BRISK_PAUSE_MOST_US : 2 * pause;
	}
	for (unsigned i = 0; i < 8; i++) { // they are gone: what was learned is forgotten step by step
		brisk_expect(&b, now, false);
		assert_false(brisk_judge(&b, now, now + BRISK_US));
		now += 1000;
	}
	assert_int_equal(b.pause_us, 0);
	brisk_expect(&b, now, false);
	assert_false(brisk_judge(&b, now, now + BRISK_CROWDED_US + 1));
	assert_int_equal(b.quiet_us, now + BRISK_CROWDED_US + 1 + BRISK_PAUSE_LEAST_US);
}

static void test_a_clock(void **state)
{
	struct brisk b = {0};
	(void)state;
	uint64_t from = clock_boot_us();
	brisk_expect(&b, from, false);
	while (brisk_again(&b))
		assert_true(clock_boot_us() < from + 5000000);
	assert_false(brisk_now(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_for_a_while),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_a_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
