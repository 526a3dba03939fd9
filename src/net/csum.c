// The Internet checksum. It is a sum modulo 2^16 - 1, and 2^64 is 1 modulo that: so whole 64-bit words may be added in
// memory order, a carry out of 64 bits counts as 1, and the order of the two bytes is put right once, at the end.
#include "net/vnet.h"

#include <string.h>

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof(w));
	return w;
}

static inline void add_carry(uint64_t *sum, uint64_t *carry, uint64_t w)
{
	*sum += w;
	*carry += *sum < w;
}

static uint32_t fold_to_16(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint32_t)sum;
}

// Words in memory order, the last one filled up with zeros; 16 bits.
static uint32_t sum_memory_order(const uint8_t *p, size_t len)
{
	uint64_t a = 0, b = 0, carry_a = 0, carry_b = 0;
	for (; len >= 32; p += 32, len -= 32) { // two chains, because each one waits for its own carry
		add_carry(&a, &carry_a, load64(p));
		add_carry(&b, &carry_b, load64(p + 8));
		add_carry(&a, &carry_a, load64(p + 16));
		add_carry(&b, &carry_b, load64(p + 24));
	}
	for (; len >= 8; p += 8, len -= 8)
		add_carry(&a, &carry_a, load64(p));
	if (len) {
		uint64_t w = 0;
		memcpy(&w, p, len);
		add_carry(&b, &carry_b, w);
	}
	return fold_to_16((uint64_t)fold_to_16(a) + fold_to_16(b) + carry_a + carry_b);
}

uint32_t csum_add(uint32_t sum, const void *data, size_t len, bool *odd)
{
	if (len == 0)
		return sum;
	uint32_t s = sum_memory_order(data, len);
	// The sum is of words in network order. A piece that begins inside a word has its bytes the other way round.
	bool swap = (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) != *odd;
	if (swap)
		s = (s >> 8 | s << 8) & 0xffff;
	*odd ^= len & 1;
	return fold_to_16((uint64_t)sum + s);
}

uint16_t csum_fold(uint32_t sum)
{
	return (uint16_t)~fold_to_16(sum);
}
