// What a snapshot refers to: every descriptor of it, and no other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "snap/snap.h"

static bool has(const struct snap_name *n, unsigned count, uint64_t seq, uint32_t place)
{
	unsigned found = 0;
	for (unsigned i = 0; i < count; i++)
		found += n[i].seq == seq && n[i].place == place;
	assert_true(found <= 1);
	return found == 1;
}

static void nothing(void **state)
{
	(void)state;
	struct snap s = { .port = "vm0" };
	struct snap_name n[SNAP_MAX_NAMES];
	assert_int_equal(snap_names(&s, n), 0);
	s.ring[3].call = SNAP_FD_POLL; // no descriptor, on purpose
	s.ring[3].started = true;
	assert_int_equal(snap_names(&s, n), 0);
}

// As much as one can hold: each name is another, so none is left out and none is in another's place.
static void everything(void **state)
{
	(void)state;
	struct snap s = { .port = "vm0", .n_regions = SNAP_MAX_REGIONS, .has_log = true, .log_from = 20, .bell_from = 21 };
	struct snap_name n[SNAP_MAX_NAMES];
	for (uint32_t i = 0; i < SNAP_MAX_REGIONS; i++)
		s.region[i] = (struct snap_region){ .guest_addr = i << 20, .size = 4096, .from = 10, .from_n = i };
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		s.ring[q].kick = s.ring[q].call = s.ring[q].err = SNAP_FD_GIVEN;
		s.ring[q].kick_from = 100 + q;
		s.ring[q].call_from = 200 + q;
		s.ring[q].err_from = 300 + q;
	}
	assert_int_equal(snap_names(&s, n), SNAP_MAX_NAMES);
	for (uint32_t i = 0; i < SNAP_MAX_REGIONS; i++)
		assert_true(has(n, SNAP_MAX_NAMES, 10, i));
	assert_true(has(n, SNAP_MAX_NAMES, 20, 0));
	assert_true(has(n, SNAP_MAX_NAMES, 21, 0));
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		for (uint64_t k = 100; k <= 300; k += 100)
			assert_true(has(n, SNAP_MAX_NAMES, k + q, 0));
}

// A region that is gone, a log that was let go of, a kick that was taken back: their descriptors are nobody's.
static void gone(void **state)
{
	(void)state;
	struct snap s = { .port = "vm0", .n_regions = 1, .log_from = 20, .bell_from = 21 };
	struct snap_name n[SNAP_MAX_NAMES];
	s.region[0] = (struct snap_region){ .size = 4096, .from = 10, .from_n = 3 };
	s.region[1] = (struct snap_region){ .size = 4096, .from = 10, .from_n = 4 };
	s.ring[0] = (struct snap_ring){ .kick = SNAP_FD_UNSET, .kick_from = 30, .err = SNAP_FD_GIVEN, .err_from = 31 };
	unsigned count = snap_names(&s, n);
	assert_int_equal(count, 3);
	assert_true(has(n, count, 10, 3));
	assert_true(has(n, count, 21, 0));
	assert_true(has(n, count, 31, 0));
	s.n_regions = UINT32_MAX; // a row that snap_check refuses does not lead out of the array either
	assert_true(snap_names(&s, n) <= SNAP_MAX_NAMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nothing), cmocka_unit_test(everything), cmocka_unit_test(gone) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
