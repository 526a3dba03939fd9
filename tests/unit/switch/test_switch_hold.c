// Held frames: short pauses lose nothing, stopped guests find their frames where they start again, in order, ahead of
// newer ones; old ones and those that would go back are dropped and counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "guestbed.h"
#include "net/eth.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29 | UINT64_C(1) << 28)

static uint8_t mac_a[6], mac_b[6];

static void pair(struct guestbed *a, struct guestbed *b, struct dp *dp)
{
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	gb_open(a, dp, &ca, F_USUAL, 0, true);
	gb_open(b, dp, &cb, F_USUAL, 0, true);
	assert_true(gb_send_no(a, mac_b, mac_a, 0, 64));
	assert_int_equal(gb_recv_no(b, 2000), 0);
	assert_true(gb_send_no(b, mac_a, mac_b, 0, 64));
	assert_int_equal(gb_recv_no(a, 2000), 0);
}

static void send_range(struct guestbed *g, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_true(gb_send_no(g, mac_b, mac_a, i, 100));
	assert_true(gb_wait_tx_done(g, 2000));
}

static void expect_range(struct guestbed *g, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(gb_recv_no(g, 2000), i);
}

// A short pause: more frames than the ring has buffers, a broadcast among them; all arrive, in order.
static void test_pause(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	for (unsigned round = 0; round < 5; round++) {
		gb_stop(&b, DP_RX_PAUSED);
		send_range(&a, 0, 100);
		assert_true(gb_send_no(&a, frame_broadcast, mac_a, 100, 64));
		assert_true(gb_wait_tx_done(&a, 2000));
		assert_int_equal(dp_hold_level(b.port).held, 101);
		gb_run(&b);
		assert_true(gb_send_no(&a, mac_b, mac_a, 101, 100)); // newer, behind them
		expect_range(&b, 0, 102);
		assert_int_equal(dp_hold_level(b.port).held, 0);
		assert_int_equal(dp_hold_level(b.port).bytes, 0);
	}
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_stop_and_move(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	pair(&a, &b, dp);
	struct dp_port_conf cc = gb_conf("c");
	gb_open(&c, dp, &cc, F_USUAL, 0, false);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, 50);
	assert_int_equal(dp_hold_level(b.port).held, 50);
	gb_post(&c, GB_RING);
	gb_run(&c); // the guest runs there
	dp_mac_move(b.port, c.port);
	dp_hold_move(b.port, c.port);
	send_range(&a, 50, 60);
	expect_range(&c, 0, 60);
	assert_int_equal(gb_recv_no(&b, 50), -1);
	assert_int_equal(dp_hold_level(b.port).held, 0);
	struct dp_stats st;
	dp_port_stats(c.port, &st);
	assert_int_equal(st.hold_delivered, 50);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// The addresses move before the rings are in: what comes in between waits.
static void test_move_ahead_of_rings(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	pair(&a, &b, dp);
	struct dp_port_conf cc = gb_conf("c");
	gb_open(&c, dp, &cc, F_USUAL, 0, false);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, 5);
	dp_mac_move(b.port, c.port);
	send_range(&a, 5, 10); // nobody is at c yet
	gb_post(&c, GB_RING);
	gb_run(&c);
	send_range(&a, 10, 15);
	expect_range(&c, 0, 15);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// A sender that never stops, to a guest that takes what it can: what waited goes, newer frames wait in the sender's ring meanwhile, and then
// nothing is held any more.
static void test_sender_waits(void **state)
{
	(void)state;
	struct dp *dp = gb_dp_stall(1, 5000000);
	struct guestbed a, b;
	uint64_t sent = 0, got = 0;
	pair(&a, &b, dp);
	gb_stop(&b, DP_RX_STOPPED);
	for (; sent < 5 * GB_RING; sent++)
		assert_true(gb_send_no(&a, mac_b, mac_a, sent, 100));
	assert_true(gb_wait_tx_done(&a, 2000));
	assert_int_equal(dp_hold_level(b.port).held, sent);
	gb_run(&b);
	while (got < 5 * GB_RING) {
		assert_int_equal(gb_recv_no(&b, 2000), got++);
		if (sent < 6 * GB_RING)
			assert_true(gb_send_no(&a, mac_b, mac_a, sent++, 100));
	}
	expect_range(&b, got, sent);
	assert_int_equal(dp_hold_level(b.port).held, 0);
	struct dp_stats st;
	dp_port_stats(b.port, &st);
	assert_int_equal(st.hold_delivered, 5 * GB_RING);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

// A frame that waits for a full receiver is charged once, whatever it tries meanwhile.
static void test_rate_of_who_waits(void **state)
{
	(void)state;
	enum { LEN = 1000, TRIES = 100 };
	for (unsigned out = 0; out < 2; out++) {
		struct dp *dp = gb_dp_stall(1, 5000000);
		struct dp_port_conf conf = gb_conf(out ? "b" : "a");
		struct guestbed a, b;
		struct dp_stats st;
		pair(&a, &b, dp);
		*(out ? &conf.rate_out : &conf.rate_in) = (GB_RING + 2) * LEN * 8;
		dp_port_reconf(dp, out ? b.port : a.port, &conf);
		for (unsigned i = 0; i < GB_RING; i++)
			assert_true(gb_send_no(&a, mac_b, mac_a, i, LEN));
		assert_true(gb_wait_tx_done(&a, 2000));
		assert_true(gb_send_no(&a, mac_b, mac_a, GB_RING, LEN)); // b has no buffer for it
		for (unsigned i = 0; i < TRIES; i++) {
			uint64_t one = 1;
			assert_int_equal(write(b.kick[0], &one, sizeof(one)), sizeof(one));
			usleep(100);
		}
		expect_range(&b, 0, GB_RING + 1);
		dp_port_stats(out ? b.port : a.port, &st);
		assert_int_equal((out ? st.drops_out : st.drops_in)[DP_DROP_RATE], 0);
		gb_close(&a);
		gb_close(&b);
		dp_free(dp);
	}
}

// A guest that has just arrived and is slow at first: what does not fit into its ring is kept, in order; later a receiver
// that takes nothing loses frames as ever.
static void test_slow_start(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	struct dp_port_conf cb = gb_conf("b");
	cb.hold_ms = 1500;
	dp_port_reconf(dp, b.port, &cb);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, GB_RING);
	gb_run(&b); // the ring is full at once
	usleep(20000);
	send_range(&a, GB_RING, 4 * GB_RING); // and it takes nothing for longer than a sender is held up
	usleep(20000);
	expect_range(&b, 0, 4 * GB_RING);
	assert_int_equal(gb_recv_no(&b, 30), -1);
	usleep(1500000);
	send_range(&a, 0, 3 * GB_RING);
	struct dp_stats st;
	dp_port_stats(b.port, &st);
	assert_int_equal(st.drops_out[DP_DROP_FULL], 2 * GB_RING);
	expect_range(&b, 0, GB_RING);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_return(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, 30);
	gb_run(&b);
	dp_hold_move(b.port, b.port);
	send_range(&a, 30, 40);
	expect_range(&b, 0, 40);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_too_old(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	struct dp_port_conf cb = gb_conf("b");
	cb.hold_ms = 50;
	dp_port_reconf(dp, b.port, &cb);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, 10);
	uint64_t due = dp_hold_due(b.port);
	assert_true(due > clock_boot_us() - 1000000 && due < clock_boot_us() + 60000);
	usleep(60000);
	dp_hold_expire(b.port, clock_boot_us());
	assert_int_equal(dp_hold_level(b.port).held, 0);
	assert_int_equal(dp_hold_due(b.port), 0);
	struct dp_stats st;
	dp_port_stats(b.port, &st);
	assert_int_equal(st.hold_dropped, 10);
	assert_int_equal(st.drops_out[DP_DROP_HOLD_OLD], 10);
	gb_run(&b);
	assert_int_equal(gb_recv_no(&b, 50), -1);
	send_range(&a, 10, 12);
	expect_range(&b, 10, 12);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_one_address(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	pair(&a, &b, dp);
	struct dp_port_conf cc = gb_conf("c");
	gb_open(&c, dp, &cc, F_USUAL, 0, false);
	uint8_t mac_b2[6];
	frame_mac(mac_b2, 22);
	assert_true(dp_mac_claim(b.port, mac_key(mac_b2), 0, DP_MAC_CLAIMED));
	gb_stop(&b, DP_RX_STOPPED);
	for (uint64_t i = 0; i < 20; i++)
		assert_true(gb_send_no(&a, i % 2 ? mac_b2 : mac_b, mac_a, i, 100));
	assert_true(gb_wait_tx_done(&a, 2000));
	gb_post(&c, GB_RING);
	gb_run(&c);
	assert_true(dp_mac_claim(c.port, mac_key(mac_b2), 0, DP_MAC_CLAIMED));
	dp_hold_move_mac(b.port, c.port, mac_key(mac_b2));
	for (uint64_t i = 1; i < 20; i += 2)
		assert_int_equal(gb_recv_no(&c, 2000), i);
	assert_int_equal(dp_hold_level(b.port).held, 10);
	gb_run(&b);
	for (uint64_t i = 0; i < 20; i += 2)
		assert_int_equal(gb_recv_no(&b, 2000), i);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// Never back out of the port it came in on; nothing for a port that nobody has been at.
static void test_refused(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	gb_stop(&b, DP_RX_STOPPED);
	send_range(&a, 0, 5);
	dp_hold_move(b.port, a.port); // the guest that sent them took over the address
	usleep(20000);
	assert_int_equal(gb_recv_no(&a, 50), -1);
	struct dp_stats st;
	dp_port_stats(a.port, &st);
	assert_int_equal(st.drops_out[DP_DROP_HOLD_BACK], 5);
	dp_port_rx_state(b.port, DP_RX_OFF);
	send_range(&a, 5, 8);
	dp_port_stats(b.port, &st);
	assert_int_equal(st.drops_out[DP_DROP_NO_PORT], 3);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

// The pause ends because the guest is gone: what it has left gets too old, as do the frames behind.
static void test_pause_becomes_stop(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	pair(&a, &b, dp);
	struct dp_port_conf cb = gb_conf("b");
	cb.hold_ms = 50;
	dp_port_reconf(dp, b.port, &cb);
	gb_stop(&b, DP_RX_PAUSED);
	send_range(&a, 0, 10);
	usleep(80000);
	dp_hold_expire(b.port, clock_boot_us());
	assert_int_equal(dp_hold_level(b.port).held, 10); // a pause loses nothing
	dp_port_rx_state(b.port, DP_RX_STOPPED);
	uint64_t due = dp_hold_due(b.port);
	assert_true(due != 0 && due < clock_boot_us() + 60000);
	send_range(&a, 10, 15);
	usleep(70000);
	dp_hold_expire(b.port, clock_boot_us());
	assert_int_equal(dp_hold_level(b.port).held, 0);
	assert_int_equal(dp_hold_due(b.port), 0);
	struct dp_stats st;
	dp_port_stats(b.port, &st);
	assert_int_equal(st.drops_out[DP_DROP_HOLD_OLD], 15);
	gb_run(&b); // the next front end on that path
	send_range(&a, 15, 17);
	expect_range(&b, 15, 17);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

// Drained while its guest runs: nothing reaches it, all of it waits, broadcasts among it; nothing is learned.
static void test_drain(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	uint8_t mac_new[6];
	struct dp_stats st;
	frame_mac(mac_new, 9);
	pair(&a, &b, dp);
	dp_port_drain(b.port, true);
	send_range(&a, 0, 20);
	assert_true(gb_send_no(&a, frame_broadcast, mac_a, 20, 64));
	assert_int_equal(gb_recv_no(&b, 100), -1);
	assert_int_equal(dp_hold_level(b.port).held, 21);
	assert_true(dp_hold_due(b.port) != 0);
	assert_true(gb_send_no(&b, mac_a, mac_new, 0, 64)); // what it sends still goes out
	assert_int_equal(gb_recv_no(&a, 2000), 0);
	assert_int_equal(dp_macs_count(dp, NULL), 2);
	gb_stop(&b, DP_RX_PAUSED); // neither a pause nor new rings end it
	send_range(&a, 21, 25);
	gb_run(&b);
	assert_int_equal(gb_recv_no(&b, 100), -1);
	dp_port_drain(b.port, false);
	expect_range(&b, 0, 25);
	send_range(&a, 25, 30);
	expect_range(&b, 25, 30);
	dp_port_drain(b.port, true);
	send_range(&a, 30, 40);
	dp_hold_expire(b.port, clock_boot_us() + 3000000); // hold-ms counts as ever
	assert_int_equal(dp_hold_level(b.port).held, 0);
	dp_port_stats(b.port, &st);
	assert_int_equal(st.drops_out[DP_DROP_HOLD_OLD], 10);
	send_range(&a, 40, 42);
	assert_int_equal(gb_recv_no(&b, 100), -1); // still drained
	dp_port_drain(b.port, false);
	expect_range(&b, 40, 42);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static int setup(void **state)
{
	(void)state;
	frame_mac(mac_a, 1);
	frame_mac(mac_b, 2);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pause),	cmocka_unit_test(test_stop_and_move), cmocka_unit_test(test_return),
		cmocka_unit_test(test_move_ahead_of_rings), cmocka_unit_test(test_slow_start), cmocka_unit_test(test_sender_waits),
		cmocka_unit_test(test_rate_of_who_waits),
		cmocka_unit_test(test_too_old), cmocka_unit_test(test_one_address),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_pause_becomes_stop),  cmocka_unit_test(test_drain),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
