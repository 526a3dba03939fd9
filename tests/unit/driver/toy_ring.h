// The toy's guest memory and rings, in both formats: what is there to serve, and its completion. Each write has its log bit.
#ifndef TOY_RING_H
#define TOY_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "driver/vq.h"
#include "toy.h"
#include "wire/vu_spec.h"

#define TOY_MAX_SEGS 64u
#define TOY_MAX_PENDING 64u

struct toy_used {
	uint16_t id, descs;
	uint32_t len;
	bool write;
};

struct toy_ring {
	uint32_t num;
	struct vu_addr addr;
	bool has_addr, started;
	uint16_t next, used;                      // split
	struct vq_pos p_next, p_used;             // packed
	struct toy_used pending[TOY_MAX_PENDING]; // packed: used and not written yet
	unsigned n_pending;
	int kick, call;
};

struct toy_mem {
	enum toy_fault fault;
	uint64_t features;
	unsigned n_regions;
	struct vu_region region[VU_MAX_REGIONS];
	uint8_t *map[VU_MAX_REGIONS];
	uint64_t *log;
	size_t log_bytes;
};

struct toy_seg {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct toy_chain {
	uint16_t id, descs;
	unsigned n;
	struct toy_seg seg[TOY_MAX_SEGS];
};

bool toy_packed(const struct toy_mem *m);
// Host address of a guest-physical (or front-end virtual, user) one.
uint8_t *toy_at(const struct toy_mem *m, uint64_t addr, bool user);
// Write, and log the write unless the fault is of this kind.
void toy_store(struct toy_mem *m, enum toy_fault kind, uint64_t gpa, const void *from, uint32_t len);

void toy_ring_base(const struct toy_mem *m, struct toy_ring *r, uint32_t base);
uint32_t toy_ring_place(const struct toy_mem *m, const struct toy_ring *r); // for GET_VRING_BASE
bool toy_more(const struct toy_mem *m, const struct toy_ring *r);           // is a chain there?
void toy_next(const struct toy_mem *m, struct toy_ring *r, struct toy_chain *c);
// Complete c, with another id if id is not its own. Seen by the driver after toy_publish, which also calls.
void toy_used(struct toy_mem *m, struct toy_ring *r, const struct toy_chain *c, uint16_t id, uint32_t len);
void toy_publish(struct toy_mem *m, struct toy_ring *r);

#endif
