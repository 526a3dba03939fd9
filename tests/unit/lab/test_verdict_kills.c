// What kills add to the verdicts: a run in which all went well holds; each fault by itself turns its own row red.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "lab/verdict.h"

#define KILLS 10

static struct opts opts;
static struct results results;

static struct kill *kill_of(unsigned i)
{
	return &results.round[0].kill[i];
}

static int set_up(void **state)
{
	(void)state;
	opts = (struct opts){ .verb = LAB_CRASH, .rounds = 1, .kills = KILLS, .queues = 2, .gap_ms = 50 };
	results = (struct results){ .opts = &opts, .have_control = true };
	struct round *r = results_add_round(&results);
	if (!r || !round_plan_kills(r, KILLS))
		return -1;
	r->kind = ROUND_CRASH;
	r->stretch.to_peer.sent = r->stretch.to_mover.sent = 1000;
	r->n_kills = KILLS;
	for (unsigned i = 0; i < KILLS; i++)
		*kill_of(i) = (struct kill){ .number = i + 1, .signal = SIGKILL, .pid = 10, .next = 11, .at_us = 1000000, .serving_us = 8000,
					     .gap_us = 12000, .gap_end_us = 1011000 };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	results_free(&results);
	return 0;
}

// Which row is red: NULL if none, "several" if more than one.
static const char *red(void)
{
	const char *name = NULL;
	bool holds = verdicts_judge(&results);
	for (unsigned i = 0; i < results.n_verdicts; i++)
		if (results.verdict[i].state == VERDICT_FAILED)
			name = name ? "several" : results.verdict[i].name;
	assert_int_equal(holds, name == NULL);
	return name;
}

static const char *measured(const char *row)
{
	for (unsigned i = 0; i < results.n_verdicts; i++)
		if (!strcmp(results.verdict[i].name, row))
			return results.verdict[i].measured;
	return "no such row";
}

static void test_holds(void **state)
{
	(void)state;
	assert_null(red());
	assert_string_equal(measured("from kill to first datagram"), "p50 11.0, p99 11.0, max 11.0 ms");
}

static void test_kills(void **state)
{
	(void)state;
	results.round[0].n_kills--;
	assert_string_equal(red(), "workers killed and followed");
	results.round[0].n_kills++;
	kill_of(3)->next = 0;
	assert_string_equal(red(), "workers killed and followed");
	kill_of(3)->next = 11;
	strcpy(kill_of(9)->failure, "nobody follows");
	assert_string_equal(red(), "workers killed and followed");
	assert_non_null(strstr(measured("workers killed and followed"), "kill 10: nobody follows"));
	kill_of(9)->failure[0] = 0;
	kill_of(2)->lost[1] = true;
	assert_string_equal(red(), "front ends that lost a connection");
	kill_of(2)->lost[1] = false;
	results.round[0].stretch.carrier_changes = 1;
	assert_string_equal(red(), "seen by the guests");
	results.round[0].stretch.carrier_changes = 0;
	results.round[0].stretch.to_peer.missing = 1;
	assert_string_equal(red(), "missing");
}

static void test_gaps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KILLS / 2; i++)
		kill_of(i)->gap_us = 16000; // half of them: the other half is below
	assert_null(red());
	kill_of(KILLS - 1)->gap_us = 16000;
	assert_string_equal(red(), "longest gap of a kill, p50");
	kill_of(KILLS - 1)->gap_us = 12000;
	kill_of(0)->gap_us = 50001;
	assert_string_equal(red(), "longest gap of a kill, p99");
	opts.gap_ms = 60;
	assert_null(red());
}

static void test_repeats(void **state)
{
	(void)state;
	uint64_t *repeated = &results.round[0].stretch.to_peer.got.repeated;
	*repeated = 64 * KILLS * 2 * 2; // two queues of two guests
	assert_null(red());
	++*repeated;
	assert_string_equal(red(), "repeated");
}

static void test_percentiles(void **state)
{
	(void)state;
	uint64_t v[200];
	for (unsigned i = 0; i < 200; i++)
		v[i] = 200 - i;
	assert_int_equal(percentile_us(v, 200, 50), 100);
	assert_int_equal(percentile_us(v, 200, 99), 198);
	assert_int_equal(percentile_us(v, 200, 100), 200);
	assert_int_equal(percentile_us(v, 1, 50), 1);
	assert_int_equal(percentile_us(v, 1, 99), 1);
	assert_int_equal(percentile_us(v, 0, 99), 0);
}

static void test_in_a_migration(void **state)
{
	(void)state;
	struct round *r = &results.round[0];
	opts.verb = LAB_MIGRATE;
	opts.backend = "x"; // no records of vringd
	r->kind = ROUND_MIGRATE;
	for (unsigned i = 0; i < KILLS; i++)
		kill_of(i)->when = i == KILLS - 1 ? KILL_BETWEEN : KILL_LOGGING;
	assert_null(red());
	kill_of(KILLS - 1)->when = KILL_STOPPING;
	assert_string_equal(red(), "killed while logging, at least");
	kill_of(KILLS - 1)->when = KILL_BETWEEN;
	kill_of(0)->when = KILL_TRAFFIC;
	assert_string_equal(red(), "killed while logging, at least");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_holds), T(test_kills), T(test_gaps), T(test_repeats), T(test_percentiles), T(test_in_a_migration) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
