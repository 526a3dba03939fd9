// Samples to figures: order statistics, pairs of one placement, what is void, what counts as a regression.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "bench/compare.h"
#include "bench/doubt.h"
#include "bench/judge.h"
#include "bench/place.h"
#include "bench/stat.h"
#include "bench/table.h"

#define SEED 7

static bool near_to(double a, double b)
{
	return fabs(a - b) < 1e-9;
}

static void test_quantiles(void **state)
{
	(void)state;
	double v[] = { 5, 1, 4, 2, 3 }, two[] = { 1, 2 };
	assert_true(near_to(stat_quantile(v, 5, 0.5), 3));
	assert_true(near_to(stat_quantile(v, 5, 0), 1));
	assert_true(near_to(stat_quantile(v, 5, 1), 5));
	assert_true(near_to(stat_quantile(two, 2, 0.5), 1.5));
	assert_true(isnan(stat_quantile(v, 0, 0.5)));
	struct interval iv = stat_median(v, 5, SEED);
	assert_int_equal(iv.n, 5);
	assert_true(near_to(iv.median, 3) && iv.low >= 1 && iv.low <= 3 && iv.high >= 3 && iv.high <= 5);
	struct interval again = stat_median(v, 5, SEED);
	assert_true(near_to(again.low, iv.low) && near_to(again.high, iv.high)); // the seed decides
}

// The interval of the median of 15 draws must hold the true median in about 95 of 100 cases, not in all and not in few.
static void test_interval_holds(void **state)
{
	(void)state;
	struct rng r = { 3 };
	unsigned held = 0;
	for (unsigned t = 0; t < 200; t++) {
		double v[15];
		for (unsigned i = 0; i < 15; i++)
			v[i] = (double)(rng_next(&r) >> 11) / (double)(1ull << 53);
		struct interval iv = stat_median(v, 15, t + 1);
		held += iv.low <= 0.5 && iv.high >= 0.5;
	}
	assert_in_range(held, 175, 199);
}

static void test_ratio(void **state)
{
	(void)state;
	double a[] = { 110, 111, 109, 110, 112 }, b[] = { 100, 101, 99, 100, 102 };
	struct interval iv = stat_ratio(a, 5, b, 5, SEED);
	assert_true(near_to(iv.median, 1.1) && iv.low > 1.05 && iv.high < 1.15);
	iv = stat_ratio(b, 5, b, 5, SEED);
	assert_true(iv.low <= 1 && iv.high >= 1);
}

static void test_places(void **state)
{
	(void)state;
	assert_int_equal(place_of(0), PLACE_UNKNOWN);
	assert_int_equal(place_of(8), PLACE_CORE);
	assert_int_equal(place_of(40), PLACE_NEAR);
	assert_int_equal(place_of(168), PLACE_FAR);
	assert_int_equal(place_around(40, 42, 1000, 1100), PLACE_NEAR);
	assert_int_equal(place_around(40, 168, 0, 0), PLACE_MIXED);
	assert_int_equal(place_around(40, 42, 1000, 1600), PLACE_MIXED);
	for (unsigned p = 0; p < PLACES; p++)
		assert_int_equal(place_parse(place_name((enum place)p)), p);
	assert_true(near_to(place_line_ns(0, 0), 0)); // one CPU has no distance
}

// A row of n pairs: back end a costs ca, b costs cb, with a little noise; pair 0 is far, pair 1 mixed.
static json_t *row_of(unsigned n, const char *a, double ca, const char *b, double cb)
{
	json_t *row = json_pack("{s:s,s:s,s:f,s:s,s:[]}", "row", "bothways split 64", "way", "traffic", "cycle_hz", 2.6e9,
				"arch", "x86_64", "samples");
	struct rng r = { 11 };
	for (unsigned i = 0; i < 2 * n; i++) {
		const char *place = i < 2 ? "far" : i == 2 ? "mixed" : "near";
		double line = i < 2 ? 168 : 40,
		       c = (i % 2 ? cb : ca) * (1 + (double)(rng_next(&r) % 100) / 5000) * (i < 2 ? 3 : 1);
		json_array_append_new(json_object_get(row, "samples"),
				      json_pack("{s:s,s:i,s:s,s:[f,f],s:f,s:f,s:f,s:f,s:f,s:i,s:i,s:i,s:i}", "backend",
						i % 2 ? b : a, "pair", (int)(i / 2), "placement", place, "line_ns", line,
						line, "cycles", c, "cpu_cycles", c, "rate", 2.6e9 / c, "driver_busy", 0.5,
						"cpu_share", 0.5, "received", 1000, "corrupt", 0, "odd_headers", 0,
						"missing", 0));
	}
	return row;
}

static void set_all(json_t *row, const char *backend, const char *key, json_t *value)
{
	json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(table_text(s, "backend"), backend) == 0)
			json_object_set(s, key, value);
	json_decref(value);
}

static const json_t *entry_of(const json_t *row, const char *place)
{
	const json_t *e;
	size_t i;
	json_array_foreach(json_object_get(row, "summary"), i, e)
		if (strcmp(table_text(e, "placement"), place) == 0)
			return e;
	return NULL;
}

static void test_pairs_of_one_placement(void **state)
{
	(void)state;
	json_t *row = row_of(11, "vringd", 100, "testpmd", 200);
	assert_int_equal(judge_pairs(row), 9); // of 11, one is far and one changed
	judge_row(row, SEED);
	const json_t *near = entry_of(row, "near"), *far = entry_of(row, "far");
	assert_non_null(near);
	assert_non_null(far); // by itself
	assert_null(entry_of(row, "mixed"));
	const json_t *r = judge_cost_ratio(near, "vringd", "testpmd");
	assert_non_null(r);
	assert_int_equal(json_integer_value(json_object_get(r, "n")), 9);
	assert_true(fabs(table_number(r, "median") - 0.5) < 0.02);
	assert_true(table_number(r, "high") < 0.55 && table_number(r, "low") > 0.45);
	assert_null(judge_cost_ratio(near, "testpmd", "vringd"));
	assert_int_equal(json_array_size(json_object_get(row, "void")), 0);
	json_decref(row);
}

static void test_noise_floor(void **state)
{
	(void)state;
	json_t *row = row_of(11, "vringd", 150, "vringd#2", 150);
	judge_row(row, SEED);
	const json_t *r = judge_cost_ratio(entry_of(row, "near"), "vringd", "vringd#2");
	assert_true(table_number(r, "low") <= 1.01 && table_number(r, "high") >= 0.99);
	json_decref(row);
}

static const char *rate_void(json_t *row)
{
	const json_t *r, *e;
	size_t i;
	judge_row(row, SEED);
	e = entry_of(row, "near");
	json_array_foreach(json_object_get(e, "ratios"), i, r)
		if (strcmp(table_text(r, "metric"), "rate") == 0)
			return table_text(r, "void");
	return "absent";
}

static void test_driver_limit(void **state)
{
	(void)state;
	json_t *row = row_of(11, "vringd", 220, "testpmd", 220);
	assert_string_equal(rate_void(row), "");
	set_all(row, "testpmd", "driver_busy", json_real(0.99));
	assert_string_equal(rate_void(row), "the driver was the limit with one");
	set_all(row, "vringd", "driver_busy", json_real(0.99));
	assert_string_equal(rate_void(row), "the driver was the limit with both");
	json_object_set_new(row, "way", json_string("paced"));
	assert_string_equal(rate_void(row), "the load was paced");
	json_decref(row);
}

static size_t voids(json_t *row)
{
	judge_row(row, SEED);
	return json_array_size(json_object_get(row, "void"));
}

static void test_void_rows(void **state)
{
	(void)state;
	json_t *row = row_of(11, "vringd", 100, "testpmd", 222);
	assert_int_equal(voids(row), 0);
	set_all(row, "testpmd", "cycles", json_real(500)); // far from what it is known to take
	assert_int_equal(voids(row), 1);
	set_all(row, "testpmd", "cycles", json_real(100));
	assert_int_equal(voids(row), 1);
	json_object_set_new(row, "arch", json_string("aarch64")); // no figures are known there
	assert_int_equal(voids(row), 0);
	set_all(row, "vringd", "odd_headers", json_integer(1));
	assert_int_equal(voids(row), 1);
	set_all(row, "testpmd", "corrupt", json_integer(1));
	assert_int_equal(voids(row), 2);
	set_all(row, "testpmd", "received", json_integer(0));
	assert_int_equal(voids(row), 3);
	set_all(row, "vringd", "huge", json_true());
	assert_int_equal(voids(row), 3);
	set_all(row, "testpmd", "huge", json_false());
	assert_int_equal(voids(row), 4);
	json_decref(row);
}

static size_t marks(json_t *row)
{
	judge_row(row, SEED);
	return json_array_size(json_object_get(row, "marks"));
}

static void test_cross_check(void **state)
{
	(void)state;
	json_t *row = row_of(11, "vringd", 220, "testpmd", 220);
	json_object_set_new(row, "way", json_string("paced"));
	assert_int_equal(marks(row), 0);
	set_all(row, "vringd", "cpu_cycles", json_real(300));
	assert_int_equal(marks(row), 1);
	set_all(row, "testpmd", "cpu_share", json_real(1)); // it polls: nothing can be said, which is said
	assert_int_equal(marks(row), 2);
	set_all(row, "vringd", "missing", json_integer(10));
	assert_int_equal(marks(row), 3);
	json_decref(row);
}

static json_t *record_of(double vringd, double testpmd)
{
	json_t *row = row_of(11, "vringd", vringd, "testpmd", testpmd);
	judge_row(row, SEED);
	return json_pack("{s:s,s:{},s:[o]}", "seed", "7", "machine", "rows", row);
}

static int compared(double old, double new)
{
	json_t *a = record_of(old, 222), *b = record_of(new, 222);
	FILE *f = fopen("/dev/null", "we");
	int worse = compare_print(f, a, b);
	fclose(f);
	json_decref(a);
	json_decref(b);
	return worse;
}

static void test_compare(void **state)
{
	(void)state;
	assert_int_equal(compared(200, 200), 0);
	assert_int_equal(compared(200, 204), 0); // within the noise
	assert_int_equal(compared(200, 180), 0); // better
	assert_int_equal(compared(200, 230), 3); // cycles, CPU time and rate
	json_t *a = record_of(200, 222), *b = record_of(230, 222);
	json_array_append_new(json_object_get(json_array_get(json_object_get(b, "rows"), 0), "void"), json_string("x"));
	FILE *f = fopen("/dev/null", "we");
	assert_int_equal(compare_print(f, a, b), -1); // void rows are not compared
	fclose(f);
	json_decref(a);
	json_decref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_interval_holds),
		cmocka_unit_test(test_ratio),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_pairs_of_one_placement),
		cmocka_unit_test(test_noise_floor),
		cmocka_unit_test(test_driver_limit),
		cmocka_unit_test(test_void_rows),
		cmocka_unit_test(test_cross_check),
		cmocka_unit_test(test_compare),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
