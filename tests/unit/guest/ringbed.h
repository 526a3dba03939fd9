// A ring of either kind between the driver of the tests and the device under test, in memory of two regions that follow each other.
#ifndef UNIT_RINGBED_H
#define UNIT_RINGBED_H

#include <stdbool.h>
#include <stdint.h>

#include "dirty/dirty.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/mem.h"
#include "guest/ring.h"

#define RINGBED_EVENT (UINT64_C(1) << 29)
#define RINGBED_PACKED (UINT64_C(1) << 34)

struct ringbed_conf {
	uint16_t num;
	uint64_t features;
	uint16_t base; // split rings: where it starts
	bool in_order; // the driver expects it
	bool logging;
};

struct ringbed {
	struct gmem *mem;
	struct mem_map *map;
	struct vq q;
	struct vring *ring;
	struct pring *packed; // the same, if it is one
	struct dirty_log *log; // NULL: none
	int log_fd;
	uint64_t buf; // guest-physical: 64 KiB that are the device's
};

void ringbed_open(struct ringbed *b, const struct ringbed_conf *conf); // a failure fails the test
void ringbed_close(struct ringbed *b);

#endif
