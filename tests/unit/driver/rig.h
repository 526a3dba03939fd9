// The device's side of one ring, moved by hand in the test's own thread: written from the specification and from nothing of
// the driver's but the addresses. It takes nothing on trust: what the driver wrote wrongly is a text in `wrong`.
#ifndef RIG_H
#define RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/vq.h"

#define RIG_SEGS 8u

struct rig_chain {
	uint16_t id;    // head or buffer id
	uint16_t descs; // places in the ring
	unsigned n;
	struct vq_buf seg[RIG_SEGS];
};

struct rig {
	const struct vq *q; // for size, format and addresses
	const struct gmem *mem;
	uint8_t *desc, *driver, *device;
	// Split: free running. Packed: place by place, the lap in the wrap counter.
	uint16_t next, used;
	bool next_wrap, used_wrap;
	uint16_t table; // in order: the split descriptor that must come next
	const char *wrong;
};

// base as SET_VRING_BASE would bring it.
void rig_init(struct rig *r, const struct vq *q, const struct gmem *mem, uint32_t base);
// The next available chain. False: none (or wrong is set).
bool rig_fetch(struct rig *r, struct rig_chain *c);
// One used entry for `chains` chains that take `descs` places: more than one is a batch, whose last is c.
void rig_used(struct rig *r, const struct rig_chain *c, uint32_t len, unsigned chains, unsigned descs);

// Ask to be kicked for the place that is `ahead` of the next one (may be negative), or always, or never.
enum rig_ask { RIG_ALWAYS, RIG_NEVER, RIG_AT };
void rig_ask(struct rig *r, enum rig_ask ask, int ahead);
// Whether the device has to call, when its used place has moved on by `descs` (packed) or `chains` (split) to where it is.
bool rig_must_call(const struct rig *r, unsigned chains, unsigned descs);

#endif
