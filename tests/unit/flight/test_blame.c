// Whose fault, and what follows: parks, budgets, what is forgiven.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "flight/blame.h"

#define MIN UINT64_C(60000000)
#define SIGNALED(s) (s) // as waitpid gives it
#define EXITED(n) ((n) << 8)

struct scene {
	struct blame_page *blame;
	struct flight_page *flight;
	int fds[2];
};

static int setup(void **state)
{
	static struct scene s;
	struct why why;
	*state = &s;
	return flight_make(&s.fds[0], &s.flight, &why) != OK || blame_make(&s.fds[1], &s.blame, &why) != OK;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	close(s->fds[0]);
	close(s->fds[1]);
	return 0;
}

static void faulty_ring(struct scene *s, unsigned port, unsigned q)
{
	flight_reset(s->flight);
	snprintf(s->flight->port[port], FLIGHT_NAME_MAX, "vm%u", port);
	s->flight->fault = (struct flight_fault){ .claimed = 1, .whole = 1, .slot = 0, .signal = SIGSEGV, .at = FLIGHT_AT(port, q, 9) };
}

static void faulty_message(struct scene *s, unsigned port, uint64_t conn)
{
	flight_reset(s->flight);
	snprintf(s->flight->hand.port, FLIGHT_NAME_MAX, "vm%u", port);
	s->flight->fault = (struct flight_fault){ .claimed = 1, .whole = 1, .slot = FLIGHT_CONTROL, .signal = SIGABRT, .doing = FLIGHT_MESSAGE,
						  .conn = conn, .seq = 3 };
}

static uint64_t ring_death(struct scene *s, unsigned port, unsigned q, uint64_t now)
{
	faulty_ring(s, port, q);
	return blame_death(s->blame, s->flight, SIGNALED(SIGSEGV), -1, now);
}

static const struct blame_port *of(struct scene *s, const char *port)
{
	const struct blame_port *p = blame_of(s->blame, port);
	assert_non_null(p);
	return p;
}

static void ring_twice(void **state)
{
	struct scene *s = *state;
	assert_int_equal(ring_death(s, 1, 4, MIN), 0);
	assert_int_equal(of(s, "vm1")->parked, 0);
	ring_death(s, 1, 5, MIN); // another ring, another port: each for itself
	ring_death(s, 2, 4, MIN);
	assert_int_equal(of(s, "vm1")->parked, 0);
	ring_death(s, 1, 4, 2 * MIN);
	assert_int_equal(of(s, "vm1")->parked, 1);
	assert_int_equal(of(s, "vm1")->ring, 4);
	assert_int_equal(of(s, "vm1")->crashes, 3);
	assert_non_null(strstr(of(s, "vm1")->reason, "ring 4"));
	assert_int_equal(of(s, "vm2")->parked, 0);
	ring_death(s, 2, 4, 3 * MIN);
	assert_int_equal(of(s, "vm2")->parked, 2);
	blame_release(s->blame, "vm1");
	assert_int_equal(of(s, "vm1")->parked, 0);
	assert_int_equal(of(s, "vm1")->crashes, 3);
	ring_death(s, 1, 4, 3 * MIN);
	assert_int_equal(of(s, "vm1")->parked, 0); // all was forgiven
	blame_release(s->blame, "nobody");
}

static void long_ago(void **state)
{
	struct scene *s = *state;
	for (unsigned i = 1; i < 20; i++)
		ring_death(s, 1, 4, i * 11 * MIN);
	assert_int_equal(of(s, "vm1")->parked, 0);
	assert_int_equal(of(s, "vm1")->crashes, 19);
	for (unsigned i = 0; i < 20; i++) // four in ten minutes, by different rings
		ring_death(s, 3, i, i * MIN * 31 / 10 + 1);
	assert_int_equal(of(s, "vm3")->parked, 0);
	for (unsigned i = 0; i < 5; i++)
		ring_death(s, 4, i, i * MIN * 2 + 1);
	assert_int_equal(of(s, "vm4")->parked, 1);
}

static void messages(void **state)
{
	struct scene *s = *state;
	for (unsigned i = 1; i <= 5; i++) {
		faulty_message(s, 6, 40 + i);
		assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGABRT), -1, i * MIN), 40 + i);
		assert_int_equal(of(s, "vm6")->parked, i == 5);
	}
	assert_int_equal(of(s, "vm6")->ring, -1);
}

static void nobody(void **state)
{
	struct scene *s = *state;
	faulty_ring(s, 1, 1);
	s->flight->hand = (struct flight_hand){ .doing = FLIGHT_MESSAGE, .conn = 5, .seq = 6, .port = "vm1" };
	s->flight->fault.whole = 0; // killed from outside, while a message and a ring were in hand
	s->flight->thread[0].at = FLIGHT_AT(1, 1, 1);
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGKILL), -1, MIN), 0);
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGSEGV), -1, MIN), 0);
	s->flight->fault.whole = 1; // a fault was noted, but it died of something else
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGKILL), -1, MIN), 0);
	assert_null(blame_of(s->blame, "vm1"));
	flight_reset(s->flight); // its own, with nothing in hand
	s->flight->fault = (struct flight_fault){ .claimed = 1, .whole = 1, .slot = FLIGHT_CONTROL, .signal = SIGABRT, .conn = 4 };
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGABRT), -1, MIN), 0);
	s->flight->fault.slot = -1;
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGABRT), -1, MIN), 0);
}

static void hung_and_ended(void **state)
{
	struct scene *s = *state;
	faulty_ring(s, 1, 1);
	s->flight->fault.whole = 0;
	s->flight->thread[2].at = FLIGHT_AT(1, 7, 1);
	s->flight->hand = (struct flight_hand){ .doing = FLIGHT_MESSAGE, .conn = 5, .seq = 6, .port = "vm9" };
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGABRT), 2, MIN), 0);
	assert_int_equal(of(s, "vm1")->ringed[7].n, 1);
	assert_int_equal(blame_death(s->blame, s->flight, SIGNALED(SIGKILL), FLIGHT_CONTROL, MIN), 5);
	assert_int_equal(blame_death(s->blame, s->flight, EXITED(3), -1, MIN), 5);
	assert_int_equal(of(s, "vm9")->crashes, 2);
	s->flight->hand.doing = FLIGHT_NOTHING;
	assert_int_equal(blame_death(s->blame, s->flight, EXITED(3), -1, MIN), 0);
}

// What a worker that went wrong may have left in the page.
static void rubbish(void **state)
{
	struct scene *s = *state;
	for (unsigned i = 0; i < 2000; i++) {
		flight_reset(s->flight);
		uint8_t *p = (uint8_t *)s->flight + 8;
		for (size_t k = 0; k < sizeof(*s->flight) - 8; k++)
			p[k] = (uint8_t)((i * 2654435761u + k * 40503u * (i + 1)) >> 7);
		s->flight->fault.whole = 1;
		s->flight->fault.signal = SIGSEGV;
		s->flight->fault.slot = (int)(i % 23) - 3;
		blame_death(s->blame, s->flight, SIGNALED(SIGSEGV), -1, i * MIN);
		blame_death(s->blame, s->flight, SIGNALED(SIGABRT), (int)(i % 17), i * MIN);
		assert_true(memchr(s->blame->last, 0, sizeof(s->blame->last)) != NULL);
	}
	// the table is full of names that no port has: one that has one still gets in
	ring_death(s, 1, 4, 9000 * MIN);
	ring_death(s, 1, 4, 9000 * MIN);
	assert_true(of(s, "vm1")->parked != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ring_twice, setup, teardown), cmocka_unit_test_setup_teardown(long_ago, setup, teardown),
		cmocka_unit_test_setup_teardown(messages, setup, teardown), cmocka_unit_test_setup_teardown(nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(hung_and_ended, setup, teardown), cmocka_unit_test_setup_teardown(rubbish, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
