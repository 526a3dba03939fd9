// The lanes of the benchmark's driver against a device that is moved by hand: both formats, what a frame is made of, and what
// the checks see when the device does one thing wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../driver/rig.h"
#include "driver/frame.h"
#include "load/inner.h"

#define RING 16u
#define FRAME 300u
#define SMALL_BUFFER 100u // of a receive buffer, where a frame takes several
#define GSO_FRAME 4000u
#define MANY 2000u

enum wrong { NOTHING, PAYLOAD, GSO_SIZE, NEEDS_CSUM, USED_ID, LENGTH, NUM_BUFFERS };

struct variant {
	bool packed, in_order, indirect, small_buffers, gso;
	uint32_t n_bufs; // 0: the ring's size
};

struct bed {
	struct load load;
	struct side side;
	struct lane rx, tx;
	struct rig rx_rig, tx_rig;
	enum wrong wrong;
	uint8_t frame[GSO_FRAME + 12];
};

static void open_bed(struct bed *b, const struct variant *v, enum wrong wrong)
{
	struct fe_conf conf = { .ring_size = RING, .packed = v->packed };
	memset(b, 0, sizeof(*b));
	b->wrong = wrong;
	struct fe *fe = b->side.fe = fe_new(&conf);
	assert_non_null(fe);
	fe->features = BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_F_INDIRECT_DESC) |
		       (v->in_order ? BIT64(VIRTIO_F_IN_ORDER) : 0);
	fe_driver_reset(fe, 0);
	uint32_t frame = v->gso ? GSO_FRAME : FRAME, n = v->n_bufs ? v->n_bufs : RING;
	struct lane_conf rx = { .room = v->small_buffers ? SMALL_BUFFER : frame, .n_bufs = n, .longest = frame };
	struct lane_conf tx = { .room = frame, .n_bufs = n, .indirect = v->indirect };
	if (v->gso)
		rx.room = GSO_FRAME / 8;
	assert_true(lane_init(&b->rx, fe, 0, &rx) && lane_init(&b->tx, fe, 1, &tx));
	b->tx.lead = v->gso ? LOAD_GSO_LEAD : 0;
	b->load.conf = (struct load_conf){ .kind = LOAD_LOOP, .gso = v->gso, .size = { { frame, 1 } }, .n_sizes = 1, .flows = 3 };
	load_fill(&b->load, 0, &b->tx);
	rig_init(&b->rx_rig, b->rx.q, fe->mem, vq_base(b->rx.q));
	rig_init(&b->tx_rig, b->tx.q, fe->mem, vq_base(b->tx.q));
	lane_post_all(&b->rx);
	assert_int_equal(lane_out(&b->rx), n < RING ? n : RING);
}

static void close_bed(struct bed *b)
{
	lane_fini(&b->rx);
	lane_fini(&b->tx);
	fe_free(b->side.fe);
}

// Header and frame of a chain into b->frame; its bytes.
static uint32_t gather(struct bed *b, const struct rig_chain *c)
{
	uint32_t len = 0;
	for (unsigned i = 0; i < c->n; i++) {
		memcpy(b->frame + len, gmem_at(b->side.fe->mem, c->seg[i].gpa), c->seg[i].len);
		len += c->seg[i].len;
	}
	return len;
}

static void spoil(struct bed *b, uint32_t len)
{
	if (b->wrong == PAYLOAD && len > 100)
		b->frame[len - 20] ^= 1;
	else if (b->wrong == GSO_SIZE)
		b->frame[4]++;
	else if (b->wrong == NEEDS_CSUM)
		b->frame[0] = 0;
}

// The device fills receive buffers; the head of a frame is shown last. False: too few buffers (only at the end of a test).
static bool deliver(struct bed *b, uint32_t len)
{
	struct rig_chain c[12];
	uint32_t done = 0, part[12];
	unsigned n = 0;
	for (; done < len; done += part[n++]) {
		assert_true(n < 12);
		if (!rig_fetch(&b->rx_rig, &c[n]))
			return false;
		part[n] = len - done < c[n].seg[0].len ? len - done : c[n].seg[0].len;
		memcpy(gmem_at(b->side.fe->mem, c[n].seg[0].gpa), b->frame + done, part[n]);
	}
	uint16_t buffers = (uint16_t)(n + (b->wrong == NUM_BUFFERS));
	memcpy(gmem_at(b->side.fe->mem, c[0].seg[0].gpa) + 10, &buffers, 2);
	if (b->wrong == USED_ID)
		c[0].id = RING;
	if (b->wrong == LENGTH)
		part[0] = c[0].seg[0].len + 1;
	for (unsigned i = 0; i < n; i++)
		rig_used(&b->rx_rig, &c[i], part[i], 1, 1);
	return true;
}

// What is in the transmit ring goes to the receive ring; completed one by one, or, in order, all at once.
static void turn_device(struct bed *b, bool in_order)
{
	struct rig_chain c = { 0 }, last = { 0 };
	unsigned n = 0;
	while (rig_fetch(&b->tx_rig, &c)) {
		uint32_t len = gather(b, &c);
		spoil(b, len);
		assert_true(deliver(b, len));
		if (!in_order)
			rig_used(&b->tx_rig, &c, 0, 1, 1);
		last = c;
		n++;
	}
	assert_null(b->tx_rig.wrong);
	assert_null(b->rx_rig.wrong);
	if (in_order && n)
		rig_used(&b->tx_rig, &last, 0, n, n);
}

// Frames go round until MANY came or something is broken.
static void go_round(struct bed *b, const struct variant *v)
{
	unsigned each = v->gso ? 1 : v->small_buffers ? 2 : 7;
	for (unsigned i = 0; b->rx.frames < MANY && i < MANY && !b->rx.broken && !b->tx.broken; i++) {
		unsigned sent = lane_send(&b->tx, i % each + 1);
		assert_true(lane_out(&b->tx) <= lane_depth(&b->tx));
		turn_device(b, v->in_order);
		unsigned got = 0, back = lane_reap(&b->tx);
		while (got < sent && !b->rx.broken)
			got += lane_receive(&b->rx, 3, load_check_frame, &b->load);
		assert_true(b->rx.broken || (back == sent && got == sent));
	}
}

static const struct variant variants[] = {
	{ .packed = false },
	{ .packed = true },
	{ .packed = false, .in_order = true },
	{ .packed = true, .in_order = true },
	{ .packed = false, .indirect = true },
	{ .packed = true, .indirect = true },
	{ .packed = false, .small_buffers = true },
	{ .packed = true, .small_buffers = true },
	{ .packed = false, .gso = true },
	{ .packed = true, .gso = true },
	{ .packed = false, .n_bufs = 5 },
	{ .packed = true, .n_bufs = 9 },
	{ .packed = false, .n_bufs = 200 },
	{ .packed = true, .n_bufs = 100 },
};

static void test_whole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		struct bed b;
		open_bed(&b, &variants[i], NOTHING);
		go_round(&b, &variants[i]);
		if (b.rx.broken || b.tx.broken)
			fail_msg("variant %u: %s", i, b.rx.broken ? b.rx.broken : b.tx.broken);
		assert_true(b.rx.frames >= (variants[i].gso ? MANY / 2 : MANY));
		assert_int_equal(b.rx.frames, b.tx.frames);
		assert_int_equal(b.rx.bytes, b.rx.frames * (variants[i].gso ? GSO_FRAME : FRAME));
		assert_int_equal(b.load.corrupt + b.load.foreign + b.load.odd_headers, 0);
		close_bed(&b);
	}
}

static struct load checked(const struct variant *v, enum wrong wrong, const char **broken)
{
	struct bed b;
	open_bed(&b, v, wrong);
	go_round(&b, v);
	struct load l = b.load;
	*broken = b.rx.broken;
	close_bed(&b);
	return l;
}

static void test_seen(void **state)
{
	(void)state;
	const char *broken;
	for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		struct load l = checked(&variants[i], PAYLOAD, &broken);
		assert_true(l.corrupt > 10 && l.odd_headers == 0); // one in 61 is looked at
		l = checked(&variants[i], GSO_SIZE, &broken);
		assert_true((l.odd_headers > 10) == variants[i].gso);
		assert_int_equal(l.corrupt, 0);
		l = checked(&variants[i], NEEDS_CSUM, &broken);
		assert_true((l.odd_headers > 10) == variants[i].gso);
	}
}

static void test_broken(void **state)
{
	(void)state;
	const char *broken;
	for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		for (enum wrong w = USED_ID; w <= NUM_BUFFERS; w++) {
			checked(&variants[i], w, &broken);
			assert_non_null(broken);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_whole), cmocka_unit_test(test_seen), cmocka_unit_test(test_broken) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
