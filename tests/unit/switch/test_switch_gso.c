// TCP frames that their sender left whole: they pass whole to who takes them, as frames of their segment size to who does
// not, each receiver has its own form, held ones have the form of where they are delivered; what lies is dropped and
// counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../net/tcpframe.h"
#include "base/bits.h"
#include "base/clock.h"
#include "guestbed.h"
#include "net/vnet.h"

#define BASE (BIT64(32) | BIT64(29) | BIT64(28))
#define MERGE BIT64(15)
#define SENDS (BASE | MERGE | BIT64(0) | BIT64(11) | BIT64(12) | BIT64(13)) // csum, host_tso4, host_tso6, host_ecn
#define TAKES_SUM (BASE | MERGE | BIT64(1))
#define TAKES_ALL (TAKES_SUM | BIT64(7) | BIT64(8) | BIT64(9)) // guest_csum, guest_tso4, guest_tso6, guest_ecn

static const uint8_t mac_b[6] = { 0x52, 0x54, 0, 0, 0, 0xa1 }; // where tcpframe.h sends to
static uint8_t whole[TCPFRAME_MAX], got[TCPFRAME_MAX], want[TCPFRAME_MAX];

struct sent { // a whole frame in `whole`
	struct tcpframe t;
	uint16_t size;
	uint32_t len, l4, hdr;
	struct vnet_hdr h;
};

static struct sent make(struct tcpframe t, uint16_t size)
{
	struct sent s = { .t = t, .size = size };
	s.t.partial = true;
	s.len = tcpframe_build(&s.t, whole, &s.l4, &s.hdr);
	s.h = (struct vnet_hdr){ .flags = VNET_F_NEEDS_CSUM, .gso_size = size, .hdr_len = (uint16_t)s.hdr,
				 .gso_type = (uint8_t)((t.v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4) | (t.flags & 0x80 ? VNET_GSO_ECN : 0)),
				 .csum_start = (uint16_t)s.l4, .csum_offset = 16 };
	return s;
}

static unsigned parts_of(const struct sent *s)
{
	return (s->t.payload + s->size - 1) / s->size;
}

// In `pieces` descriptors, cut at odd places, at an offset of the transmit buffers, which are one area. Not shown yet.
static void add_whole(struct guestbed *g, const struct sent *s, unsigned pieces, uint32_t offset)
{
	struct vq_buf b[32];
	uint32_t total = GB_HDR + s->len, at = 0;
	memcpy(g->buf[1] + offset, &s->h, GB_HDR);
	memcpy(g->buf[1] + offset + GB_HDR, whole, s->len);
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t part = i + 1 == pieces ? total - at : i == 0 ? 7 : i == 1 ? 33 : total / pieces - 1;
		b[i] = (struct vq_buf){ .gpa = g->buf_gpa[1] + offset + at, .len = part };
		at += part;
	}
	assert_true(vq_add(&g->q[1], b, pieces, 0));
}

static void send_whole(struct guestbed *g, const struct sent *s, unsigned pieces)
{
	assert_true(gb_wait_tx_done(g, 2000));
	add_whole(g, s, pieces, 0);
	vq_publish(&g->q[1], false);
}

// A frame of one or several buffers, and its header; 0: none came.
static uint32_t recv_any(struct guestbed *g, struct vnet_hdr *h, unsigned timeout_ms)
{
	uint32_t len, total = 0;
	const uint8_t *p = gb_recv(g, &len, timeout_ms);
	if (!p)
		return 0;
	memcpy(h, p - GB_HDR, GB_HDR);
	memcpy(got, p, len);
	total = len;
	gb_release(g);
	for (unsigned i = 1; i < h->num_buffers; i++) {
		assert_int_equal(total, i * GB_BUF - GB_HDR); // those before are full
		p = gb_recv(g, &len, 0); // all of them are visible at once
		assert_non_null(p);
		memcpy(got + total, p - GB_HDR, len + GB_HDR);
		total += len + GB_HDR;
		gb_release(g);
	}
	return total;
}

static void expect_whole(struct guestbed *g, const struct sent *s)
{
	struct vnet_hdr h, w = s->h;
	w.num_buffers = (uint16_t)((s->len + GB_HDR + GB_BUF - 1) / GB_BUF);
	assert_int_equal(recv_any(g, &h, 2000), s->len);
	assert_memory_equal(&h, &w, sizeof(h));
	assert_memory_equal(got, whole, s->len);
}

static void expect_part(struct guestbed *g, const struct sent *s, unsigned i)
{
	struct tcpframe p = tcpframe_part(&s->t, s->size, i);
	struct vnet_hdr h;
	uint32_t l4, hdr, len = tcpframe_build(&p, want, &l4, &hdr);
	assert_int_equal(recv_any(g, &h, 2000), len);
	assert_int_equal(h.gso_type, VNET_GSO_NONE);
	if (g->features & BIT64(1)) { // it may complete the checksum itself
		assert_int_equal(h.flags, VNET_F_NEEDS_CSUM);
		vnet_csum_complete(&h, got, len);
	}
	assert_int_equal(h.flags, 0);
	assert_memory_equal(got, want, len);
}

static void expect_parts(struct guestbed *g, const struct sent *s)
{
	for (unsigned i = 0; i < parts_of(s); i++)
		expect_part(g, s, i);
}

static void known(struct guestbed *g, const uint8_t mac[6], struct guestbed *hears)
{
	assert_true(gb_send_no(g, frame_broadcast, mac, 1, 64));
	if (hears)
		assert_int_equal(gb_recv_no(hears, 2000), 1);
	assert_true(gb_wait_tx_done(g, 2000));
}

struct two {
	struct dp *dp;
	struct guestbed a, b;
};

static unsigned threads = 1; // of the next datapath

static void two_open(struct two *t, uint64_t takes)
{
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	t->dp = gb_dp(threads);
	gb_open(&t->a, t->dp, &ca, SENDS, 65500, true);
	gb_open(&t->b, t->dp, &cb, takes, 65500, true);
	known(&t->b, mac_b, &t->a);
}

static void two_close(struct two *t)
{
	gb_close(&t->a);
	gb_close(&t->b);
	dp_free(t->dp);
}

static struct dp_stats stats_of(const struct guestbed *g)
{
	struct dp_stats st;
	dp_port_stats(g->port, &st);
	return st;
}

#define V4 { .payload = 65000, .flags = 0x18, .seq = 0xfffff000, .id = 0xfffc, .tcp_options = 3 }
#define V6 { .payload = 60000, .flags = 0x19, .v6 = true, .tagged = true }
#define CWR { .payload = 30000, .flags = 0x98, .seq = 77 }
static const struct tcpframe shapes[] = { V4, V6, CWR };

static void test_whole(void **state)
{
	(void)state;
	struct two t;
	two_open(&t, TAKES_ALL);
	for (unsigned k = 0; k < 9; k++) {
		struct sent s = make(shapes[k % 3], 1448);
		s.h.hdr_len = k < 3 ? (uint16_t)s.hdr : 0xffff; // only a hint
		send_whole(&t.a, &s, 1 + k * 3);
		s.h.hdr_len = (uint16_t)s.hdr;
		expect_whole(&t.b, &s);
	}
	assert_int_equal(stats_of(&t.a).gso_in, 9);
	assert_int_equal(stats_of(&t.b).gso_out, 9);
	assert_int_equal(stats_of(&t.b).gso_cut, 0);
	two_close(&t);
}

static void test_cut(void **state)
{
	threads = *state ? 2 : 1;
	static const struct {
		uint64_t takes;
		bool cut[3]; // of the shapes
	} k[] = {
		{ BASE | MERGE, { true, true, true } },
		{ BASE, { true, true, true } },
		{ TAKES_SUM, { true, true, true } },
		{ TAKES_SUM | BIT64(7), { false, true, true } },
		{ TAKES_SUM | BIT64(8), { true, false, true } },
		{ TAKES_SUM | BIT64(7) | BIT64(9), { false, true, false } },
		{ BASE | MERGE | BIT64(7) | BIT64(8) | BIT64(9), { true, true, true } }, // without the checksum they mean nothing
		{ TAKES_ALL & ~MERGE, { true, true, true } }, // would take them, and has no buffers that are large enough
	};
	for (size_t i = 0; i < ARRAY_LEN(k); i++) {
		struct two t;
		uint64_t cut = 0, parts = 0;
		two_open(&t, k[i].takes);
		for (unsigned n = 0; n < 3; n++) {
			struct sent s = make(shapes[n], 1448);
			send_whole(&t.a, &s, 1 + (unsigned)i + n * 7);
			if (k[i].cut[n])
				expect_parts(&t.b, &s);
			else
				expect_whole(&t.b, &s);
			cut += k[i].cut[n];
			parts += k[i].cut[n] ? parts_of(&s) : 0;
		}
		assert_true(gb_wait_tx_done(&t.a, 2000));
		struct dp_stats st = stats_of(&t.b);
		assert_int_equal(st.gso_cut, cut);
		assert_int_equal(st.gso_parts, parts);
		assert_int_equal(st.gso_out, 3 - cut);
		assert_int_equal(st.total.out_frames, parts + 3 - cut);
		two_close(&t);
	}
	threads = 1;
}

// All buffers together are not enough for the frame: waiting would be for ever.
static void test_short_ring(void **state)
{
	(void)state;
	struct two t;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	t.dp = gb_dp(1);
	gb_open(&t.a, t.dp, &ca, SENDS, 0, true);
	gb_open(&t.b, t.dp, &cb, TAKES_ALL, 0, false);
	gb_post(&t.b, 32);
	gb_run(&t.b);
	known(&t.b, mac_b, &t.a);
	struct sent s = make((struct tcpframe){ .payload = 65480, .flags = 0x18 }, 8000);
	for (unsigned n = 0; n < 3; n++) {
		send_whole(&t.a, &s, 2);
		expect_parts(&t.b, &s);
	}
	assert_int_equal(stats_of(&t.b).gso_cut, 3);
	two_close(&t);
}

// The smallest that is worth it, and one that is no longer than a segment: it is no GSO frame any more for anybody.
static void test_small(void **state)
{
	(void)state;
	struct two t;
	two_open(&t, TAKES_ALL);
	struct sent s = make((struct tcpframe){ .payload = 2, .flags = 0x18 }, 1);
	send_whole(&t.a, &s, 1);
	expect_whole(&t.b, &s);
	s = make((struct tcpframe){ .payload = 100, .flags = 0x18 }, 100);
	send_whole(&t.a, &s, 1);
	s.h.gso_type = 0;
	s.h.gso_size = s.h.hdr_len = 0;
	expect_whole(&t.b, &s);
	assert_int_equal(stats_of(&t.a).gso_in, 1);
	two_close(&t);
}

// The next frame; 0: all that was sent is done with, and has been received. However slow we are: what is done is visible.
static uint32_t recv_all(struct two *t, struct vnet_hdr *h)
{
	uint64_t end = clock_boot_us() + 5000000;
	for (bool done = false; clock_boot_us() < end;) {
		uint32_t len = recv_any(&t->b, h, done ? 20 : 0);
		if (len != 0 || done)
			return len;
		done = gb_wait_tx_done(&t->a, 0) && dp_hold_level(t->b.port).held == 0;
	}
	return 0;
}

// More frames than there are buffers at once, and a receiver that gives them back one by one: what comes, comes in order and
// once, and what does not is counted. In the first moments after a start nothing may be lost.
static void test_slow_receiver(void **state)
{
	(void)state;
	for (unsigned late = 0; late < 2; late++) {
		struct two t;
		struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
		cb.hold_ms = late ? 0 : 3000;
		t.dp = gb_dp(1);
		gb_open(&t.a, t.dp, &ca, SENDS, 0, true);
		gb_open(&t.b, t.dp, &cb, BASE | MERGE, 0, false);
		gb_post(&t.b, 5);
		gb_run(&t.b);
		known(&t.b, mac_b, &t.a);
		unsigned came = 0, sent = 0;
		for (unsigned k = 0; k < 5; k++) {
			struct tcpframe all = { .payload = 60000, .flags = 0x10, .seq = k * 60000, .from = k * 60000 };
			struct sent s = make(all, 150);
			sent += parts_of(&s);
			send_whole(&t.a, &s, 3);
			unsigned next = 0;
			struct vnet_hdr h;
			for (uint32_t len; next < parts_of(&s) && (len = recv_all(&t, &h)) != 0; came++) {
				uint32_t seq = (uint32_t)got[38] << 24 | (uint32_t)got[39] << 16 | (uint32_t)got[40] << 8 | got[41];
				uint32_t i = (seq - s.t.seq) / 150;
				assert_true(i >= next && i < parts_of(&s));
				assert_true(late || i == next);
				struct tcpframe p = tcpframe_part(&s.t, 150, i);
				uint32_t l4, hdr;
				assert_int_equal(tcpframe_build(&p, want, &l4, &hdr), len);
				assert_memory_equal(got, want, len);
				next = i + 1;
				if (late && came % 64 == 0)
					usleep(1000); // dead for a moment
			}
		}
		assert_true(gb_wait_tx_done(&t.a, 2000));
		struct dp_stats st = stats_of(&t.b);
		assert_int_equal(came + st.drops_out[DP_DROP_FULL], sent);
		assert_int_equal(st.gso_parts, came);
		assert_true(late || came == sent);
		two_close(&t);
	}
}

// Whose destination is known: what is flooded is not held.
static struct tcpframe untagged(unsigned shape)
{
	struct tcpframe t = shapes[shape];
	t.tagged = false;
	return t;
}

// The same with six of them in one batch: the one that has to wait is not the first. Nothing comes twice.
static void test_slow_batch(void **state)
{
	(void)state;
	struct two t;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	unsigned came = 0, waited = 0;
	const unsigned n = 200, size = 100, rounds = 30; // parts of each
	cb.hold_ms = 0;
	t.dp = gb_dp(1);
	gb_open(&t.a, t.dp, &ca, SENDS, 65000, true);
	gb_open(&t.b, t.dp, &cb, BASE | MERGE, 65000, true);
	known(&t.b, mac_b, &t.a);
	for (unsigned round = 0; round < rounds; round++) {
		struct sent s;
		assert_true(gb_wait_tx_done(&t.a, 2000));
		for (unsigned k = 0; k < 6; k++) {
			s = make((struct tcpframe){ .payload = n * size, .flags = 0x10, .seq = k * n * size, .from = k * n * size },
				 (uint16_t)size);
			add_whole(&t.a, &s, 2, k * (GB_RING * GB_BUF / 6));
		}
		vq_publish(&t.a.q[1], false);
		struct vnet_hdr h;
		unsigned next = 0;
		while (next < 6 * n && recv_all(&t, &h) != 0) {
			uint32_t seq = (uint32_t)got[38] << 24 | (uint32_t)got[39] << 16 | (uint32_t)got[40] << 8 | got[41];
			assert_int_equal(seq % size, 0);
			assert_true(seq / size >= next && seq / size < 6 * n);
			waited += seq / size == next && next > 64;
			next = seq / size + 1;
			came++;
		}
	}
	assert_true(gb_wait_tx_done(&t.a, 2000));
	struct dp_stats st = stats_of(&t.b);
	assert_int_equal(came + st.drops_out[DP_DROP_FULL], rounds * 6 * n);
	assert_int_equal(st.gso_parts, came);
	assert_true(waited > 0); // more than a ring's length in a row: it did go on
	two_close(&t);
}

// Held while the guest moves: delivered as its new port takes them.
static void test_held(void **state)
{
	(void)state;
	for (unsigned takes = 0; takes < 2; takes++) {
		struct two t;
		struct guestbed c;
		struct dp_port_conf cc = gb_conf("c");
		two_open(&t, takes ? BASE | MERGE : TAKES_ALL);
		gb_open(&c, t.dp, &cc, takes ? TAKES_ALL : BASE | MERGE, 0, false);
		gb_stop(&t.b, DP_RX_STOPPED);
		struct sent s[3];
		for (unsigned n = 0; n < 3; n++) {
			s[n] = make(untagged(n), 1448);
			send_whole(&t.a, &s[n], 5);
		}
		assert_true(gb_wait_tx_done(&t.a, 2000));
		assert_int_equal(dp_hold_level(t.b.port).held, 3);
		gb_post(&c, GB_RING);
		gb_run(&c);
		dp_mac_move(t.b.port, c.port);
		dp_hold_move(t.b.port, c.port);
		for (unsigned n = 0; n < 3; n++) {
			s[n] = make(untagged(n), 1448); // its bytes, to compare with
			if (takes)
				expect_whole(&c, &s[n]);
			else
				expect_parts(&c, &s[n]);
		}
		assert_int_equal(stats_of(&c).hold_delivered, 3);
		assert_int_equal(stats_of(&c).gso_in, 0);
		gb_close(&c);
		two_close(&t);
	}
}

// Part of it was delivered when the guest stopped: the rest comes where it runs again, and nothing twice.
static void test_held_half(void **state)
{
	(void)state;
	struct two t;
	struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
	t.dp = gb_dp(1);
	gb_open(&t.a, t.dp, &ca, SENDS, 0, true);
	gb_open(&t.b, t.dp, &cb, BASE | MERGE, 0, false);
	gb_post(&t.b, 10);
	gb_run(&t.b);
	known(&t.b, mac_b, &t.a);
	struct sent s = make((struct tcpframe)V4, 1448);
	send_whole(&t.a, &s, 4);
	assert_true(gb_wait_tx_done(&t.a, 2000)); // ten parts are there, the others are kept: it has just started
	gb_stop(&t.b, DP_RX_STOPPED);
	assert_int_equal(stats_of(&t.b).gso_parts, 10);
	gb_run(&t.b);
	expect_parts(&t.b, &s);
	two_close(&t);
}

static void test_flood(void **state)
{
	(void)state;
	static const uint64_t takes[3] = { BASE | MERGE, TAKES_ALL, TAKES_SUM };
	struct dp *dp = gb_dp(1);
	struct guestbed a, to[3];
	struct dp_port_conf ca = gb_conf("a");
	gb_open(&a, dp, &ca, SENDS, 0, true);
	for (unsigned i = 0; i < 3; i++) {
		struct dp_port_conf c = gb_conf((const char *[]){ "x", "y", "z" }[i]);
		gb_open(&to[i], dp, &c, takes[i], 0, true);
	}
	struct sent s = make((struct tcpframe)V4, 1448); // nobody knows where that is
	send_whole(&a, &s, 6);
	expect_parts(&to[2], &s);
	expect_whole(&to[1], &s);
	expect_parts(&to[0], &s);
	assert_true(gb_wait_tx_done(&a, 2000));
	s = make((struct tcpframe){ .payload = 2048, .flags = 0x10 }, 1); // the limit counts what they stand for
	uint64_t from = clock_boot_us();
	for (unsigned n = 0; n < 20; n++)
		send_whole(&a, &s, 1);
	assert_true(gb_wait_tx_done(&a, 2000));
	uint64_t may = 4000 + (clock_boot_us() - from) / 50; // 20000 a second
	assert_true(stats_of(&a).drops_in[DP_DROP_FLOOD_RATE] + may / 2048 + 1 >= 20);
	assert_true(may / 2048 < 18);
	for (unsigned i = 0; i < 3; i++)
		gb_close(&to[i]);
	gb_close(&a);
	dp_free(dp);
}

// Limits count what is on a wire: 20000 bytes in 200 frames have 199 headers more.
static void test_rate(void **state)
{
	(void)state;
	for (unsigned out = 0; out < 2; out++) {
		struct two t;
		struct dp_port_conf ca = gb_conf("a"), cb = gb_conf("b");
		*(out ? &cb.rate_out : &ca.rate_in) = 600000;
		t.dp = gb_dp(1);
		gb_open(&t.a, t.dp, &ca, SENDS, 0, true);
		gb_open(&t.b, t.dp, &cb, TAKES_ALL, 0, true);
		known(&t.b, mac_b, &t.a);
		struct sent s = make((struct tcpframe){ .payload = 20000, .flags = 0x10 }, 100);
		for (unsigned n = 0; n < 4; n++)
			send_whole(&t.a, &s, 2);
		assert_true(gb_wait_tx_done(&t.a, 2000));
		assert_int_equal(stats_of(&t.b).gso_out, 2); // of 67093 bytes at once; three of 20054 would fit
		struct dp_stats st = stats_of(out ? &t.b : &t.a);
		assert_int_equal((out ? st.drops_out : st.drops_in)[DP_DROP_RATE], 2);
		two_close(&t);
	}
}

static void test_hostile(void **state)
{
	(void)state;
	static const struct vnet_hdr lie[] = {
		{ .flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 1, .gso_size = 1, .csum_start = 34, .csum_offset = 16 }, // 65000 frames
		{ .flags = 0, .gso_type = 1, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 3, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 4, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 5, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 0x80, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 0x41, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 1, .gso_size = 1448, .csum_start = 0xffff, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 1, .gso_size = 1448, .csum_start = 34, .csum_offset = 0xffff },
	};
	for (unsigned takes = 0; takes < 2; takes++) {
		struct two t;
		two_open(&t, takes ? TAKES_ALL : BASE);
		struct sent s = make((struct tcpframe){ .payload = 65000, .flags = 0x18 }, 1448), good = s;
		for (size_t i = 0; i < ARRAY_LEN(lie); i++) {
			s.h = lie[i];
			send_whole(&t.a, &s, 3);
			assert_true(gb_wait_tx_done(&t.a, 2000));
			assert_int_equal(stats_of(&t.a).drops_in[DP_DROP_HEADER], i + 1);
		}
		struct vnet_hdr h;
		assert_int_equal(recv_any(&t.b, &h, 20), 0);
		assert_int_equal(stats_of(&t.a).gso_in, 0);
		send_whole(&t.a, &good, 3);
		if (takes)
			expect_whole(&t.b, &good);
		else
			expect_parts(&t.b, &good);
		two_close(&t);
	}
	struct two t; // and a sender that did not negotiate it
	struct dp_port_conf cc = gb_conf("c");
	struct guestbed c;
	two_open(&t, TAKES_ALL);
	gb_open(&c, t.dp, &cc, BASE | MERGE | BIT64(0), 0, true);
	struct sent s = make((struct tcpframe)V4, 1448);
	send_whole(&c, &s, 3);
	assert_true(gb_wait_tx_done(&c, 2000));
	assert_int_equal(stats_of(&c).drops_in[DP_DROP_HEADER], 1);
	gb_close(&c);
	two_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cut),
		{ .name = "test_cut, two threads", .test_func = test_cut, .initial_state = &threads },
		cmocka_unit_test(test_short_ring),
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_slow_receiver),
		cmocka_unit_test(test_slow_batch),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_held_half),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
