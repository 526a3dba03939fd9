// The checksum against a byte-wise reference: lengths, alignments, splits into pieces, values that carry.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/vnet.h"

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t any(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

// RFC 1071 word by word, each carry put back at once.
static uint16_t slow_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

// A heap block of its own for each piece, so that ASan sees one byte too much.
static uint32_t add_exact(uint32_t sum, const uint8_t *p, size_t len, size_t misalign, bool *odd)
{
	uint8_t *block = malloc(misalign + len + (misalign + len == 0));
	assert_non_null(block);
	memcpy(block + misalign, p, len);
	sum = csum_add(sum, block + misalign, len, odd);
	free(block);
	return sum;
}

static void test_published_examples(void **state)
{
	(void)state;
	static const uint8_t rfc1071[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	static const uint8_t ipv4_header[] = { 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
					       0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7 };
	bool odd = false;
	assert_int_equal(csum_add(0, rfc1071, sizeof(rfc1071), &odd), 0xddf2);
	assert_int_equal(csum_fold(csum_add(0, ipv4_header, sizeof(ipv4_header), &odd)), 0xb861);
	assert_false(odd);
}

static void test_fold(void **state)
{
	(void)state;
	assert_int_equal(csum_fold(0), 0xffff);
	assert_int_equal(csum_fold(0xffff), 0);
	assert_int_equal(csum_fold(0x10000), 0xfffe);
	assert_int_equal(csum_fold(0x1fffe), 0);
	assert_int_equal(csum_fold(0xffffffff), 0);
	bool odd = true;
	assert_int_equal(csum_add(0x12345678, NULL, 0, &odd), 0x12345678); // nothing changes nothing
	assert_true(odd);
	odd = false;
	assert_int_equal(csum_add(0xffffffff, "\x00\x01", 2, &odd), 1);
}

static void test_every_length_and_alignment(void **state)
{
	(void)state;
	uint8_t data[200];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)any(256);
	for (size_t len = 0; len <= sizeof(data); len++)
		for (size_t misalign = 0; misalign < 8; misalign++) {
			bool odd = false;
			assert_int_equal(add_exact(0, data, len, misalign, &odd), slow_sum(data, len));
			assert_int_equal(odd, len % 2);
		}
}

static void test_carries(void **state)
{
	(void)state;
	static uint8_t data[65593];
	static const uint8_t fill[] = { 0xff, 0xfe, 0x80, 0x00, 0x01 };
	for (size_t f = 0; f < sizeof(fill); f++) {
		memset(data, fill[f], sizeof(data));
		for (size_t len = sizeof(data) - 40; len <= sizeof(data); len++) {
			bool odd = false;
			assert_int_equal(csum_add(0, data, len, &odd), slow_sum(data, len));
		}
	}
}

static void test_random_pieces(void **state)
{
	(void)state;
	uint8_t data[1514];
	for (int round = 0; round < 3000; round++) {
		size_t len = any(sizeof(data) + 1), at = 0;
		bool extreme = any(4) == 0;
		for (size_t i = 0; i < len; i++)
			data[i] = extreme ? (any(2) ? 0xff : 0) : (uint8_t)any(256);
		uint32_t sum = 0;
		bool odd = false;
		while (at < len) {
			size_t piece = any(3) ? any(40) : any((uint32_t)(len - at) + 1);
			if (piece > len - at)
				piece = len - at;
			sum = add_exact(sum, data + at, piece, any(8), &odd);
			at += piece;
			assert_int_equal(odd, at % 2);
		}
		assert_int_equal(sum, slow_sum(data, len));
		assert_int_equal(csum_fold(sum), (uint16_t)~slow_sum(data, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_examples), cmocka_unit_test(test_fold),
		cmocka_unit_test(test_every_length_and_alignment), cmocka_unit_test(test_carries),
		cmocka_unit_test(test_random_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
