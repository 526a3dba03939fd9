// Bit numbers in, masks hidden: a feature is named by its number everywhere, so that a number can't be used as a mask.
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define BIT64(n) (UINT64_C(1) << (n))

static inline bool bits_has(uint64_t set, unsigned bit)
{
	return (set >> bit) & 1u;
}

static inline uint64_t bits_with(uint64_t set, unsigned bit)
{
	return set | BIT64(bit);
}

static inline uint64_t bits_without(uint64_t set, unsigned bit)
{
	return set & ~BIT64(bit);
}

// May a + b be formed without wrapping, and is it at most limit?
static inline bool sum_fits(uint64_t a, uint64_t b, uint64_t limit)
{
	return a <= limit && b <= limit - a;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
