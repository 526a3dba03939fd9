// A null port: every frame for it is counted once, in order or not with frames for others, in both forms of the datapath.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/guard.h"
#include "guestbed.h"
#include "net/eth.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29)

static uint8_t mac_a[6], mac_b[6], mac_c[6];
static const uint8_t mac_all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct dp_port *null_port(struct dp *dp)
{
	struct dp_port_conf c = gb_conf("null");
	struct dp_port *port;
	struct why why;
	c.kind = DP_NULL;
	assert_int_equal(dp_port_add(dp, &c, &port, &why), OK);
	return port;
}

static struct dp_stats stats(const struct dp_port *port)
{
	struct dp_stats st;
	dp_port_stats(port, &st);
	return st;
}

struct want {
	uint64_t frames, bytes;
};

static void send(struct guestbed *a, const uint8_t dst[6], uint64_t no, struct want *w)
{
	uint32_t len = 60 + (uint32_t)(no * 37 % 1400);
	assert_true(gb_send_no(a, dst, mac_a, no, len));
	w->frames++;
	w->bytes += len;
}

static void expect(const struct dp_port *port, struct want w)
{
	struct dp_stats st = stats(port);
	assert_int_equal(st.total.out_frames, w.frames);
	assert_int_equal(st.total.out_bytes, w.bytes);
}

// Nobody else is there: it gets what goes to all and to unknown addresses, which count as flooded, and what is its own.
static void test_alone(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct dp_port_conf c = gb_conf("a");
	struct dp_port *null = null_port(dp);
	struct guestbed a;
	gb_open(&a, dp, &c, F_USUAL, 0, true);
	struct want all = { 0 }, own = { 0 };
	for (unsigned i = 0; i < 300; i++)
		send(&a, i % 3 ? mac_b : mac_all, i, &all);
	assert_true(gb_wait_tx_done(&a, 2000));
	expect(null, all);
	assert_true(dp_mac_claim(null, mac_key(mac_c), 0, DP_MAC_CLAIMED));
	for (unsigned i = 0; i < 300; i++)
		send(&a, i % 5 ? mac_c : mac_b, i, i % 5 ? &own : &all);
	assert_true(gb_wait_tx_done(&a, 2000));
	struct dp_stats in = stats(a.port);
	assert_int_equal(in.flooded, all.frames);
	assert_int_equal(in.total.in_frames, all.frames + own.frames);
	assert_int_equal(in.total.in_bytes, all.bytes + own.bytes);
	expect(null, (struct want){ all.frames + own.frames, all.bytes + own.bytes });
	assert_int_equal(dp_macs_count(dp, NULL), 2); // the sender was learned
	gb_close(&a);
	dp_port_del(dp, null);
	dp_free(dp);
}

// Between frames for a guest, which gets all of its own, in order; and what goes to all goes to both.
static void test_between(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	struct dp_port *null = null_port(dp);
	struct guestbed a, b;
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	assert_true(dp_mac_claim(null, mac_key(mac_c), 0, DP_MAC_CLAIMED));
	assert_true(dp_mac_claim(b.port, mac_key(mac_b), 0, DP_MAC_CLAIMED));
	struct want nulls = { 0 }, guests = { 0 };
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 3 == 0) {
			send(&a, mac_c, i, &nulls);
		} else {
			send(&a, i % 50 == 1 ? mac_all : mac_b, i, &guests);
			if (i % 50 == 1)
				nulls.frames++, nulls.bytes += 60 + i * 37 % 1400;
		}
		if (i % 20 != 19)
			continue;
		for (unsigned k = i - 19; k <= i; k++)
			if (k % 3)
				assert_int_equal(gb_recv_no(&b, 2000), k);
	}
	assert_true(gb_wait_tx_done(&a, 2000));
	expect(b.port, guests);
	expect(null, nulls);
	gb_close(&a);
	gb_close(&b);
	dp_port_del(dp, null);
	dp_free(dp);
}

// A guest without buffers ends a batch; what lies behind it for the null port is counted when its turn comes, once.
static void test_cut_short(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	struct dp_port *null = null_port(dp);
	struct guestbed a, b;
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	gb_open(&b, dp, &cb, F_USUAL, 0, true);
	assert_true(dp_mac_claim(null, mac_key(mac_c), 0, DP_MAC_CLAIMED));
	assert_true(dp_mac_claim(b.port, mac_key(mac_b), 0, DP_MAC_CLAIMED));
	struct want nulls = { 0 }, guests = { 0 };
	for (unsigned i = 0; i < 6 * GB_RING; i++) // b takes none back
		send(&a, i % 2 ? mac_b : mac_c, i, i % 2 ? &guests : &nulls);
	assert_true(gb_wait_tx_done(&a, 2000));
	expect(null, nulls);
	assert_int_equal(stats(a.port).total.in_frames, nulls.frames + guests.frames);
	gb_close(&a);
	gb_close(&b);
	dp_port_del(dp, null);
	dp_free(dp);
}

// A group of the sender's, a rate: as for any other port.
static void test_refused(void **state)
{
	(void)state;
	struct dp *dp = gb_dp(1);
	struct dp_port_conf ca = gb_conf("a"), cn = gb_conf("null");
	struct dp_port *null;
	struct why why;
	struct guestbed a;
	struct want none = { 0 }, some = { 0 };
	strcpy(ca.group, "g");
	strcpy(cn.group, "g");
	cn.kind = DP_NULL;
	assert_int_equal(dp_port_add(dp, &cn, &null, &why), OK);
	gb_open(&a, dp, &ca, F_USUAL, 0, true);
	for (unsigned i = 0; i < 100; i++)
		send(&a, i % 2 ? mac_b : mac_all, i, &some);
	assert_true(gb_wait_tx_done(&a, 2000));
	expect(null, none);
	cn.group[0] = '\0';
	cn.rate_out = 1; // a bit a second: nothing passes
	dp_port_reconf(dp, null, &cn);
	for (unsigned i = 0; i < 100; i++)
		send(&a, mac_b, i, &some);
	assert_true(gb_wait_tx_done(&a, 2000));
	assert_int_equal(stats(null).drops_out[DP_DROP_RATE], 100);
	expect(null, none);
	gb_close(&a);
	dp_port_del(dp, null);
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
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_between),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
