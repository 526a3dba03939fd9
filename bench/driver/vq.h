// The driver's side of a virtqueue, split (virtio 1.2, 2.7) or packed (2.8): direct and indirect chains, event suppression,
// completion in any order or in order. One face over two formats: vq_split.c, vq_packed.c. The fields are open on purpose:
// hostile tests write the rings themselves, and a benchmark has its own loop over the same memory.
#ifndef DRIVER_VQ_H
#define DRIVER_VQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/gmem.h"

enum {
	VQ_NEXT = 1,
	VQ_WRITE = 2,
	VQ_INDIRECT = 4,
	VQ_AVAIL = 1 << 7, // packed rings only
	VQ_USED = 1 << 15,
};

struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vq_elem {
	uint32_t id;
	uint32_t len;
};

struct vq_slot {        // of a head (split) or buffer id (packed)
	uint16_t descs; // in the ring; 0: not out
	uint16_t next;  // packed: the next free id
	uint32_t token;
	uint32_t room; // bytes that the device may write
};

struct vq_buf {
	uint64_t gpa;
	uint32_t len;
	bool write; // the device writes it
};

// -- packed ------------------------------------------------------------------------------------------------------------
struct vq_pdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

struct vq_pos {        // a place in a packed ring
	uint16_t slot; // below size
	bool wrap;     // the wrap counter there
};

// A side's event suppression area: off and wrap in bits 0 to 15 as in a base, one of these in bits 16 to 31.
enum { VQ_EVENT_ENABLE = 0, VQ_EVENT_DISABLE = 1, VQ_EVENT_DESC = 2 };

struct vq_packed {
	struct vq_pdesc *desc;
	uint32_t *driver_event; // at avail_gpa: when we want to be called
	uint32_t *device_event; // at used_gpa: when the device wants to be kicked
	struct vq_pos avail;    // where the next descriptor goes
	struct vq_pos used;     // where the next used descriptor comes
	struct vq_pos shown;    // avail as the device sees it; the flags of the descriptor there are written by vq_publish
	uint16_t shown_flags;   // those flags
};

struct vq {
	uint16_t size, mask; // mask: split rings only
	bool packed;
	bool event_idx;
	bool in_order;        // set it before vq_reset
	struct vq_desc *desc; // split: descriptors; and
	uint16_t *avail;      // flags, idx, ring[size], used_event
	uint16_t *used;       // flags, idx
	struct vq_elem *elem; // the used ring
	uint16_t *avail_event;
	struct vq_packed p;
	uint64_t desc_gpa, avail_gpa, used_gpa; // packed: descriptor ring, driver area, device area
	struct vq_slot *slot;
	uint16_t free_head, n_free; // head: of free descriptors (split), of free ids (packed); n_free: descriptors
	// Chains, free running; split: avail.idx and used.idx.
	uint16_t next_avail;
	uint16_t published; // that the device sees
	uint16_t last_used;
	// In order, one used entry may end a batch of chains.
	bool in_batch;
	struct vq_elem batch; // its last
	uint16_t oldest;      // head or id of the oldest chain that is out
	int kick;             // borrowed, -1: none
	uint64_t kicks;       // written
	const char *broken;   // the device broke a rule: what
};

// A split queue: areas in mem, size a power of 2 up to 32768. spread places the used ring so that flags+idx, the elements
// and avail_event lie in different pages (elements in pages of their own if size is a multiple of 512). False: no memory.
bool vq_init(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread);
// A packed one: any size up to 32768; spread leaves two descriptors in the ring's first page.
bool vq_init_packed(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread);
void vq_fini(struct vq *q);
// A queue that was freshly reset, and that since then has seen base chains (split) or descriptors (packed) come and go.
// Forgets everything that is out. q->in_order says whether the device completes in order.
void vq_reset(struct vq *q, uint16_t base, bool event_idx);

// Offer a chain of n buffers (readable ones first). The device sees it after vq_publish. False: not enough descriptors.
bool vq_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token);
// The same through an indirect table of n descriptors at table_gpa (host address table; vq_pdesc if packed).
bool vq_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
		     uint32_t token);
// Split: put head into the avail ring as it is, without any check or account: for hostile tests.
void vq_offer_raw(struct vq *q, uint16_t head);
// Packed: put d into the next place as it is, with the bits that make it available; no check, no account. Counts as a chain.
void vq_packed_raw(struct vq *q, struct vq_pdesc d);
// Show what was added; kick if the device asked for it (or force).
void vq_publish(struct vq *q, bool force);
void vq_kick(struct vq *q);

// The next completed chain: its token and the length that the device says (in order, for a chain that a batch skipped: all
// that the device may write). False: none (or broken is set).
bool vq_take(struct vq *q, uint32_t *token, uint32_t *len);
// Ask for a call at the next completion; true if there is one already.
bool vq_arm(struct vq *q);
// Ask for none.
void vq_disarm(struct vq *q);
// last_used and what the device has completed beyond it; split: used.idx. Packed: walks the ring, not for a hot path.
uint16_t vq_used_idx(const struct vq *q);
// What SET_VRING_BASE is to say for a device that goes on behind the last completion in memory and has nothing in hand.
uint32_t vq_base(const struct vq *q);
static inline uint16_t vq_out(const struct vq *q) // chains that the device has
{
	return (uint16_t)(q->published - q->last_used);
}

#endif
