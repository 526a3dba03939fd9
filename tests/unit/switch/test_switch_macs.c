// Whose an address is: mac= of ports that come, change and go while guests run, and how many a port may have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestbed.h"
#include "net/eth.h"
#include "net/neigh.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29 | UINT64_C(1) << 28)

static uint8_t mac_a[6], mac_b[6], mac_c[6];

static struct dp_port_conf with_mac(const char *id, const uint8_t *mac)
{
	struct dp_port_conf c = gb_conf(id);
	c.n_macs = 1;
	c.macs[0] = mac_key(mac);
	return c;
}

static uint64_t drops(struct guestbed *g, bool in, enum dp_drop d)
{
	struct dp_stats st;
	dp_port_stats(g->port, &st);
	return in ? st.drops_in[d] : st.drops_out[d];
}

static void goes(struct guestbed *from, const uint8_t *dst, const uint8_t *src, struct guestbed *to, uint64_t no)
{
	assert_true(gb_send_no(from, dst, src, no, 64));
	assert_int_equal(gb_recv_no(to, 2000), no);
}

// The destination of a migration is set up with the address of a guest that still runs elsewhere.
static void test_not_stolen(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = with_mac("a", mac_a), cb = with_mac("b", mac_a), cc = gb_conf("c");
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	goes(&a, mac_c, mac_a, &c, 1);
	goes(&c, mac_a, mac_c, &a, 2);
	gb_open(&b, dp, &cb, F_USUAL, 0, false);
	goes(&c, mac_a, mac_c, &a, 3);
	cb.n_macs = 2; // changed, and the guest is still at a
	cb.macs[1] = mac_key(mac_b);
	dp_port_reconf(dp, b.port, &cb);
	goes(&c, mac_a, mac_c, &a, 4);
	dp_port_reconf(dp, b.port, &cb);
	goes(&c, mac_a, mac_c, &a, 5);
	gb_close(&b);
	goes(&c, mac_a, mac_c, &a, 6);
	// a guest that is known from a frame only does not keep what is configured for one that runs
	goes(&a, mac_c, mac_b, &c, 7);
	cc.n_macs = 1;
	cc.macs[0] = mac_key(mac_b);
	dp_port_reconf(dp, c.port, &cc);
	goes(&a, mac_b, mac_a, &c, 8);
	gb_close(&a);
	gb_close(&c);
	dp_free(dp);
}

// An address that leaves mac= is free for whoever has it now.
static void test_taken_away(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = with_mac("a", mac_a), cb = gb_conf("b"), cc = gb_conf("c");
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	assert_true(gb_send_no(&c, mac_b, mac_a, 0, 64));
	assert_true(gb_wait_tx_done(&c, 1000));
	assert_int_equal(drops(&c, true, DP_DROP_SOURCE), 1); // forged
	ca.macs[0] = mac_key(mac_b);
	dp_port_reconf(dp, a.port, &ca);
	goes(&c, frame_broadcast, mac_a, &b, 1); // c's own by now
	assert_int_equal(gb_recv_no(&a, 2000), 1);
	goes(&b, mac_a, mac_c, &c, 2);
	ca.n_macs = 0;
	dp_port_reconf(dp, a.port, &ca);
	goes(&c, frame_broadcast, mac_b, &b, 3);
	assert_int_equal(gb_recv_no(&a, 2000), 3);
	assert_int_equal(drops(&c, true, DP_DROP_SOURCE), 1);
	gb_close(&a);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// The port that named it is gone, the guest runs at another one: it is not kept for ever there.
static void test_namer_goes(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b, c;
	struct dp_port_conf ca = with_mac("a", mac_a), cb = gb_conf("b"), cc = gb_conf("c");
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	gb_open(&c, dp, &cc, F_USUAL, 0, true);
	gb_stop(&a, DP_RX_STOPPED);
	dp_mac_move(a.port, b.port);
	assert_true(gb_send_no(&c, mac_b, mac_a, 0, 64));
	assert_true(gb_wait_tx_done(&c, 1000));
	assert_int_equal(drops(&c, true, DP_DROP_SOURCE), 1);
	gb_close(&a);
	goes(&c, frame_broadcast, mac_a, &b, 1);
	assert_int_equal(drops(&c, true, DP_DROP_SOURCE), 1);
	gb_close(&b);
	gb_close(&c);
	dp_free(dp);
}

// filter=mac drops nothing of its own while the port is changed.
static void test_filter_changed(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	struct dp_port_conf ca = with_mac("a", mac_a), cb = gb_conf("b");
	ca.filter_mac = true;
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	goes(&b, mac_a, mac_b, &a, 0);
	ca.macs[1] = mac_key(mac_c);
	for (uint64_t i = 0; i < 500; i++) {
		for (uint64_t k = 0; k < 32; k++) {
			assert_true(gb_send_no(&a, mac_b, mac_a, i, 64));
			ca.n_macs = 1 + k % 2;
			dp_port_reconf(dp, a.port, &ca);
		}
		while (gb_recv_no(&b, 0) >= 0)
			;
	}
	assert_true(gb_wait_tx_done(&a, 1000));
	assert_int_equal(drops(&a, true, DP_DROP_SOURCE), 0);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

// max-macs counts the addresses that came with a guest, too.
static void test_moved_count(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	uint8_t mac[6];
	ca.max_macs = cb.max_macs = 4;
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	for (uint32_t i = 0; i < 4; i++) {
		frame_mac(mac, 100 + i);
		goes(&a, frame_broadcast, mac, &b, i);
	}
	gb_stop(&a, DP_RX_STOPPED);
	dp_mac_move(a.port, b.port);
	for (uint32_t i = 0; i < 4; i++) {
		frame_mac(mac, 200 + i);
		assert_true(gb_send_no(&b, frame_broadcast, mac, i, 64));
	}
	assert_true(gb_wait_tx_done(&b, 1000));
	assert_int_equal(dp_macs_count(dp, NULL), 4);
	gb_close(&a);
	gb_close(&b);
	dp_free(dp);
}

struct ips {
	unsigned n;
	struct ip_addr ip[8];
};

static void take_ips(void *arg, const struct dp_mac *m)
{
	struct ips *i = arg;
	i->n = m->n_ips;
	memcpy(i->ip, m->ip, sizeof(i->ip));
}

static struct ips ips_of(struct guestbed *g) // of its one MAC
{
	struct ips i = { .n = 0 };
	dp_macs_each(g->dp, g->port, take_ips, &i);
	return i;
}

static void claim(struct guestbed *g, const uint8_t *mac, uint32_t host)
{
	uint8_t frame[NEIGH_FRAME_MAX];
	struct ip_addr ip = { .family = 4, .addr = { 10, (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host } };
	assert_true(gb_send(g, frame, neigh_build_garp(frame, mac, 0, &ip)));
}

// A guest with ever new MACs leaves room for the addresses of others; and whoever claims an address takes it from all others.
static void test_addresses(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct guestbed a, b;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	uint8_t mac[6];
	ca.max_macs = cb.max_macs = 1;
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	claim(&b, mac_b, 1);
	for (uint32_t i = 0; i < 20000; i++) {
		frame_mac(mac, 1000 + i);
		claim(&b, mac, 1000 + i);
	}
	assert_true(gb_wait_tx_done(&b, 2000));
	claim(&a, mac_a, 2);
	claim(&a, mac_a, 3);
	assert_true(gb_wait_tx_done(&a, 2000));
	assert_int_equal(ips_of(&a).n, 2);
	assert_int_equal(ips_of(&b).n, 1);
	claim(&b, mac_b, 2); // the later claim is the true one
	claim(&b, mac_c, 3); // and be it of somebody who is not learned
	assert_true(gb_wait_tx_done(&b, 2000));
	assert_int_equal(ips_of(&a).n, 0);
	assert_int_equal(ips_of(&b).n, 2);
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
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_stolen),
		cmocka_unit_test(test_taken_away),
		cmocka_unit_test(test_namer_goes),
		cmocka_unit_test(test_filter_changed),
		cmocka_unit_test(test_moved_count),
		cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
