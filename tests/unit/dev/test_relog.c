// What is logged again when a device is adopted, page for page: the buffers that the dead process may have written and
// not logged, the ring's own pages, and no other; all of it where something is odd; nothing where nothing is logged.
#include "devbed.h"

#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "guest/ring.h"

enum { PAGE = 4096, BUF = 0x200000 }; // buffers lie from BUF on
#define F_PACKED BIT64(VIRTIO_F_RING_PACKED)

static uint8_t expect[BED_LOG];

static void expect_pages(uint64_t gpa, uint64_t len)
{
	for (uint64_t p = gpa / PAGE; p <= (gpa + len - 1) / PAGE; p++)
		expect[p / 8] |= (uint8_t)(1u << (p % 8));
}

static void put(struct devbed *b, uint64_t gpa, const void *p, size_t len)
{
	memcpy(b->mem + gpa, p, len);
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next; // packed: id, flags
};

static void desc(struct devbed *b, uint64_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct desc d = { addr, len, flags, next };
	put(b, table + 16 * i, &d, sizeof(d));
}

static void avail(struct devbed *b, unsigned q, uint16_t at, uint16_t head)
{
	put(b, bed_ring_gpa(q) + 0x1000 + 4 + 2 * (at % BED_NUM), &head, 2);
}

static void avail_idx(struct devbed *b, unsigned q, uint16_t idx)
{
	put(b, bed_ring_gpa(q) + 0x1000 + 2, &idx, 2);
}

// Two rings that log; the receive ring (0) stands at 5, and so does the transmit ring.
static void begin(struct devbed *b)
{
	bed_run(b, 2);
	bed_start_log(b);
	bed_progress(b, 0, 5);
	bed_progress(b, 1, 5);
	avail_idx(b, 0, 5);
	avail_idx(b, 1, 5);
	memset(expect, 0, sizeof(expect));
	for (unsigned q = 0; q < 2; q++)
		expect_pages(bed_ring_gpa(q) + 0x2000, 6 + 8 * BED_NUM);
}

static void die(struct devbed *b)
{
	bed_crash(b);
	memset(b->ledgers, 0, SNAP_MAX_RINGS * sizeof(b->ledgers[0])); // rings are written by hand here: what they say counts
	memset(b->log, 0, BED_LOG); // the front end took what there was
	bed_adopted(b);
}

static void check_log(struct devbed *b)
{
	for (unsigned i = 0; i < BED_LOG; i++)
		if (b->log[i] != expect[i])
			fail_msg("what may not have been logged is not logged again: byte %u is 0x%x, should be 0x%x", i, b->log[i], expect[i]);
	assert_int_equal(dev_pages_missed(b->dev), 0);
}

static void split_buffers(void **state)
{
	struct devbed *b = *state;
	uint64_t table = bed_ring_gpa(0);
	begin(b);
	// returned: not again
	desc(b, table, 1, BUF, 100, 2, 0);
	avail(b, 0, 4, 1);
	// one page, two pages, a chain of three of which the first is readable
	desc(b, table, 2, BUF + 1 * 0x10000, 1, 2, 0);
	desc(b, table, 3, BUF + 2 * 0x10000 + 4095, 2, 2, 0);
	desc(b, table, 4, BUF + 3 * 0x10000, 4096, 1, 5);
	desc(b, table, 5, BUF + 4 * 0x10000, 4096, 3, 6);
	desc(b, table, 6, BUF + 5 * 0x10000 + 7, 8192, 2, 0);
	// a table, at an odd place, of a readable and two writable entries, chained backwards; one that is not reached
	uint64_t in = BUF + 6 * 0x10000 + 3;
	desc(b, table, 7, in, 64, 4, 0);
	desc(b, in, 0, BUF + 7 * 0x10000, 10, 1, 3);
	desc(b, in, 1, BUF + 8 * 0x10000, 10, 2, 0);
	desc(b, in, 2, BUF + 9 * 0x10000, 10, 2, 0);
	desc(b, in, 3, BUF + 10 * 0x10000, 5000, 3, 1);
	// an empty buffer
	desc(b, table, 8, 0, 0, 2, 0);
	static const uint16_t head[] = { 2, 3, 4, 7, 8 };
	for (unsigned i = 0; i < 5; i++)
		avail(b, 0, (uint16_t)(5 + i), head[i]);
	avail_idx(b, 0, 10);
	// a frame to be sent: nothing is written there
	desc(b, bed_ring_gpa(1), 9, BUF + 11 * 0x10000, 1500, 0, 0);
	avail(b, 1, 5, 9);
	avail_idx(b, 1, 6);
	expect_pages(BUF + 1 * 0x10000, 1);
	expect_pages(BUF + 2 * 0x10000 + 4095, 2);
	expect_pages(BUF + 4 * 0x10000, 4096);
	expect_pages(BUF + 5 * 0x10000 + 7, 8192);
	expect_pages(BUF + 8 * 0x10000, 10);
	expect_pages(BUF + 10 * 0x10000, 5000);
	die(b);
	check_log(b);
	assert_int_equal(vring_position(b->ring[0]).used, 5);
	assert_null(vring_broken(b->ring[0]));
}

// A full ring, over the end of the index and of the ring.
static void split_wraps(void **state)
{
	struct devbed *b = *state;
	begin(b);
	bed_progress(b, 0, 65531); // at 0: of 65536
	bed_progress(b, 0, 65510);
	uint16_t at = vring_position(b->ring[0]).used;
	for (unsigned i = 0; i < BED_NUM; i++) {
		desc(b, bed_ring_gpa(0), i, BUF + i * PAGE * 2, 1514, 2, 0);
		avail(b, 0, (uint16_t)(at + i), (uint16_t)i);
		expect_pages(BUF + i * PAGE * 2, 1514);
	}
	avail_idx(b, 0, (uint16_t)(at + BED_NUM));
	die(b);
	check_log(b);
}

// What no honest driver leaves: nothing can be said about it, so all pages may be missing.
static void odd(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 12; n++) {
		struct devbed b;
		uint64_t table = bed_ring_gpa(0), in = BUF + 0x1000;
		bed_open(&b, 2);
		b.keeps = true;
		begin(&b);
		desc(&b, table, 1, BUF, 100, 2, 0);
		avail(&b, 0, 5, 1);
		avail_idx(&b, 0, 6);
		desc(&b, in, 0, BUF, 100, 2, 0);
		switch (n) {
		case 0: desc(&b, table, 1, BUF, 100, 3, 1); break; // a loop
		case 1: desc(&b, table, 1, BUF, 100, 3, BED_NUM); break;
		case 2: desc(&b, table, 1, BED_MEM - 10, 11, 2, 0); break; // outside memory
		case 3: desc(&b, table, 1, UINT64_MAX - 10, 100, 2, 0); break;
		case 4: avail(&b, 0, 5, BED_NUM); break;
		case 5: avail_idx(&b, 0, 5 + BED_NUM + 1); break;
		case 6: desc(&b, table, 1, in, 17, 4, 0); break;
		case 7: desc(&b, table, 1, in, 32, 5, 2); break;
		case 8: desc(&b, table, 1, in, 16, 4, 0); desc(&b, in, 0, BUF, 16, 4, 0); break; // nested
		case 9: desc(&b, table, 1, in, 32, 4, 0); desc(&b, in, 0, BUF, 16, 3, 0); break; // a loop
		case 10: desc(&b, table, 1, in, 32, 4, 0); desc(&b, in, 0, BUF, 16, 3, 2); break;
		case 11: // more than the guest has: each piece is all of its memory
			for (unsigned i = 0; i < 8; i++)
				desc(&b, table, 1 + i, 0, BED_MEM, i < 7 ? 3 : 2, (uint16_t)(2 + i));
			break;
		}
		memset(expect, 0xff, sizeof(expect));
		die(&b);
		check_log(&b);
		assert_non_null(b.ring[0]); // it runs: what is wrong with it is the datapath's to find
		bed_close(&b);
	}
}

// All heads share one table that is as long as can be: refused by count, not by patience.
static void work_is_bounded(void **state)
{
	struct devbed *b = *state;
	begin(b);
	uint64_t in = 0x100000;
	for (unsigned i = 0; i < 32768; i++)
		desc(b, in, i, BUF, 1, 3, (uint16_t)(i + 1));
	desc(b, in, 32767, BUF, 1, 2, 0);
	for (unsigned i = 0; i < BED_NUM; i++) {
		desc(b, bed_ring_gpa(0), i, in, 32768 * 16, 4, 0);
		avail(b, 0, (uint16_t)(5 + i), (uint16_t)i);
	}
	avail_idx(b, 0, 5 + BED_NUM);
	memset(expect, 0xff, sizeof(expect));
	die(b);
	check_log(b);
}

// No log, a log that nobody asked for yet, a ring whose own pages are not to be logged.
static void not_logging(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	desc(b, bed_ring_gpa(0), 1, BUF, 100, 2, 0);
	avail(b, 0, 0, 1);
	avail_idx(b, 0, 1);
	die(b);
	bed_ok(b, VU_SET_LOG_BASE, 0);
	memset(expect, 0, sizeof(expect));
	die(b);
	check_log(b);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked | BIT64(VHOST_F_LOG_ALL));
	expect_pages(BUF, 100);
	die(b);
	check_log(b);
	// a ring that never ran has written nothing
	bed_ok(b, VU_GET_VRING_BASE, 0);
	bed_ok64(b, VU_SET_VRING_BASE, state_u64(0, 0));
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	memset(expect, 0, sizeof(expect));
	die(b);
	check_log(b);
}

// The new log has them: the old one's bits the front end takes with the reply that it still waits for.
static void log_replaced(void **state)
{
	struct devbed *b = *state;
	struct request r;
	struct dev_reply first, again;
	begin(b);
	desc(b, bed_ring_gpa(0), 1, BUF, 100, 2, 0);
	avail(b, 0, 5, 1);
	avail_idx(b, 0, 6);
	request_good(b, &r, VU_SET_LOG_BASE, 0);
	bed_send(b, &r, &first);
	expect_pages(BUF, 100);
	die(b);
	check_log(b);
	request_good(b, &r, VU_SET_LOG_BASE, 0);
	b->seq--;
	bed_send(b, &r, &again);
	assert_memory_equal(&first, &again, sizeof(first));
	check_log(b);
	// but where rings or memory were moved by the message it can't be known where the dead process was
	request_good(b, &r, VU_SET_VRING_ADDR, 0);
	r.payload[4] = 0;
	bed_send(b, &r, &first);
	die(b);
	request_good(b, &r, VU_SET_VRING_ADDR, 0);
	b->seq--;
	bed_send(b, &r, &again);
	memset(expect, 0xff, sizeof(expect));
	check_log(b);
}

// -- packed -----------------------------------------------------------------------------------------------------------------

static void packed_desc(struct devbed *b, unsigned i, uint64_t addr, uint32_t len, uint16_t flags)
{
	desc(b, bed_ring_gpa(0), i, addr, len, (uint16_t)i, flags);
}

// Receive ring 0 runs and logs; `without` features are not negotiated.
static void begin_packed(struct devbed *b, uint64_t without)
{
	bed_negotiate(b, 0);
	bed_ok64(b, VU_SET_FEATURES, (dev_snap(b->dev)->features_acked | F_PACKED) & ~(BIT64(VIRTIO_F_IN_ORDER) | without));
	bed_memory(b);
	bed_ok(b, VU_SET_VRING_NUM, 0);
	bed_ok64(b, VU_SET_VRING_BASE, state_u64(0, RING_FRESH_PACKED));
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_CALL, 0);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	bed_start_log(b);
	memset(expect, 0, sizeof(expect));
	expect_pages(bed_ring_gpa(0), 16 * BED_NUM);
	expect_pages(bed_ring_gpa(0) + 0x2000, 4);
}

static void packed_buffers(void **state)
{
	struct devbed *b = *state;
	begin_packed(b, 0);
	for (unsigned i = 0; i < 3; i++) // used in this lap: returned
		packed_desc(b, i, BUF + i * 0x10000, 100, 2 | 0x8080);
	for (unsigned i = 3; i < 6; i++) { // the device's
		packed_desc(b, i, BUF + i * 0x10000 + 4090, 5000, 2 | 0x80);
		expect_pages(BUF + i * 0x10000 + 4090, 5000);
	}
	uint64_t in = BUF + 6 * 0x10000;
	packed_desc(b, 6, in, 32, 4 | 0x80);
	desc(b, in, 0, BUF + 7 * 0x10000, 10, 0, 2);
	desc(b, in, 1, BUF + 8 * 0x10000, 10, 0, 2);
	expect_pages(BUF + 7 * 0x10000, 10);
	expect_pages(BUF + 8 * 0x10000, 10);
	die(b);
	check_log(b);
	assert_int_equal(ring_base(b->ring[0]), 0x80038003);
}

// A batch of which all but the first was written: buffers are marked as far as they were written, where there are no tables.
static void packed_cut_batch(void **state)
{
	(void)state;
	for (unsigned tables = 0; tables < 2; tables++) {
		struct devbed b;
		bed_open(&b, 2);
		b.keeps = true;
		begin_packed(&b, tables ? 0 : BIT64(VIRTIO_F_INDIRECT_DESC));
		packed_desc(&b, 0, BUF, 5000, 2 | 0x80);
		packed_desc(&b, 1, BUF + 0x10000, 4097, 2 | 0x8080);
		packed_desc(&b, 2, BUF + 0x20000, 9000, 2 | 0x80);
		expect_pages(BUF, 5000);
		expect_pages(BUF + 0x10000, 4097);
		expect_pages(BUF + 0x20000, 9000);
		if (tables)
			memset(expect, 0xff, sizeof(expect));
		die(&b);
		check_log(&b);
		assert_int_equal(ring_base(b.ring[0]), 0x80028002); // the batch was shown
		bed_close(&b);
	}
}

// The place is in doubt (in order, or chains that left their traces): with tables all, without them every buffer of the
// ring.
static void packed_in_doubt(void **state)
{
	(void)state;
	for (unsigned tables = 0; tables < 2; tables++) {
		struct devbed b;
		bed_open(&b, 2);
		b.keeps = true;
		begin_packed(&b, tables ? 0 : BIT64(VIRTIO_F_INDIRECT_DESC));
		for (unsigned i = 0; i < 6; i++) {
			packed_desc(&b, i, BUF + i * 0x10000, 100, (uint16_t)(2 | (i % 2 ? 0x80 : 0x8080)));
			expect_pages(BUF + i * 0x10000, 100);
		}
		if (tables)
			memset(expect, 0xff, sizeof(expect));
		die(&b);
		check_log(&b);
		bed_close(&b);
	}
}

static void packed_odd(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct devbed b;
		bed_open(&b, 2);
		b.keeps = true;
		begin_packed(&b, 0);
		if (n == 0)
			packed_desc(&b, 0, BED_MEM - 10, 11, 2 | 0x80);
		else
			packed_desc(&b, 0, BUF, n == 1 ? 17 : 16, 4 | 0x80);
		desc(&b, BUF, 0, BUF, 16, 0, 4);
		memset(expect, 0xff, sizeof(expect));
		die(&b);
		check_log(&b);
		bed_close(&b);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup_kept, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(split_buffers), T(split_wraps), T(odd), T(work_is_bounded), T(not_logging), T(log_replaced),
		T(packed_buffers), T(packed_cut_batch), T(packed_in_doubt), T(packed_odd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
