// What a hostile guest writes into its rings: cases as data, one function that writes each kind.
#ifndef PROTO_HOSTILE_H
#define PROTO_HOSTILE_H

#include "proto/lan.h"

#define HOSTILE_RING 64u   // entries
#define HOSTILE_FRAME 100u // bytes of the frame behind the header at data

struct hostile {
	struct lan lan; // guest 0 is hostile, guest 1 an ordinary one
	struct vq *q;   // the ring in hand
	struct gmem *mem;
	uint64_t data; // 128 KiB of the driver's; at its start a header and a frame
	uint64_t edge; // where the second region begins, adjacent to the first
	uint64_t end;  // of all memory
};

struct hostile_case {
	const char *name; // NULL ends a table
	void (*make)(struct hostile *h, unsigned arg);
	unsigned arg;
	int deliver; // 1: must arrive; -1: must not; 0: either
};

extern const struct hostile_case hostile_tx[], hostile_rx[], hostile_packed_tx[], hostile_packed_rx[];

// A bed of two guests, guest 0 hostile with this ring in hand, its rings packed or not. False: failed is set.
bool hostile_open(struct hostile *h, struct bed *b, unsigned ring, bool packed);
// Both kinds of ring, one case after the other: the transmit ring, the receive ring.
void hostile_run_tx(struct bed *b, const struct hostile_case *cases, bool packed);
void hostile_run_rx(struct bed *b, const struct hostile_case *cases, bool packed);
// A ring that broke is heard of by its err descriptor, and runs again once it was stopped and set up anew. spoil makes a ring that breaks,
// mend offers the frame at data.
void hostile_run_repair(struct bed *b, bool packed, void (*spoil)(struct hostile *h), void (*mend)(struct hostile *h));
// The daemon does not spin, and each ring stops where memory says.
void hostile_bounded(struct hostile *h);

static inline void hostile_put(struct hostile *h, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	h->q->desc[i] = (struct vq_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static inline struct vq_desc *hostile_table(struct hostile *h, uint64_t at)
{
	return (struct vq_desc *)(void *)gmem_at(h->mem, at);
}

#endif
