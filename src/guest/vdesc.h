// One descriptor of a split ring or of an indirect table, read exactly once into our own memory.
#ifndef GUEST_VDESC_H
#define GUEST_VDESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "guest/mem.h"
#include "guest/vlayout.h"

struct vdesc { // our copy
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

static inline struct vdesc vdesc_split(uint64_t lo, uint64_t hi)
{
	return (struct vdesc){ .addr = lo, .len = (uint32_t)hi, .flags = (uint16_t)(hi >> 32), .next = (uint16_t)(hi >> 48) };
}

// volatile: two loads, exactly; the compiler may neither repeat nor split them
static inline struct vdesc vdesc_load(const void *table, uint32_t i)
{
	const volatile uint64_t *d = (const volatile uint64_t *)((const uint8_t *)table + (size_t)i * VDESC_SIZE);
	uint64_t lo = d[0], hi = d[1];
	return vdesc_split(lo, hi);
}

// An entry of an indirect table: the table may be unaligned and may straddle two regions.
static inline bool vdesc_load_indirect(const struct mem_map *mem, uint64_t table, uint32_t i, struct vdesc *out)
{
	uint8_t raw[VDESC_SIZE];
	uint64_t gpa = table + (uint64_t)i * VDESC_SIZE;
	for (uint32_t got = 0; got < VDESC_SIZE;) {
		uint64_t part;
		const uint8_t *host = mem_gpa_part(mem, gpa + got, VDESC_SIZE - got, &part);
		if (!host)
			return false;
		for (uint64_t k = 0; k < part; k++)
			raw[got + k] = *(const volatile uint8_t *)(host + k);
		got += (uint32_t)part;
	}
	uint64_t lo, hi;
	memcpy(&lo, raw, 8);
	memcpy(&hi, raw + 8, 8);
	*out = vdesc_split(lo, hi);
	return true;
}

#endif
