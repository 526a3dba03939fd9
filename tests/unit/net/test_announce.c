// The announcement schedule in invented time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "announce/announce.h"
#include "base/bits.h"

static const uint8_t mac_a[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t mac_b[6] = { 0x52, 0x54, 0, 0, 0, 2 };

#define T0 UINT64_C(1000000000)
static const uint64_t grid[ANNOUNCE_ROUNDS] = { 0, 50000, 200000, 450000, 800000 };

static void expect_round(struct announce *a, uint64_t now, const char *port, const uint8_t mac[6], uint32_t round,
			 uint64_t next)
{
	struct announce_job job;
	assert_true(announce_take_due(a, now, &job));
	assert_string_equal(job.port, port);
	assert_memory_equal(job.mac, mac, 6);
	assert_int_equal(job.round, round);
	assert_int_equal(job.rounds, ANNOUNCE_ROUNDS);
	assert_int_equal(job.next_due_us, next);
}

static void expect_none(struct announce *a, uint64_t now)
{
	struct announce_job job;
	assert_false(announce_take_due(a, now, &job));
}

static void test_schedule(void **state)
{
	(void)state;
	static const uint64_t starts[] = { 0, 1, T0 };
	for (size_t s = 0; s < ARRAY_LEN(starts); s++) {
		uint64_t t0 = starts[s];
		struct announce *a = announce_new(4);
		assert_non_null(a);
		assert_int_equal(announce_next_due(a), 0);
		assert_true(announce_start(a, "vm0", mac_a, t0, NULL));
		assert_true(announce_running(a, "vm0", mac_a));
		for (uint32_t r = 0; r < ANNOUNCE_ROUNDS; r++) {
			uint64_t due = t0 + grid[r];
			assert_int_equal(announce_next_due(a), due ? due : 1); // 0 would say "nothing"
			if (due)
				expect_none(a, due - 1);
			expect_round(a, due, "vm0", mac_a, r + 1, r + 1 < ANNOUNCE_ROUNDS ? t0 + grid[r + 1] : 0);
			expect_none(a, due);
		}
		assert_int_equal(announce_next_due(a), 0);
		assert_false(announce_running(a, "vm0", mac_a));
		expect_none(a, UINT64_MAX);
		assert_true(announce_start(a, "vm0", mac_a, T0, NULL)); // and again
		announce_free(a);
	}
	announce_free(NULL);
}

static void test_trigger_inside_adds_nothing(void **state)
{
	(void)state;
	struct announce *a = announce_new(4);
	bool full = true;
	assert_true(announce_start(a, "vm0", mac_a, T0, &full));
	assert_false(full);
	expect_round(a, T0, "vm0", mac_a, 1, T0 + 50000);
	full = true;
	assert_false(announce_start(a, "vm0", mac_a, T0 + 10, &full));
	assert_false(full);
	assert_false(announce_resume(a, "vm0", mac_a, 0, T0 + 10));
	expect_none(a, T0 + 49999);
	expect_round(a, T0 + 50000, "vm0", mac_a, 2, T0 + 200000);
	assert_true(announce_start(a, "vm0", mac_b, T0 + 60000, NULL)); // another MAC, and the MAC at another port
	assert_true(announce_start(a, "vm1", mac_a, T0 + 60000, NULL));
	expect_round(a, T0 + 60000, "vm0", mac_b, 1, T0 + 110000);
	expect_round(a, T0 + 60000, "vm1", mac_a, 1, T0 + 110000);
	expect_none(a, T0 + 60000);
	announce_free(a);
}

// Exactly the owed rounds, whatever number was sent before the crash.
static void test_resume(void **state)
{
	(void)state;
	for (uint32_t done = 0; done < ANNOUNCE_ROUNDS; done++) {
		struct announce *a = announce_new(1);
		uint64_t shift = T0 + 12345;
		assert_true(announce_resume(a, "vm0", mac_a, done, shift + grid[done]));
		expect_none(a, shift + grid[done] - 1);
		for (uint32_t r = done; r < ANNOUNCE_ROUNDS; r++) {
			uint64_t next = r + 1 < ANNOUNCE_ROUNDS ? shift + grid[r + 1] : 0;
			assert_int_equal(announce_next_due(a), shift + grid[r]);
			expect_round(a, shift + grid[r], "vm0", mac_a, r + 1, next);
		}
		assert_int_equal(announce_next_due(a), 0);
		announce_free(a);
	}
	struct announce *a = announce_new(1);
	assert_false(announce_resume(a, "vm0", mac_a, ANNOUNCE_ROUNDS, T0));
	assert_false(announce_resume(a, "vm0", mac_a, UINT32_MAX, T0));
	assert_int_equal(announce_next_due(a), 0);
	announce_free(a);
}

static void test_cancel(void **state)
{
	(void)state;
	struct announce *a = announce_new(8);
	announce_cancel(a, "vm0", NULL); // nothing there
	announce_cancel(a, "vm0", mac_a);
	assert_true(announce_start(a, "vm0", mac_a, T0, NULL));
	assert_true(announce_start(a, "vm0", mac_b, T0 + 1, NULL));
	assert_true(announce_start(a, "vm1", mac_a, T0 + 2, NULL));
	assert_true(announce_start(a, "vm10", mac_a, T0 + 3, NULL));
	announce_cancel(a, "vm0", mac_a);
	assert_false(announce_running(a, "vm0", mac_a));
	assert_true(announce_running(a, "vm0", mac_b));
	assert_int_equal(announce_next_due(a), T0 + 1);
	assert_true(announce_start(a, "vm0", mac_a, T0 + 4, NULL));
	announce_cancel(a, "vm0", NULL);
	assert_false(announce_running(a, "vm0", mac_a) || announce_running(a, "vm0", mac_b));
	announce_cancel(a, "vm1", mac_b); // not that one
	expect_round(a, T0 + 10, "vm1", mac_a, 1, T0 + 2 + 50000);
	expect_round(a, T0 + 10, "vm10", mac_a, 1, T0 + 3 + 50000);
	expect_none(a, T0 + 10);
	announce_cancel(a, "vm1", mac_a);
	announce_cancel(a, "vm10", mac_a);
	assert_int_equal(announce_next_due(a), 0);
	announce_free(a);
}

static void test_full_and_names(void **state)
{
	(void)state;
	static const char longest[] = "abcdefghijklmnopqrstuvwxyz012345"; // 32
	struct announce *a = announce_new(2);
	bool full = false;
	assert_false(announce_start(a, "", mac_a, T0, &full));
	assert_false(announce_start(a, "abcdefghijklmnopqrstuvwxyz0123456", mac_a, T0, &full));
	assert_false(full);
	assert_true(announce_start(a, longest, mac_a, T0, &full));
	assert_true(announce_start(a, "vm1", mac_a, T0, &full));
	assert_false(full);
	assert_false(announce_start(a, "vm2", mac_a, T0, &full));
	assert_true(full);
	assert_false(announce_resume(a, "vm2", mac_a, 1, T0));
	assert_false(announce_start(a, "vm1", mac_a, T0, &full)); // runs already: that is the reason
	assert_false(full);
	expect_round(a, T0, longest, mac_a, 1, T0 + 50000);
	announce_cancel(a, longest, NULL);
	assert_true(announce_start(a, "vm2", mac_a, T0, &full)); // room again
	announce_free(a);
	a = announce_new(0);
	assert_false(announce_start(a, "vm0", mac_a, T0, &full));
	assert_true(full);
	announce_free(a);
}

static void test_late(void **state)
{
	(void)state;
	struct announce *a = announce_new(1);
	assert_true(announce_start(a, "vm0", mac_a, T0, NULL));
	expect_round(a, T0 + 49999, "vm0", mac_a, 1, T0 + 50000); // late, but not so late: the grid stays
	expect_round(a, T0 + 50000, "vm0", mac_a, 2, T0 + 200000);
	uint64_t now = T0 + 5000000; // a crash: the rest is long overdue, and does not go out as one burst
	expect_round(a, now, "vm0", mac_a, 3, now + 50000);
	expect_none(a, now);
	expect_round(a, now + 50000, "vm0", mac_a, 4, now + 400000);
	expect_round(a, now + 400000, "vm0", mac_a, 5, 0);
	assert_int_equal(announce_next_due(a), 0);
	announce_free(a);
}

// Many schedules that are due at the same moments: each moment gives every job once, in the order they were started.
static void test_many_equal(void **state)
{
	(void)state;
	enum { JOBS = 3000 };
	struct announce *a = announce_new(JOBS);
	uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 0 };
	char port[ANNOUNCE_PORT_MAX];
	for (unsigned i = 0; i < JOBS; i++) {
		mac[4] = (uint8_t)(i >> 8);
		mac[5] = (uint8_t)i;
		snprintf(port, sizeof(port), "vm%u", i % 7);
		assert_true(announce_start(a, port, mac, T0, NULL));
	}
	for (uint32_t r = 0; r < ANNOUNCE_ROUNDS; r++) {
		for (unsigned i = 0; i < JOBS; i++) {
			mac[4] = (uint8_t)(i >> 8);
			mac[5] = (uint8_t)i;
			snprintf(port, sizeof(port), "vm%u", i % 7);
			expect_round(a, T0 + grid[r], port, mac, r + 1, r + 1 < ANNOUNCE_ROUNDS ? T0 + grid[r + 1] : 0);
		}
		expect_none(a, T0 + grid[r]);
	}
	assert_int_equal(announce_next_due(a), 0);
	announce_free(a);
}

// Random starts, resumes, cancels and takes against a plain array.
struct model {
	bool on;
	uint32_t done;
	uint64_t due;
};

static uint32_t any(uint32_t below)
{
	static uint64_t seed = 88172645463325252u;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

static uint64_t model_due(const struct model *m, size_t n)
{
	uint64_t due = 0;
	for (size_t i = 0; i < n; i++)
		if (m[i].on && (due == 0 || m[i].due < due))
			due = m[i].due;
	return due;
}

static void model_take(struct announce *a, struct model *m, size_t n, uint64_t now)
{
	struct announce_job job;
	while (announce_take_due(a, now, &job)) {
		size_t i = (size_t)(job.port[2] - '0') * 8 + job.mac[5];
		assert_true(i < n && m[i].on && m[i].due <= now);
		assert_int_equal(m[i].due, model_due(m, n)); // the earliest one
		assert_int_equal(job.round, ++m[i].done);
		m[i].on = m[i].done < ANNOUNCE_ROUNDS;
		uint64_t due = m[i].due + ANNOUNCE_INITIAL_US + (m[i].done - 1) * ANNOUNCE_STEP_US;
		m[i].due = !m[i].on ? 0 : due > now ? due : now + ANNOUNCE_INITIAL_US;
		assert_int_equal(job.next_due_us, m[i].due);
	}
	assert_true(model_due(m, n) == 0 || model_due(m, n) > now);
}

static void test_against_model(void **state)
{
	(void)state;
	enum { PORTS = 5, N = PORTS * 8, ROOM = 25 };
	struct model m[N] = { 0 };
	struct announce *a = announce_new(ROOM);
	uint64_t now = T0;
	for (int step = 0; step < 30000; step++) {
		size_t i = any(N), running = 0;
		char port[] = { 'v', 'm', (char)('0' + i / 8), 0 };
		uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)(i % 8) };
		for (size_t j = 0; j < N; j++)
			running += m[j].on;
		now += any(30) * 1000;
		bool may = !m[i].on && running < ROOM;
		uint32_t what = any(40), done = any(ANNOUNCE_ROUNDS);
		if (what < 10) {
			assert_int_equal(announce_start(a, port, mac, now, NULL), may);
			if (may)
				m[i] = (struct model){ true, 0, now };
		} else if (what < 20) {
			assert_int_equal(announce_resume(a, port, mac, done, now + 500), may);
			if (may)
				m[i] = (struct model){ true, done, now + 500 };
		} else if (what < 23) {
			announce_cancel(a, port, mac);
			m[i].on = false;
		} else if (what == 23) {
			announce_cancel(a, port, NULL);
			for (size_t j = i / 8 * 8; j < i / 8 * 8 + 8; j++)
				m[j].on = false;
		} else {
			model_take(a, m, N, now);
		}
		assert_int_equal(announce_next_due(a), model_due(m, N));
		assert_int_equal(announce_running(a, port, mac), m[i].on);
	}
	announce_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedule), cmocka_unit_test(test_trigger_inside_adds_nothing),
		cmocka_unit_test(test_resume), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_full_and_names), cmocka_unit_test(test_late),
		cmocka_unit_test(test_many_equal), cmocka_unit_test(test_against_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
