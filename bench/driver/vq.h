// The driver's side of a split virtqueue (virtio 1.2, 2.7): direct and indirect chains, event index, completion in any
// order. The fields are open on purpose: hostile tests write the rings themselves.
#ifndef DRIVER_VQ_H
#define DRIVER_VQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/gmem.h"

enum { VQ_NEXT = 1, VQ_WRITE = 2, VQ_INDIRECT = 4 };

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

struct vq_slot {        // of a head
	uint16_t descs; // in the ring; 0: not out
	uint32_t token;
};

struct vq_buf {
	uint64_t gpa;
	uint32_t len;
	bool write; // the device writes it
};

struct vq {
	uint16_t size, mask;
	bool event_idx;
	struct vq_desc *desc;
	uint16_t *avail;      // flags, idx, ring[size], used_event
	uint16_t *used;       // flags, idx
	struct vq_elem *elem; // the used ring
	uint16_t *avail_event;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct vq_slot *slot;
	uint16_t free_head, n_free;
	uint16_t next_avail; // free running
	uint16_t published;  // avail.idx as the device sees it
	uint16_t last_used;
	int kick;           // borrowed, -1: none
	uint64_t kicks;     // written
	const char *broken; // the device broke a rule: what
};

// Areas in mem; spread places the used ring so that flags+idx, the elements and avail_event lie in different pages
// (elements in pages of their own if size is a multiple of 512). False: no memory.
bool vq_init(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread);
void vq_fini(struct vq *q);
// A freshly reset queue, both indices at base. Forgets everything that is out.
void vq_reset(struct vq *q, uint16_t base, bool event_idx);

// Offer a chain of n buffers (readable ones first). The device sees it after vq_publish. False: not enough descriptors.
bool vq_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token);
// The same through an indirect table of n descriptors at table_gpa (host address table).
bool vq_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
		     uint32_t token);
// Put head into the avail ring as it is, without any check or account: for hostile tests.
void vq_offer_raw(struct vq *q, uint16_t head);
// Show what was added; kick if the device asked for it (or force).
void vq_publish(struct vq *q, bool force);
void vq_kick(struct vq *q);

// The next completed chain: its token and the length that the device says. False: none (or broken is set).
bool vq_take(struct vq *q, uint32_t *token, uint32_t *len);
// Ask for a call at the next completion; true if there is one already.
bool vq_arm(struct vq *q);
// Ask for none.
void vq_disarm(struct vq *q);
uint16_t vq_used_idx(const struct vq *q);
static inline uint16_t vq_out(const struct vq *q) // chains that the device has
{
	return (uint16_t)(q->published - q->last_used);
}

#endif
