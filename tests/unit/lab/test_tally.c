// The loss counter: a stream that arrives whole, and one fault at a time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lab/tally.h"

#define SIZE 300
#define COUNT 1000
#define START_US 1000000

static struct tally *tally;

static int set_up(void **state)
{
	(void)state;
	tally = tally_new();
	if (!tally)
		return -1;
	tally_reset(tally, 7, SIZE, 2, START_US);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tally_free(tally);
	return 0;
}

static void give(uint16_t stream, uint64_t seq, uint64_t at_us)
{
	uint8_t d[SIZE];
	lab_datagram_fill(d, SIZE, 7, stream, seq, at_us);
	tally_take(tally, d, SIZE, at_us);
}

// All of both streams, 1 ms apart, but not `drop` of stream 0.
static void give_all(uint64_t drop)
{
	for (uint64_t i = 0; i < COUNT; i++) {
		if (i != drop)
			give(0, i, START_US + i * 1000);
		give(1, i, START_US + i * 1000 + 500);
	}
}

static void test_whole(void **state)
{
	(void)state;
	unsigned ranges;
	give_all(UINT64_MAX);
	assert_int_equal(tally->counts.unique, 2 * COUNT);
	assert_int_equal(tally->counts.received, 2 * COUNT);
	assert_int_equal(tally->counts.repeated + tally->counts.corrupt + tally->counts.reordered, 0);
	assert_int_equal(tally->counts.gap_us, 500);
	assert_int_equal(tally_holes(tally, 0, COUNT, NULL, NULL, 0, &ranges), 0);
	assert_int_equal(tally->bins[0], 20);
}

static void test_dropped(void **state)
{
	(void)state;
	uint64_t from[2], to[2];
	unsigned ranges;
	give_all(400);
	assert_int_equal(tally->counts.unique, 2 * COUNT - 1);
	assert_int_equal(tally_holes(tally, 0, COUNT, from, to, 2, &ranges), 1);
	assert_int_equal(ranges, 1);
	assert_int_equal(from[0], 400);
	assert_int_equal(to[0], 400);
	assert_int_equal(tally_holes(tally, 1, COUNT, NULL, NULL, 0, NULL), 0);
	assert_int_equal(tally->counts.gap_us, 1000);
}

static void test_dropped_at_the_end(void **state)
{
	(void)state;
	give_all(COUNT - 1);
	assert_int_equal(tally_holes(tally, 0, COUNT, NULL, NULL, 0, NULL), 1);
}

static void test_repeated(void **state)
{
	(void)state;
	give_all(UINT64_MAX);
	give(1, 12, START_US + 2000000);
	assert_int_equal(tally->counts.repeated, 1);
	assert_int_equal(tally->counts.unique, 2 * COUNT);
}

static void test_reordered(void **state)
{
	(void)state;
	give(0, 0, START_US);
	give(0, 2, START_US + 1);
	give(0, 1, START_US + 2);
	assert_int_equal(tally->counts.reordered, 1);
	assert_int_equal(tally->counts.unique, 3);
}

// Every single byte that is changed shows: as corrupt, never as a good datagram.
static void test_corrupt_byte(void **state)
{
	(void)state;
	for (size_t at = 0; at < SIZE; at++) {
		uint8_t d[SIZE];
		lab_datagram_fill(d, SIZE, 7, 0, 5, 1);
		if (at >= offsetof(struct lab_datagram, reserved) && at < offsetof(struct lab_datagram, seq))
			continue; // says nothing
		if (at >= offsetof(struct lab_datagram, sent_us) && at < sizeof(struct lab_datagram))
			continue; // not covered by the pattern
		d[at] ^= 0x10;
		tally_reset(tally, 7, SIZE, 2, START_US);
		tally_take(tally, d, SIZE, START_US);
		assert_int_equal(tally->counts.unique, 0);
		assert_int_equal(tally->counts.corrupt, 1);
	}
}

static void test_corrupt_length(void **state)
{
	(void)state;
	uint8_t d[SIZE + 1] = { 0 };
	lab_datagram_fill(d, SIZE, 7, 0, 5, 1);
	tally_take(tally, d, SIZE - 1, START_US);
	tally_take(tally, d, SIZE + 1, START_US);
	tally_take(tally, d, 3, START_US);
	tally_take(tally, d, 0, START_US);
	assert_int_equal(tally->counts.corrupt, 4);
	assert_int_equal(tally->counts.unique, 0);
}

static void test_other_run(void **state)
{
	(void)state;
	uint8_t d[SIZE];
	lab_datagram_fill(d, SIZE, 6, 0, 5, 1);
	tally_take(tally, d, SIZE, START_US);
	assert_int_equal(tally->counts.other_run, 1);
	assert_int_equal(tally->counts.received, 0);
}

static void test_gap(void **state)
{
	(void)state;
	give(0, 0, START_US);
	give(0, 1, START_US + 70000);
	give(0, 2, START_US + 71000);
	assert_int_equal(tally->counts.gap_us, 70000);
	assert_int_equal(tally->counts.gap_end_us, START_US + 70000);
	tally_gap_add(&tally->counts, 80000, START_US + 400000);
	assert_int_equal(tally->counts.second_us, 70000);
	tally_gap_add(&tally->counts, 75000, START_US + 500000);
	assert_int_equal(tally->counts.gap_us, 80000);
	assert_int_equal(tally->counts.gap_end_us, START_US + 400000);
	assert_int_equal(tally->counts.second_us, 75000);
}

static void test_reset_forgets(void **state)
{
	(void)state;
	give_all(UINT64_MAX);
	tally_reset(tally, 7, SIZE, 2, START_US);
	assert_int_equal(tally_holes(tally, 0, COUNT, NULL, NULL, 0, NULL), COUNT);
	give_all(UINT64_MAX);
	assert_int_equal(tally->counts.repeated, 0);
}

static void test_look(void **state)
{
	(void)state;
	give(0, 0, START_US);
	give(0, 1, START_US + 2000);
	assert_int_equal(tally_look(tally).n, 0); // 2 ms is no gap
	give(0, 2, START_US + 12000);
	give(0, 3, START_US + 19000);
	struct tally_window w = tally_look(tally);
	assert_int_equal(w.n, 2);
	assert_int_equal(w.gap[0].us, 10000);
	assert_int_equal(w.gap[0].end_us, START_US + 12000);
	assert_int_equal(w.gap[1].us, 7000);
	assert_int_equal(w.last_us, START_US + 19000);
	w = tally_look(tally);
	assert_int_equal(w.n, 0);
	assert_int_equal(w.last_us, START_US + 19000);
	// the longest ones are kept, whatever came before or after them
	uint64_t at = START_US + 19000, shortest = UINT64_MAX;
	for (unsigned i = 0; i < 3 * TALLY_GAPS; i++)
		give(0, 4 + i, at += 4000 + (i * 37 % (3 * TALLY_GAPS)) * 10);
	w = tally_look(tally);
	assert_int_equal(w.n, TALLY_GAPS);
	for (unsigned i = 0; i < w.n; i++)
		shortest = w.gap[i].us < shortest ? w.gap[i].us : shortest;
	assert_int_equal(shortest, 4000 + 2 * TALLY_GAPS * 10);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_whole), T(test_dropped), T(test_dropped_at_the_end), T(test_repeated), T(test_reordered),
		T(test_corrupt_byte), T(test_corrupt_length), T(test_other_run), T(test_gap), T(test_look), T(test_reset_forgets) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
