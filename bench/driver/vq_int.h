// The two ring formats behind vq.h. Each function is the one of vq.h that has its name.
#ifndef DRIVER_VQ_INT_H
#define DRIVER_VQ_INT_H

#include "driver/vq.h"

// The flags of buffer i of n in a chain.
static inline uint16_t vq_flags(const struct vq_buf *buf, unsigned i, unsigned n)
{
	return (uint16_t)((buf[i].write ? VQ_WRITE : 0) | (i + 1 < n ? VQ_NEXT : 0));
}

// Account for a chain that is about to be shown.
void vq_slot_out(struct vq *q, uint16_t id, unsigned descs, const struct vq_buf *buf, unsigned n, uint32_t token);
// Is id, which a device wrote, that of a chain that is out? False: broken says what is wrong.
bool vq_id_ok(struct vq *q, uint32_t id);

bool vq_split_init(struct vq *q, struct gmem *mem, unsigned region, bool spread);
void vq_split_reset(struct vq *q, uint16_t base);
bool vq_split_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token);
bool vq_split_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
			   uint32_t token);
bool vq_split_show(struct vq *q); // true: the device asks for a kick
bool vq_split_take(struct vq *q, uint32_t *token, uint32_t *len);
bool vq_split_arm(struct vq *q);
void vq_split_disarm(struct vq *q);
uint16_t vq_split_used_idx(const struct vq *q);

bool vq_packed_init(struct vq *q, struct gmem *mem, unsigned region, bool spread);
void vq_packed_reset(struct vq *q, uint16_t base);
bool vq_packed_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token);
bool vq_packed_add_indirect(struct vq *q, struct vq_pdesc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
			    uint32_t token);
bool vq_packed_show(struct vq *q);
bool vq_packed_take(struct vq *q, uint32_t *token, uint32_t *len);
bool vq_packed_arm(struct vq *q);
void vq_packed_disarm(struct vq *q);
uint16_t vq_packed_used_idx(const struct vq *q, struct vq_pos *end); // end: where the device goes on

#endif
