// The verdicts: a run without a fault holds; each fault by itself turns its own row red.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lab/verdict.h"

static struct opts opts;
static struct results results;

static int set_up(void **state)
{
	(void)state;
	opts = (struct opts){ .rounds = 1, .backend = "x", .verify_ram = true, .gap_ms = 50 };
	results = (struct results){ .opts = &opts, .have_control = true };
	struct round *r = results_add_round(&results);
	if (!r)
		return -1;
	r->downtime_ms = 20;
	r->compared = true;
	r->pages = 100;
	r->stretch.to_peer.sent = r->stretch.to_mover.sent = 1000;
	r->stretch.to_peer.got.gap_us = 60000;
	results.control.to_peer.got.gap_us = 5000;
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

static void test_holds(void **state)
{
	(void)state;
	assert_null(red());
}

static void test_traffic(void **state)
{
	(void)state;
	struct direction *d = &results.round[0].stretch.to_mover;
	d->missing = 1;
	assert_string_equal(red(), "missing");
	d->missing = 0;
	d->got.repeated = 1;
	assert_string_equal(red(), "repeated");
	d->got.repeated = 0;
	d->got.corrupt = 1;
	assert_string_equal(red(), "corrupt");
	d->got.corrupt = 0;
	d->csum_errors = 1;
	assert_string_equal(red(), "corrupt");
	d->csum_errors = 0;
	results.control.to_peer.missing = 1;
	assert_string_equal(red(), "missing");
}

static void test_gap(void **state)
{
	(void)state;
	uint64_t *gap = &results.round[0].stretch.to_peer.got.gap_us;
	*gap = 70000;
	assert_null(red());
	*gap = 70001;
	assert_string_equal(red(), "longest gap");
	results.control.to_peer.got.gap_us = 60000;
	assert_null(red());
	*gap = 80001;
	assert_string_equal(red(), "longest gap");
}

// A gap that ended before the stop is QEMU's setup and judged by it; the longest of the others is the switch-over's.
static void test_gap_in_setup(void **state)
{
	(void)state;
	struct round *r = &results.round[0];
	struct direction *d = &r->stretch.to_peer;
	r->begin_us = 1000000;
	r->stop_us = 2000000;
	r->setup_ms = 55;
	d->got.gap_us = 105000;
	d->got.second_us = 70000;
	d->gap_end_us = 1100000;
	assert_null(red());
	d->got.second_us = 70001;
	assert_string_equal(red(), "longest gap");
	d->got.second_us = 70000;
	d->got.gap_us = 105001;
	assert_string_equal(red(), "longest gap before the stop");
	d->gap_end_us = 2000001; // it is the switch-over's
	d->got.gap_us = 105000;
	assert_string_equal(red(), "longest gap");
}

// The moved guest's clock stands still: the time it stood counts, and so does what the guest saw itself.
static void test_gap_of_mover(void **state)
{
	(void)state;
	struct stretch *s = &results.round[0].stretch;
	s->to_mover.got.gap_us = 40000;
	s->mover_stall_us = 80000;
	assert_null(red());
	s->mover_stall_us = 80001;
	assert_string_equal(red(), "longest gap at the moved guest");
	s->mover_stall_us = 0;
	s->to_mover.got.gap_us = 120001;
	assert_string_equal(red(), "longest gap at the moved guest");
	results.control.to_mover.got.gap_us = 60000; // its own direction is what it is compared with
	assert_null(red());
}

// With two daemons a loss is explained by what the old one dropped, not by what it held.
static void test_two_daemons(void **state)
{
	(void)state;
	struct round *r = &results.round[0];
	opts.two_daemons = true;
	strcpy(r->bridge_before, "tap0");
	r->bridge_moved_us = 1;
	r->stretch.to_mover.missing = 3;
	r->source = json_pack("{s:i,s:i,s:i}", "held", 9, "delivered", 7, "dropped", 2);
	assert_string_equal(red(), "missing, counted and explained");
	json_object_set_new(r->source, "dropped", json_integer(3));
	assert_null(red());
}

static void test_others(void **state)
{
	(void)state;
	results.round[0].pages_differ = 1;
	assert_string_equal(red(), "memory pages that differ");
	results.round[0].pages_differ = 0;
	results.round[0].compared = false;
	assert_string_equal(red(), "memory pages that differ");
	results.round[0].compared = true;
	results.round[0].stretch.rebooted = true;
	assert_string_equal(red(), "seen by the guests");
	results.round[0].stretch.rebooted = false;
	strcpy(results.backend_failure, "died");
	assert_string_equal(red(), "back end still running");
	results.backend_failure[0] = 0;
	opts.backend = NULL;
	assert_string_equal(red(), "recorded by vringd");
	opts.backend = "x";
	opts.rounds = 2;
	assert_string_equal(red(), "several");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_holds), T(test_traffic), T(test_gap), T(test_gap_in_setup), T(test_gap_of_mover), T(test_two_daemons), T(test_others) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
