// Memory that others may write at any moment, read once, whatever the compiler thinks of reading it again.
#ifndef BASE_ONCE_H
#define BASE_ONCE_H

#include <stdint.h>

struct once64 {
	uint64_t v;
} __attribute__((packed, may_alias));

// The eight bytes at p, which need not be aligned. Not one access where that is not aligned: they may be of two moments.
static inline uint64_t once_load64(const uint8_t *p)
{
	return ((const volatile struct once64 *)p)->v;
}

#endif
