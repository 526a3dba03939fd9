// What a guest may ask of the transmit header, swept over boundary values, and frames whose checksum is known.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/vnet.h"

// -- known frames --------------------------------------------------------------------------------------------------------

static const struct known {
	const char *name;
	uint32_t len;
	uint16_t csum_start, csum_offset;
	const char *hex; // with the right checksum
} known[] = {
	{ "udp over ipv4", 66, 34, 6,
	  "525400000002525400000001080045000034123440004011a516c0a8010ac0a801149c4000350020e1c66e756d626572"
	  "656420646174616772616d20303030303432" },
	{ "udp over ipv4, odd length", 65, 34, 6,
	  "525400000002525400000001080045000033123440004011a517c0a8010ac0a801149c400035001fe1fa6e756d626572"
	  "656420646174616772616d203030303034" },
	{ "udp over ipv4, empty", 42, 34, 6,
	  "52540000000252540000000108004500001c123440004011a52ec0a8010ac0a801149c4000350008dff9" },
	{ "udp over ipv4, tagged", 70, 38, 6,
	  "52540000000252540000000181000007080045000034123440004011a516c0a8010ac0a801149c4000350020e1c66e75"
	  "6d626572656420646174616772616d20303030303432" },
	{ "tcp over ipv4", 72, 34, 16,
	  "52540000000252540000000108004500003a123440004006a51bc0a8010ac0a80114afc80050010203040a0b0c0d5018"
	  "faf088840000474554202f20485454502f312e300d0a0d0a" },
	{ "udp over ipv6", 87, 54, 6,
	  "52540000000252540000000186dd600000000021114020010db800000000000000000000001020010db8000000000000"
	  "0000000000209c4000350021e8916e756d626572656420646174616772616d2030303030343221" },
	{ "tcp over ipv6, odd length", 77, 54, 16,
	  "52540000000252540000000186dd600000000017064020010db800000000000000000000001020010db8000000000000"
	  "000000000020afc80050010203040a0b0c0d5018faf0bb9b00006f6464" },
	{ "udp over ipv4, checksum 0 is ffff", 48, 34, 6,
	  "525400000002525400000001080045000022123440004011a528c0a8010ac0a801149c400035000effff7a65726ff318" },
	{ "udp over ipv6, checksum 0 is ffff", 68, 54, 6,
	  "52540000000252540000000186dd60000000000e114020010db800000000000000000000001020010db8000000000000"
	  "0000000000209c400035000effff7a65726f1ae6" },
	{ "tcp over ipv4, checksum 0 stays 0", 60, 34, 16,
	  "52540000000252540000000108004500002e123440004006a527c0a8010ac0a80114afc80050010203040a0b0c0d5018"
	  "faf0000000007a65726f7a5b" },
};

static void unhex(uint8_t *out, const char *hex, uint32_t len)
{
	assert_int_equal(strlen(hex), 2 * (size_t)len);
	for (uint32_t i = 0; i < len; i++) {
		unsigned byte;
		assert_int_equal(sscanf(hex + 2 * (size_t)i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
}

static uint16_t slow_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// Sum of the pseudo header of the datagram at l4: what a driver leaves in the checksum's place.
static uint16_t pseudo_sum(const uint8_t *frame, uint32_t len, uint32_t l4, uint16_t csum_offset)
{
	uint32_t proto = csum_offset == 6 ? 17 : 6, l4_len = len - l4;
	if (frame[12] == 0x86)
		return slow_sum(proto + l4_len, frame + l4 - 32, 32);
	return slow_sum(proto + l4_len, frame + l4 - 8, 8);
}

static void test_known_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const struct known *k = &known[i];
		uint8_t want[256];
		uint8_t *frame = malloc(k->len);
		assert_non_null(frame);
		unhex(want, k->hex, k->len);
		memcpy(frame, want, k->len);
		uint16_t sum = pseudo_sum(frame, k->len, k->csum_start, k->csum_offset);
		frame[k->csum_start + k->csum_offset] = (uint8_t)(sum >> 8);
		frame[k->csum_start + k->csum_offset + 1] = (uint8_t)sum;
		struct vnet_hdr h = { .flags = VNET_F_NEEDS_CSUM, .csum_start = k->csum_start, .csum_offset = k->csum_offset };
		const char *why = NULL;
		assert_true(vnet_tx_sane(&h, k->len, true, &why));
		assert_int_equal(h.flags, VNET_F_NEEDS_CSUM);
		vnet_csum_complete(&h, frame, k->len);
		if (memcmp(frame, want, k->len) != 0)
			print_error("%s\n", k->name);
		assert_memory_equal(frame, want, k->len);
		assert_int_equal(h.flags, 0);
		assert_int_equal(h.csum_start, 0);
		assert_int_equal(h.csum_offset, 0);
		free(frame);
	}
}

// -- the sweep -----------------------------------------------------------------------------------------------------------

static const uint8_t flag_set[] = { 0, 1, 2, 3, 4, 5, 8, 0x80, 0xfe, 0xff };
static const uint8_t gso_set[] = { 0, 1, 3, 4, 5, 0x20, 0x40, 0x80, 0x81, 0xff };
static const uint32_t start_set[] = { 0, 1, 13, 14, 18, 33, 34, 35, 38, 54, 58, 59, 60, 61, 64, 1511, 1512, 1513,
				      1514, 65533, 65534, 65535 };
static const uint32_t offset_set[] = { 0, 1, 2, 6, 16, 17, 24, 25, 26, 1478, 1479, 65499, 65500, 65533, 65534, 65535 };
static const uint32_t len_set[] = { 0, 1, 13, 14, 34, 35, 36, 42, 60, 61, 64, 1514, 65535, 65536, 65593 };

#define GUARD 16

// Complete the checksum of a frame between guard bytes: nothing but the two bytes may change.
static void check_touches_only_csum(struct vnet_hdr h, uint32_t len)
{
	static uint8_t was[GUARD + 65593 + GUARD];
	uint8_t *block = malloc(len + 2 * GUARD);
	assert_non_null(block);
	for (uint32_t i = 0; i < len + 2 * GUARD; i++)
		was[i] = (uint8_t)(i * 7 + 3);
	memcpy(block, was, len + 2 * GUARD);
	uint32_t at = GUARD + h.csum_start + h.csum_offset;
	vnet_csum_complete(&h, block + GUARD, len);
	assert_memory_equal(block, was, at);
	assert_memory_equal(block + at + 2, was + at + 2, len + 2 * GUARD - at - 2);
	free(block);

	uint8_t *exact = malloc(len); // and ASan looks at the reads
	assert_non_null(exact);
	memcpy(exact, was + GUARD, len);
	h.flags = VNET_F_NEEDS_CSUM;
	vnet_csum_complete(&h, exact, len);
	free(exact);
}

// What the rule says, written once more in another way.
static bool expect_sane(const struct vnet_hdr *h, uint32_t len, bool csum_ok)
{
	if (h->gso_type)
		return false;
	if (!(h->flags & 1))
		return true;
	return csum_ok && h->csum_start >= 34 && (uint64_t)h->csum_start + h->csum_offset + 2 <= len;
}

static unsigned sweep_one(struct vnet_hdr given, uint32_t len, bool csum_ok)
{
	struct vnet_hdr h = given;
	const char *why = NULL;
	bool sane = vnet_tx_sane(&h, len, csum_ok, &why);
	assert_int_equal(sane, expect_sane(&given, len, csum_ok));
	if (!sane) {
		assert_non_null(why);
		return 0;
	}
	assert_null(why);
	assert_int_equal(h.gso_type, 0);
	assert_int_equal(h.gso_size, 0);
	assert_int_equal(h.hdr_len, 0);
	assert_int_equal(h.flags, given.flags & VNET_F_NEEDS_CSUM);
	if (!h.flags) {
		assert_int_equal(h.csum_start, 0);
		assert_int_equal(h.csum_offset, 0);
		return 0;
	}
	assert_int_equal(h.csum_start, given.csum_start);
	assert_int_equal(h.csum_offset, given.csum_offset);
	assert_true((uint32_t)h.csum_start + h.csum_offset + 2 <= len);
	check_touches_only_csum(h, len);
	return 1;
}

static void test_sweep(void **state)
{
	(void)state;
	unsigned completed = 0;
	struct vnet_hdr h = { .hdr_len = 0xffff, .gso_size = 1448 };
	for (size_t f = 0; f < ARRAY_LEN(flag_set); f++)
		for (size_t g = 0; g < ARRAY_LEN(gso_set); g++)
			for (size_t s = 0; s < ARRAY_LEN(start_set); s++)
				for (size_t o = 0; o < ARRAY_LEN(offset_set); o++)
					for (size_t l = 0; l < ARRAY_LEN(len_set); l++) {
						h.flags = flag_set[f];
						h.gso_type = gso_set[g];
						h.csum_start = (uint16_t)start_set[s];
						h.csum_offset = (uint16_t)offset_set[o];
						completed += sweep_one(h, len_set[l], true);
						sweep_one(h, len_set[l], false);
					}
	assert_true(completed > 1000);
}

// Any frame, any place for the checksum: the stored value makes the sum right, and a header that is not sane does no harm.
static void test_complete_by_reference(void **state)
{
	(void)state;
	uint8_t frame[128], was[128];
	for (uint32_t len = 0; len <= sizeof(frame); len++)
		for (uint32_t offset = 0; offset < 128; offset += 2) {
			for (uint32_t i = 0; i < len; i++)
				was[i] = (uint8_t)(i * 31 + len);
			memcpy(frame, was, len);
			struct vnet_hdr h = { .flags = VNET_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = (uint16_t)offset };
			vnet_csum_complete(&h, frame, len);
			if (34 + offset + 2 > len) {
				assert_memory_equal(frame, was, len);
				continue;
			}
			uint16_t want = (uint16_t)~slow_sum(0, was + 34, len - 34);
			if (want == 0 && offset == 6)
				want = 0xffff;
			assert_int_equal(frame[34 + offset] << 8 | frame[35 + offset], want);
		}
	struct vnet_hdr h = { .csum_start = 34, .csum_offset = 6 };
	memcpy(frame, was, sizeof(frame));
	vnet_csum_complete(&h, frame, sizeof(frame)); // not asked for
	assert_memory_equal(frame, was, sizeof(frame));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_frames),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_complete_by_reference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
