// The driver against a back end that is right, and against the same back end with one fault at a time: each checker of the
// driver must see its fault.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "driver/flog.h"
#include "driver/net.h"
#include "toy.h"

struct bed {
	struct fe *fe;
	struct toy *toy;
	struct net net[VU_MAX_PAIRS];
};

static uint8_t mac_a[6], mac_b[6];

static void bed_open(struct bed *b, const struct fe_conf *conf, enum toy_fault fault)
{
	int sv[2];
	memset(b, 0, sizeof(*b));
	frame_mac(mac_a, 1);
	frame_mac(mac_b, 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	b->fe = fe_new(conf);
	assert_non_null(b->fe);
	b->fe->conf.timeout_ms = 2000;
	b->toy = toy_start(sv[1], fault);
	fe_take(b->fe, sv[0]);
	assert_int_equal(fe_negotiate(b->fe), FE_OK);
}

static void bed_start(struct bed *b, const struct net_conf *conf, uint16_t base)
{
	fe_driver_reset(b->fe, base);
	for (unsigned p = 0; p < b->fe->conf.pairs; p++)
		assert_true(net_init(&b->net[p], b->fe, p, conf));
	assert_int_equal(fe_start(b->fe), FE_OK);
}

static void bed_close(struct bed *b)
{
	for (unsigned p = 0; p < b->fe->conf.pairs; p++)
		net_fini(&b->net[p]);
	fe_disconnect(b->fe);
	toy_stop(b->toy);
	fe_free(b->fe);
}

// Send count frames of all sizes and receive them; the text of the first thing that is wrong, or NULL.
static const char *bed_echo(struct bed *b, unsigned pair, unsigned count, uint64_t first, uint32_t max)
{
	static const uint32_t sizes[] = {60, 61, 64, 128, 590, 1514, 1518, 4000, 9000};
	struct frame_id id;
	uint32_t got;
	for (unsigned i = 0; i < count; i++) {
		uint32_t len = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
		if (len > max)
			len = max;
		if (!net_send_numbered(&b->net[pair], mac_b, mac_a, 7 + pair, first + i, len))
			return b->net[pair].broken != NULL ? b->net[pair].broken : "send failed";
		const char *wrong = net_expect(&b->net[pair], &id, &got, 500);
		if (wrong != NULL)
			return wrong;
		if (id.seq != first + i || id.flow != 7 + pair || got != len)
			return "another frame than the one sent";
	}
	return NULL;
}

// A bed whose rings are of one kind: bit 0 packed, bit 1 event index, bit 2 in order.
#define KINDS 8u

static struct fe_conf kind_conf(unsigned kind)
{
	struct fe_conf fc = {.ring_size = kind & 1 ? 15 : 16, .packed = kind & 1, .features = FE_FEATURES};
	if (!(kind & 2))
		fc.features &= ~BIT64(VIRTIO_F_EVENT_IDX);
	if (kind & 4)
		fc.features |= BIT64(VIRTIO_F_IN_ORDER);
	return fc;
}

static void test_layouts(void **state)
{
	(void)state;
	static const uint16_t bases[] = {0, 65535, 65530};
	for (unsigned tx = NET_TX_ONE; tx <= NET_TX_INDIRECT; tx++)
		for (unsigned rx = NET_RX_ONE; rx <= NET_RX_SPREAD; rx++)
			for (unsigned kind = 0; kind < KINDS; kind++) {
				struct bed b;
				struct fe_conf fc = kind_conf(kind);
				fc.spread = rx == NET_RX_SPREAD;
				fc.mem = (struct gmem_conf){.file_offset = 8192, .regions = 1 + (kind >> 1 & 1)};
				struct net_conf nc = {.tx = tx, .rx = rx, .max_frame = 9000};
				bed_open(&b, &fc, TOY_NONE);
				assert_int_equal(bits_has(b.fe->features, VIRTIO_F_IN_ORDER), kind >> 2);
				bed_start(&b, &nc, bases[(tx + rx) % 3]);
				const char *wrong = bed_echo(&b, 0, 60, 0, 9000);
				if (wrong != NULL)
					fail_msg("tx %u rx %u kind %u: %s", tx, rx, kind, wrong);
				bed_close(&b);
			}
}

static void pairs_and_restart(bool packed)
{
	struct bed b;
	struct fe_conf fc = {.pairs = 3, .ring_size = 32, .style = FE_ACK_ALL, .packed = packed};
	bed_open(&b, &fc, TOY_NONE);
	assert_int_equal(b.fe->queue_num, 16);
	bed_start(&b, NULL, 65535);
	for (unsigned p = 0; p < 3; p++)
		assert_null(bed_echo(&b, p, 40, 0, 1518));
	for (unsigned round = 1; round < 4; round++) {
		assert_int_equal(fe_stop(b.fe), FE_OK);
		for (unsigned q = 0; q < 6; q++)
			assert_int_equal(b.fe->ring[q].base, vq_base(&b.fe->ring[q].vq));
		assert_int_equal(fe_start(b.fe), FE_OK);
		for (unsigned p = 0; p < 3; p++)
			assert_null(bed_echo(&b, p, 10, round * 100, 1518));
	}
	bed_close(&b);
}

static void test_pairs_and_restart(void **state)
{
	(void)state;
	pairs_and_restart(false);
	pairs_and_restart(true);
}

// The back end goes and another comes, which knows nothing but what the front end says. With a base beside the right one
// nothing goes any more: the check is not blind.
static const char *reconnect(bool packed, uint32_t off)
{
	struct bed b;
	int sv[2];
	const char *wrong = NULL;
	struct fe_conf fc = {.ring_size = 32, .packed = packed};
	bed_open(&b, &fc, TOY_NONE);
	bed_start(&b, NULL, 0);
	for (unsigned round = 0; round < 6 && wrong == NULL; round++) {
		assert_null(bed_echo(&b, 0, 13, round * 100, 1518));
		assert_true(net_tx_drain(&b.net[0], 1000)); // or the last completion is on its way still
		fe_disconnect(b.fe);
		toy_stop(b.toy);
		fe_bases_from_memory(b.fe);
		for (unsigned q = 0; q < 2; q++)
			b.fe->ring[q].base += off;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		b.toy = toy_start(sv[1], TOY_NONE);
		fe_take(b.fe, sv[0]);
		assert_int_equal(fe_negotiate(b.fe), FE_OK);
		assert_int_equal(fe_start(b.fe), FE_OK);
		wrong = bed_echo(&b, 0, 13, round * 100 + 50, 1518);
	}
	bed_close(&b);
	return wrong;
}

static void test_reconnect(void **state)
{
	(void)state;
	assert_null(reconnect(false, 0));
	assert_null(reconnect(true, 0));
	assert_non_null(reconnect(true, 0x10001));
}

// Many frames in flight, so that rings fill and wrap.
static void burst(unsigned kind)
{
	struct bed b;
	struct fe_conf fc = kind_conf(kind);
	fc.ring_size = kind & 1 ? 63 : 64;
	bed_open(&b, &fc, TOY_NONE);
	bed_start(&b, NULL, 0);
	struct net *n = &b.net[0];
	uint64_t sent = 0, got = 0;
	uint32_t slot;
	uint8_t *to;
	for (unsigned i = 0; i < n->tx_slots; i++) // prefill, then only stamp
		frame_fill(n->tx_host + i * n->tx_stride + n->hdr_len, 200, mac_b, mac_a, 1, 0, false);
	while (got < 5000) {
		struct net_frame f;
		struct frame_id id;
		while (sent < got + 40 && (to = net_tx_slot(n, &slot)) != NULL) {
			frame_stamp(to, 200, sent++);
			net_tx_put(n, slot, 200, NULL);
		}
		net_tx_flush(n);
		while (net_rx(n, &f)) {
			assert_null(frame_check(f.data, f.len, &id));
			assert_int_equal(id.seq, got++);
			net_rx_release(n);
		}
		net_rx_post(n);
		assert_null(n->broken);
	}
	assert_true(net_tx_drain(n, 1000));
	bed_close(&b);
}

static void test_burst(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < KINDS; kind++)
		burst(kind);
}

static bool mirror_equal_conf(enum toy_fault fault, const struct fe_conf *fc, bool threaded)
{
	struct bed b;
	struct flog_diff diff;
	struct net_conf nc = {.rx = NET_RX_SPREAD, .rx_slots = 64};
	bed_open(&b, fc, fault);
	bed_start(&b, &nc, 0);
	assert_null(bed_echo(&b, 0, 20, 0, 1518));
	struct flog *log = flog_new(b.fe->mem, 4096);
	assert_non_null(log);
	assert_int_equal(fe_log_start(b.fe, log->fd, log->bytes, log->file_offset), FE_OK);
	flog_copy_all(log);
	if (threaded)
		assert_true(flog_thread_start(log, 0));
	assert_null(bed_echo(&b, 0, 50, 1000, 1518));
	assert_int_equal(fe_stop(b.fe), FE_OK);
	flog_thread_stop(log);
	flog_harvest(log);
	bool equal = flog_equal(log, &diff);
	assert_int_equal(log->stray, 0);
	assert_true(log->pages > 0);
	bed_close(&b);
	flog_free(log);
	return equal;
}

static bool mirror_equal(enum toy_fault fault, bool packed, bool threaded)
{
	struct fe_conf fc = {.ring_size = 512, .packed = packed, .spread = true, .mem = {.region_bytes = 32 << 20}};
	return mirror_equal_conf(fault, &fc, threaded);
}

static void test_mirror(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		assert_true(mirror_equal(TOY_NONE, packed, false));
		assert_true(mirror_equal(TOY_NONE, packed, true));
		for (enum toy_fault f = TOY_LOG_PAYLOAD; f <= TOY_LOG_EVENT; f++)
			if ((f != TOY_LOG_IDX || !packed) && mirror_equal(f, packed, false))
				fail_msg("a log call of kind %d is missing and the mirror does not show it", f);
		assert_false(mirror_equal(TOY_LOG_EARLY, packed, true));
	}
	struct fe_conf fc = {.ring_size = 512, .packed = true, .log_ring = true, .mem = {.region_bytes = 32 << 20}};
	assert_true(mirror_equal_conf(TOY_LOG_ADDR, &fc, false));
	assert_false(mirror_equal(TOY_LOG_ADDR, true, false));
}

static void test_faults_seen(void **state)
{
	(void)state;
	static const struct {
		enum toy_fault fault;
		const char *seen;
	} rows[] = {
		{TOY_CORRUPT, "pattern changed"},
		{TOY_DROP, "no frame came"},
		{TOY_REPEAT, "another frame than the one sent"},
		{TOY_USED_ID, "used id that is not out"},
		{TOY_NUM_BUFFERS, "a buffer in the middle of a frame is not full"},
		{TOY_TX_LEN, "a transmit buffer came back with a length"},
	};
	for (unsigned n = 0; n < 2 * sizeof(rows) / sizeof(rows[0]); n++) {
		unsigned i = n / 2;
		struct bed b;
		struct fe_conf fc = {.ring_size = 16, .packed = n % 2};
		bed_open(&b, &fc, rows[i].fault);
		// One buffer is posted at a time, so that the id beside it is never out.
		struct net_conf nc = {.rx_slots = rows[i].fault == TOY_USED_ID ? 1 : 8};
		bed_start(&b, &nc, 0);
		const char *wrong = bed_echo(&b, 0, 60, 0, 1518);
		if (wrong == NULL || strcmp(wrong, rows[i].seen) != 0)
			fail_msg("fault %d, packed %u: %s", rows[i].fault, n % 2, wrong != NULL ? wrong : "not seen");
		bed_close(&b);
	}
}

static void test_replies_seen(void **state)
{
	(void)state;
	struct bed b;
	struct fe_conf fc = {.ring_size = 16};
	bed_open(&b, &fc, TOY_NACK);
	fe_driver_reset(b.fe, 0);
	assert_int_equal(fe_start(b.fe), FE_NACK);
	bed_close(&b);
	bed_open(&b, &fc, TOY_REPLY_FLAGS);
	fe_driver_reset(b.fe, 0);
	assert_int_equal(fe_start(b.fe), FE_WRONG);
	bed_close(&b);
	bed_open(&b, &fc, TOY_NO_REPLY);
	bed_start(&b, NULL, 0);
	b.fe->conf.timeout_ms = 50;
	assert_int_equal(fe_stop(b.fe), FE_SILENT);
	bed_close(&b);
}

static void test_no_packed(void **state)
{
	(void)state;
	int sv[2];
	struct fe_conf fc = {.packed = true, .timeout_ms = 2000};
	struct fe *fe = fe_new(&fc);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	struct toy *toy = toy_start(sv[1], TOY_NO_PACKED);
	fe_take(fe, sv[0]);
	assert_int_equal(fe_negotiate(fe), FE_NACK);
	assert_string_equal(fe->err_text, "packed rings are not offered");
	fe_disconnect(fe);
	toy_stop(toy);
	fe_free(fe);
}

static void test_huge(void **state)
{
	(void)state;
	struct bed b;
	struct fe_conf fc = {.mem = {.huge = true, .regions = 2, .region_bytes = 3 << 20, .file_offset = 4096}};
	struct fe *fe = fe_new(&fc);
	if (fe == NULL && errno == ENOMEM)
		skip(); // the machine has none to spare
	assert_non_null(fe);
	for (unsigned i = 0; i < 2; i++) {
		struct statfs fs;
		assert_int_equal(fstatfs(fe->mem->region[i].fd, &fs), 0);
		assert_int_equal(fs.f_bsize, GMEM_HUGE_PAGE);
		assert_int_equal(fe->mem->region[i].size, 4 << 20);
		assert_int_equal(fe->mem->region[i].offset, GMEM_HUGE_PAGE);
	}
	fe_free(fe);
	bed_open(&b, &fc, TOY_NONE);
	bed_start(&b, NULL, 0);
	assert_null(bed_echo(&b, 0, 60, 0, 1518));
	bed_close(&b);
	// More than there can be is refused here, not by a signal later.
	assert_null(gmem_new(&(struct gmem_conf){.huge = true, .region_bytes = UINT64_C(1) << 44}));
	assert_int_equal(errno, ENOMEM);
}

static void test_frame_check(void **state)
{
	(void)state;
	uint8_t f[1600];
	struct frame_id id;
	for (uint32_t len = FRAME_MIN; len < 1518; len += 97)
		for (unsigned dense = 0; dense < 2; dense++) {
			frame_fill(f, len, mac_a, mac_b, 3, 99, dense);
			assert_null(frame_check(f, len, &id));
			assert_int_equal(id.seq, 99);
			assert_non_null(frame_check(f, len - 1, &id));
			for (uint32_t at = 36; at < len; at++) {
				f[at] ^= 0x10;
				assert_non_null(frame_check(f, len, &id));
				f[at] ^= 0x10;
			}
		}
	frame_stamp(f, 1515, 100); // a dense frame with another number is not whole
	frame_fill(f, 1000, mac_a, mac_b, 3, 99, false);
	frame_stamp(f, 1000, 100);
	assert_null(frame_check(f, 1000, &id));
	assert_int_equal(id.seq, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_check),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_pairs_and_restart),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_faults_seen),
		cmocka_unit_test(test_replies_seen),
		cmocka_unit_test(test_no_packed),
		cmocka_unit_test(test_huge),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
