// Packed rings: sizes, addresses, bases with both halves, and where one starts.
#include "devbed.h"

#include <string.h>

#include "base/bits.h"
#include "dirty/dirty.h"
#include "guest/ring.h"

#define F_PACKED BIT64(VIRTIO_F_RING_PACKED)
#define NUM 100u // no power of two

static void base_of(struct devbed *b, unsigned q, uint32_t base)
{
	bed_ok64(b, VU_SET_VRING_BASE, state_u64(q, base));
}

static void negotiate(struct devbed *b) // as most guests do: not in order
{
	bed_negotiate(b, 0);
	bed_ok64(b, VU_SET_FEATURES, (dev_snap(b->dev)->features_acked | F_PACKED) & ~BIT64(VIRTIO_F_IN_ORDER));
}

static void configure(struct devbed *b, unsigned n_rings, uint32_t base)
{
	negotiate(b);
	bed_memory(b);
	for (unsigned q = 0; q < n_rings; q++) {
		bed_ok64(b, VU_SET_VRING_NUM, state_u64(q, NUM));
		base_of(b, q, base);
		bed_ok(b, VU_SET_VRING_ADDR, q);
		bed_ok(b, VU_SET_VRING_ENABLE, q);
		bed_ok(b, VU_SET_VRING_CALL, q);
	}
}

static void run(struct devbed *b, unsigned n_rings, uint32_t base)
{
	configure(b, n_rings, base);
	for (unsigned q = 0; q < n_rings; q++) {
		bed_ok(b, VU_SET_VRING_KICK, q);
		assert_non_null(b->ring[q]);
		assert_true(b->ring[q]->packed);
	}
}

// The driver makes n descriptors available and the datapath uses them, one by one.
static void laps(struct devbed *b, unsigned q, unsigned n)
{
	struct pring *p = pring_of(b->ring[q]);
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = pdesc_available(p->at.used.wrap);
		memcpy(b->mem + bed_ring_gpa(q) + p->at.used.slot * 16u + 14, &flags, sizeof(flags));
		assert_true(pring_ready(p, 0));
		struct gwrite_used u = { .id = gwrite_packed_id(0, 1) };
		pring_advance(p, 1);
		gwrite_packed_publish(p, &u, 1);
	}
}

static void sizes_and_addresses(void **state)
{
	struct devbed *b = *state;
	bed_negotiate(b, 0);
	assert_true(bed_nacked64(b, VU_SET_VRING_NUM, state_u64(0, NUM)));
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked | F_PACKED);
	bed_memory(b);
	for (uint32_t num = 1; num <= 32768; num = num * 3 + 1)
		bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, num));
	assert_true(bed_nacked64(b, VU_SET_VRING_NUM, state_u64(0, 0)));
	assert_true(bed_nacked64(b, VU_SET_VRING_NUM, state_u64(0, 32769)));
	bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, NUM));
	struct request r;
	struct dev_reply reply;
	request_good(b, &r, VU_SET_VRING_ADDR, 0);
	r.payload[24] = 2; // the driver's event area: 4 bytes that are read as one word
	r.hdr.flags |= VU_FLAG_NEED_REPLY;
	bed_send(b, &r, &reply);
	assert_int_equal(reply.bytes[12], 1);
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	// another kind of ring: neither base nor size is one of those
	base_of(b, 0, 0x80058005);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked & ~F_PACKED);
	assert_int_equal(dev_snap(b->dev)->ring[0].num, 0);
	assert_int_equal(bed_ok(b, VU_GET_VRING_BASE, 0) >> 32, 0);
}

static void bases(void **state)
{
	struct devbed *b = *state;
	configure(b, 2, RING_FRESH_PACKED);
	assert_true(bed_nacked64(b, VU_SET_VRING_BASE, state_u64(0, NUM | 0x8000)));
	assert_true(bed_nacked64(b, VU_SET_VRING_BASE, state_u64(0, RING_FRESH_PACKED + (NUM << 16))));
	static const uint32_t given[] = { RING_FRESH_PACKED, 0x80638063, 0, 0x00630063, 0x80050005 };
	for (unsigned i = 0; i < ARRAY_LEN(given); i++) {
		base_of(b, 0, given[i]);
		assert_int_equal(bed_ok(b, VU_GET_VRING_BASE, 0) >> 32, given[i]); // it did not run: as it was given
	}
	base_of(b, 0, RING_FRESH_PACKED);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	uint32_t expect = 0;
	// stop and start: at any place, and over the ring's end
	for (unsigned done = 0, n = 1; done < 5 * NUM; n = n * 7 % 61 + 1) {
		laps(b, 0, n);
		done += n;
		expect = (done % NUM | (done / NUM % 2 == 0 ? 0x8000u : 0)) * 0x10001u;
		assert_int_equal(bed_ok(b, VU_GET_VRING_BASE, 0) >> 32, expect);
		assert_null(b->ring[0]);
		assert_int_equal(b->committed.ring[0].base, expect); // all 32 bits are durable
		bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, NUM));
		base_of(b, 0, expect);
		bed_ok(b, VU_SET_VRING_ADDR, 0);
		bed_ok(b, VU_SET_VRING_KICK, 0);
		assert_non_null(b->ring[0]);
		assert_int_equal(ring_base(b->ring[0]), expect);
		assert_string_equal(b->differs, "");
	}
}

// A base that was given before the size is checked when the ring starts.
static void base_before_size(void **state)
{
	struct devbed *b = *state;
	negotiate(b);
	bed_memory(b);
	for (unsigned i = 0; i < 99; i++) // used in this lap
		memcpy(b->mem + bed_ring_gpa(0) + i * 16u + 14, &(uint16_t){ 0x8080 }, 2);
	base_of(b, 0, 0x80638063);
	bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, 64));
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	assert_true(bed_nacked64(b, VU_SET_VRING_KICK, 0));
	bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, NUM));
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(ring_base(b->ring[0]), 0x80638063);
}

// What changes under a running ring leaves it where it is: memory, log, call descriptor, disable and enable.
static void goes_on(void **state)
{
	struct devbed *b = *state;
	run(b, 2, RING_FRESH_PACKED);
	laps(b, 1, NUM + 3);
	assert_int_equal(ring_base(b->ring[1]), 0x00030003);
	assert_true(bed_nacked64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked & ~F_PACKED)); // not while it runs
	bed_start_log(b);
	assert_int_equal(ring_base(b->ring[1]), 0x00030003);
	laps(b, 1, 2);
	assert_true(dirty_test(b->ring[1]->log, bed_ring_gpa(1))); // where it lies, not at the log address
	bed_memory(b);
	bed_ok(b, VU_SET_VRING_CALL, 1);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 0));
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 1));
	assert_int_equal(ring_base(b->ring[1]), 0x00050005);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked & ~BIT64(VHOST_F_LOG_ALL));
	assert_int_equal(ring_base(b->ring[1]), 0x00050005);
	assert_string_equal(b->differs, "");
}

// What the front end says about a ring of a device that was lost is where the ring was at its last stop. Its flags know better.
static void stale_base(void **state)
{
	struct devbed *b = *state;
	static const struct {
		unsigned before; // descriptors that came and went
		uint32_t given, starts;
		bool told;
	} rows[] = {
		{ 0, RING_FRESH_PACKED, RING_FRESH_PACKED, false },
		{ 5, RING_FRESH_PACKED, 0x80058005, true },
		{ NUM, RING_FRESH_PACKED, 0x00000000, true },
		{ 2 * NUM + 7, RING_FRESH_PACKED, 0x80078007, true },
		{ 7, 0x80078007, 0x80078007, false },
		{ 7, 0x00008007, 0x80078007, false }, // half a base
		{ 6, 0x80078007, 0x80068006, true }, // one ahead, and nothing there that could be a tail
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct devbed fresh;
		bed_open(&fresh, 2);
		run(&fresh, 1, RING_FRESH_PACKED);
		laps(&fresh, 0, rows[i].before);
		bed_ok(&fresh, VU_GET_VRING_BASE, 0);
		fresh.differs[0] = 0;
		bed_ok64(&fresh, VU_SET_VRING_NUM, state_u64(0, NUM));
		base_of(&fresh, 0, rows[i].given);
		bed_ok(&fresh, VU_SET_VRING_ADDR, 0);
		bed_ok(&fresh, VU_SET_VRING_KICK, 0);
		if (ring_base(fresh.ring[0]) != rows[i].starts || (fresh.differs[0] != 0) != rows[i].told)
			fail_msg("row %u: starts at 0x%x: %s", i, ring_base(fresh.ring[0]), fresh.differs);
		bed_close(&fresh);
	}
	// a base that is one off by chance: another id says that what lies between is no tail
	for (unsigned tail = 0; tail < 2; tail++) {
		struct devbed fresh;
		bed_open(&fresh, 2);
		negotiate(&fresh);
		bed_memory(&fresh);
		bed_ok64(&fresh, VU_SET_VRING_NUM, state_u64(0, NUM));
		base_of(&fresh, 0, 0x80028002);
		for (unsigned i = 0; i < 2; i++) {
			uint16_t end[2] = { tail ? 9 : (uint16_t)i, i == 0 ? 0x8080 : 0x0080 };
			memcpy(fresh.mem + bed_ring_gpa(0) + i * 16u + 12, end, 4);
		}
		bed_ok(&fresh, VU_SET_VRING_ADDR, 0);
		bed_ok(&fresh, VU_SET_VRING_ENABLE, 0);
		bed_ok(&fresh, VU_SET_VRING_KICK, 0);
		assert_int_equal(ring_base(fresh.ring[0]), tail ? 0x80028002 : 0x80018001);
		bed_close(&fresh);
	}
	// nothing was given at all: what the flags say
	negotiate(b);
	bed_memory(b);
	bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, NUM));
	uint16_t flags[4] = { 0x8080, 0x8080, 0x0080, 0x0080 };
	for (unsigned i = 0; i < 4; i++)
		memcpy(b->mem + bed_ring_gpa(0) + i * 16u + 14, &flags[i], 2);
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(ring_base(b->ring[0]), 0x80028002);
	assert_string_equal(b->differs, "");
}

// In order one used descriptor stands for a batch, and leaves behind it what looks as if it were available: the base counts.
static void in_order_is_told(void **state)
{
	struct devbed *b = *state;
	bed_negotiate(b, F_PACKED);
	bed_memory(b);
	bed_ok64(b, VU_SET_VRING_NUM, state_u64(0, NUM));
	base_of(b, 0, 0x80048004);
	uint16_t flags[4] = { 0x8080, 0x0080, 0x0080, 0x0080 };
	for (unsigned i = 0; i < 4; i++)
		memcpy(b->mem + bed_ring_gpa(0) + i * 16u + 14, &flags[i], 2);
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(ring_base(b->ring[0]), 0x80048004);
	assert_string_equal(b->differs, "");
}

// The ledger says where the ring is for as long as it is started, over changes that build it anew, and not a moment longer.
static void ledger_is_kept(void **state)
{
	struct devbed *b = *state;
	uint32_t base;
	configure(b, 2, RING_FRESH_PACKED);
	assert_false(pring_told(&b->ledgers[0], NUM, &base));
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_true(pring_told(&b->ledgers[0], NUM, &base));
	assert_int_equal(base, RING_FRESH_PACKED);
	laps(b, 0, 12);
	bed_memory(b); // built aside with the same ledger, then in its place
	assert_true(pring_told(&b->ledgers[0], NUM, &base));
	assert_int_equal(base, 0x800c800c);
	struct request r;
	struct dev_reply reply;
	request_good(b, &r, VU_SET_VRING_ADDR, 0);
	memset(r.payload + 8, 0xf0, 8); // a descriptor ring that lies nowhere: refused
	r.hdr.flags |= VU_FLAG_NEED_REPLY;
	bed_send(b, &r, &reply);
	assert_int_equal(reply.bytes[12], 1);
	laps(b, 0, 3);
	assert_true(pring_told(&b->ledgers[0], NUM, &base));
	assert_int_equal(base, 0x800f800f);
	assert_int_equal(bed_ok(b, VU_GET_VRING_BASE, 0) >> 32, base);
	assert_false(pring_told(&b->ledgers[0], NUM, &base)); // the next start is told where
	assert_false(pring_told(&b->ledgers[1], NUM, &base));
	base_of(b, 0, 0x800f800f);
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	assert_false(pring_told(&b->ledgers[0], NUM, &base));
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(ring_base(b->ring[0]), 0x800f800f);
	assert_true(pring_told(&b->ledgers[0], NUM, &base));
	assert_int_equal(base, 0x800f800f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes_and_addresses, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(bases, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(base_before_size, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(goes_on, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(stale_base, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(ledger_is_kept, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(in_order_is_told, bed_setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
