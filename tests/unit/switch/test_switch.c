// Frames between guests: learning, flooding, split horizon, order, back-pressure, bad buffers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cycles.h"
#include "base/guard.h"
#include "guestbed.h"
#include "net/eth.h"

#define F_V1 (UINT64_C(1) << 32)
#define F_MRG (UINT64_C(1) << 15)
#define F_EVENT (UINT64_C(1) << 29)
#define F_USUAL (F_V1 | F_MRG | F_EVENT | UINT64_C(1) << 28)

static uint8_t mac_a[6], mac_b[6], mac_c[6];

static void two(struct guestbed *a, struct guestbed *b, struct dp *dp, uint64_t features, uint16_t base)
{
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	gb_open(a, dp, &ca, features, base, true);
	gb_open(b, dp, &cb, features, base, true);
}

static uint64_t drops(struct guestbed *g, bool in, enum dp_drop d)
{
	struct dp_stats st;
	dp_port_stats(g->port, &st);
	return in ? st.drops_in[d] : st.drops_out[d];
}

static void exchange(struct guestbed *a, struct guestbed *b, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		assert_true(gb_send_no(a, mac_b, mac_a, i, len));
		assert_int_equal(gb_recv_no(b, 2000), i);
		assert_true(gb_send_no(b, mac_a, mac_b, i, len));
		assert_int_equal(gb_recv_no(a, 2000), i);
	}
}

static void run_exchange(uint64_t features, uint16_t base, unsigned threads)
{
	struct dp *dp = gb_dp(threads);
	struct guestbed a, b;
	two(&a, &b, dp, features, base);
	exchange(&a, &b, 300, 64);
	exchange(&a, &b, 100, 1500);
	assert_true(gb_wait_tx_done(&a, 1000));
	gb_stop(&a, DP_RX_STOPPED);
	assert_int_equal(ring_base(a.ring[1]), vq_base(&a.q[1]));
	assert_int_equal(ring_base_now(a.ring[1]), vq_base(&a.q[1]));
	if (a.ring[1]->packed)
		assert_int_equal(pring_of(a.ring[1])->out, 0);
	else
		assert_int_equal(a.ring[1]->last_avail, a.ring[1]->last_used);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_exchange(void **state)
{
	(void)state;
	run_exchange(F_USUAL, 0, 1);
	run_exchange(F_V1, 0, 1); // neither mergeable nor event index
	run_exchange(F_USUAL, 65500, 1); // over the wrap of the indices
	run_exchange(F_USUAL, 0, 3);
}

static void test_burst_order(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	two(&a, &b, dp, F_USUAL, 0);
	exchange(&a, &b, 1, 64);
	uint64_t sent = 0, got = 0;
	while (got < 5000) { // the receiver lags now and then: back-pressure, no loss
		for (unsigned i = 0; i < 40 && sent < 5000; i++, sent++)
			assert_true(gb_send_no(&a, mac_b, mac_a, sent, 60 + (uint32_t)(sent % 1400)));
		int64_t no;
		while (got < sent && (no = gb_recv_no(&b, 2000)) >= 0)
			assert_int_equal(no, got++);
	}
	assert_int_equal(drops(&b, false, DP_DROP_FULL), 0);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static void test_flood_and_learn(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c, other;
	two(&a, &b, dp, F_USUAL, 0);
	struct dp_port_conf cc = gb_conf("c"), co = gb_conf("other");
	strcpy(co.net, "elsewhere");
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	gb_open(&other, dp, &co, F_USUAL, 0, true);
	assert_true(gb_send_no(&a, mac_b, mac_a, 1, 64)); // unknown: everybody of the net
	assert_int_equal(gb_recv_no(&b, 2000), 1);
	assert_int_equal(gb_recv_no(&c, 2000), 1);
	assert_true(gb_send_no(&b, mac_a, mac_b, 2, 64)); // learned
	assert_int_equal(gb_recv_no(&a, 2000), 2);
	assert_true(gb_send_no(&a, mac_b, mac_a, 3, 64));
	assert_int_equal(gb_recv_no(&b, 2000), 3);
	assert_true(gb_send_no(&a, frame_broadcast, mac_a, 4, 64));
	assert_int_equal(gb_recv_no(&b, 2000), 4);
	assert_int_equal(gb_recv_no(&c, 2000), 4); // neither 2 nor 3
	assert_int_equal(gb_recv_no(&other, 100), -1);
	assert_int_equal(gb_recv_no(&a, 50), -1); // never back where it came from
	assert_int_equal(dp_macs_count(dp, "default"), 2);
	gb_close(&c);
	gb_close(&other);
	gb_close(&b);
	assert_int_equal(dp_macs_count(dp, NULL), 1);
	gb_close(&a);
	dp_free(dp);
}

static void test_group_and_filter(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b"), cc = gb_conf("c");
	strcpy(ca.group, "up");
	strcpy(cb.group, "up");
	cc.filter_mac = true;
	cc.n_macs = 1;
	cc.macs[0] = mac_key(mac_c);
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	assert_true(gb_send_no(&a, frame_broadcast, mac_a, 1, 64));
	assert_int_equal(gb_recv_no(&c, 2000), 1);
	assert_int_equal(gb_recv_no(&b, 50), -1);
	assert_true(gb_send_no(&b, mac_a, mac_b, 2, 64)); // known, but of the same group
	assert_true(gb_send_no(&c, mac_a, mac_b, 3, 64)); // forged source
	assert_true(gb_send_no(&c, mac_a, mac_c, 4, 64));
	assert_int_equal(gb_recv_no(&a, 2000), 4);
	assert_true(gb_send_no(&a, mac_b, mac_c, 5, 64)); // a forges c's configured address
	assert_true(gb_wait_tx_done(&a, 1000) && gb_wait_tx_done(&b, 1000));
	assert_int_equal(drops(&b, true, DP_DROP_GROUP), 1);
	assert_int_equal(drops(&c, true, DP_DROP_SOURCE), 1);
	assert_int_equal(drops(&a, true, DP_DROP_SOURCE), 1);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// mac= says whose an address is, not where: when its port has no guest, the address is learned elsewhere.
static void test_configured_moves(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b"), cc = gb_conf("c");
	cc.n_macs = 1;
	cc.macs[0] = mac_key(mac_c);
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	assert_true(gb_send_no(&a, mac_c, mac_a, 1, 64));
	assert_int_equal(gb_recv_no(&c, 2000), 1);
	assert_true(gb_send_no(&b, mac_a, mac_c, 2, 64)); // while it runs there: forged
	assert_true(gb_wait_tx_done(&b, 1000));
	assert_int_equal(drops(&b, true, DP_DROP_SOURCE), 1);
	gb_stop(&c, DP_RX_STOPPED);
	assert_true(gb_send_no(&b, mac_a, mac_c, 3, 64)); // it is behind b now
	assert_int_equal(gb_recv_no(&a, 2000), 3);
	assert_true(gb_send_no(&a, mac_c, mac_a, 4, 64));
	assert_int_equal(gb_recv_no(&b, 2000), 4);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// A receiver that posts nothing holds a sender up for a moment, then its frames are dropped and others are served.
static void test_dead_receiver(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	cb.hold_ms = 0; // or what does not fit just after the start would be kept
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	struct dp_port_conf cc = gb_conf("c");
	exchange(&a, &b, 1, 64); // c is not there yet: it does not see the first frame flooded
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	assert_true(gb_send_no(&c, mac_a, mac_c, 9, 64));
	assert_int_equal(gb_recv_no(&a, 2000), 9);
	for (unsigned i = 0; i < 3 * GB_RING; i++) // b takes nothing from now on
		assert_true(gb_send_no(&a, mac_b, mac_a, i, 64));
	assert_true(gb_wait_tx_done(&a, 2000));
	assert_int_equal(drops(&b, false, DP_DROP_FULL), 2 * GB_RING);
	assert_true(gb_send_no(&a, mac_c, mac_a, 7, 64));
	assert_int_equal(gb_recv_no(&c, 2000), 7);
	for (unsigned i = 0; i < GB_RING; i++)
		assert_int_equal(gb_recv_no(&b, 2000), i);
	exchange(&a, &b, 5, 64); // alive again
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// Transmit chains that can't be used are given back and counted; the ring goes on.
static void test_bad_chains(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	two(&a, &b, dp, F_USUAL, 0);
	exchange(&a, &b, 1, 64);
	struct vq *q = &a.q[1];
	const struct vq_buf bad[] = {
		{ .gpa = 0x10, .len = 100 }, // outside memory
		{ .gpa = a.buf_gpa[1], .len = 20 }, // shorter than header and Ethernet
		{ .gpa = UINT64_MAX - 10, .len = 100 }, // wraps
		{ .gpa = a.buf_gpa[1], .len = 0 },
		{ .gpa = a.buf_gpa[1], .len = 100, .write = true }, // wrong direction
		{ .gpa = a.buf_gpa[1], .len = 3u << 20 }, // longer than any frame
	};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(vq_add(q, &bad[i], 1, i));
	vq_publish(q, true);
	assert_true(gb_wait_tx_done(&a, 1000));
	struct vq_buf ok = { .gpa = a.buf_gpa[1], .len = 100 };
	if (!q->packed) {
		assert_true(vq_add(q, &ok, 1, 0));
		uint16_t head = (uint16_t)(q->avail[2 + (uint16_t)(q->next_avail - 1) % GB_RING]);
		q->desc[head].flags = VQ_NEXT;
		q->desc[head].next = head; // loops
		vq_publish(q, true);
		assert_true(gb_wait_tx_done(&a, 1000));
		q->desc[head].flags = 0;
	}
	const struct vq_buf chain[] = { ok, bad[0], ok };
	assert_true(vq_add(q, chain, 3, 0)); // bad in the middle: goes back as a whole
	vq_publish(q, true);
	assert_true(gb_wait_tx_done(&a, 1000));
	exchange(&a, &b, 3, 64);
	struct dp_stats st;
	dp_port_stats(a.port, &st);
	assert_int_equal(st.drops_in[DP_DROP_DESC] + st.drops_in[DP_DROP_RUNT], q->packed ? 6 : 7); // length 0 has no frame in it
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static unsigned take_notes(struct dp *dp, struct dp_port *want)
{
	unsigned all = 0, bits;
	struct dp_port *port;
	for (unsigned i = 0; i < 50; i++) {
		while ((bits = dp_notes_take(dp, &port)) != 0)
			if (port == want)
				all |= bits;
		usleep(2000);
	}
	return all;
}

static void test_broken_ring(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	two(&a, &b, dp, F_USUAL, 0);
	exchange(&a, &b, 1, 64);
	for (unsigned i = 0; i < GB_RING && a.q[1].packed; i++) // a chain without an end
		a.q[1].p.desc[i].flags = VQ_NEXT | (a.q[1].p.avail.wrap ? VQ_AVAIL : VQ_USED);
	if (!a.q[1].packed)
		a.q[1].avail[1] = (uint16_t)(a.q[1].avail[1] + GB_RING + 1); // further than the ring is long
	vq_kick(&a.q[1]);
	assert_true(take_notes(dp, a.port) & DP_NOTE_RING_BROKEN);
	assert_true(vring_broken(a.ring[1]) != NULL);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static uint64_t busy(struct dp *dp, uint64_t *turns)
{
	struct dp_thread_stats t;
	assert_int_equal(dp_thread_stats(dp, &t, 1), 1);
	*turns = t.turns;
	return t.busy_cycles;
}

// Busy cycles grow with frames, by no more than the time that passed, and stand still while a polling thread finds nothing.
static void test_busy_cycles(void **state)
{
	(void)state;
	struct dp_conf conf = { .threads = 1, .poll_us = -1, .cpus = { -1 } };
	struct why why;
	struct dp *dp = dp_new(&conf, &why);
	assert_non_null(dp);
	struct guestbed a, b;
	two(&a, &b, dp, F_USUAL, 0);
	exchange(&a, &b, 10, 64);
	usleep(20000); // the turns after the last frame
	uint64_t turns[3], idle = busy(dp, &turns[0]);
	uint64_t from = 0; // before the last look at rest: a turn may have begun then and have lost its CPU
	for (unsigned i = 0; i < 40; i++) { // it looks all the time, unless others have its CPU
		from = cycles_now();
		usleep(50000);
		assert_int_equal(busy(dp, &turns[1]), idle);
		if (turns[1] > turns[0] + 10)
			break;
	}
	assert_true(turns[1] > turns[0] + 10);
	exchange(&a, &b, 200, 64);
	usleep(20000);
	uint64_t work = busy(dp, &turns[2]) - idle, all = cycles_now() - from;
	assert_true(work > 400 * 20); // a frame can't be had for 20 cycles
	assert_true(work < all);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

static int setup(void **state)
{
	(void)state;
	frame_mac(mac_a, 1);
	frame_mac(mac_b, 2);
	frame_mac(mac_c, 3);
	return guard_install();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),	 cmocka_unit_test(test_burst_order),
		cmocka_unit_test(test_flood_and_learn), cmocka_unit_test(test_group_and_filter),
		cmocka_unit_test(test_configured_moves),
		cmocka_unit_test(test_dead_receiver),	 cmocka_unit_test(test_bad_chains),
		cmocka_unit_test(test_broken_ring), cmocka_unit_test(test_busy_cycles),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
