#include "driver/vq.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/vq_int.h"

static bool vq_open(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread, bool packed)
{
	memset(q, 0, sizeof(*q));
	q->kick = -1;
	q->size = size;
	q->mask = (uint16_t)(size - 1);
	q->packed = packed;
	q->slot = calloc(size, sizeof(*q->slot));
	if (q->slot == NULL || !(packed ? vq_packed_init : vq_split_init)(q, mem, region, spread))
		return false;
	vq_reset(q, 0, false);
	return true;
}

bool vq_init(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread)
{
	return vq_open(q, mem, region, size, spread, false);
}

bool vq_init_packed(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread)
{
	return vq_open(q, mem, region, size, spread, true);
}

void vq_fini(struct vq *q)
{
	free(q->slot);
	q->slot = NULL;
}

void vq_reset(struct vq *q, uint16_t base, bool event_idx)
{
	q->event_idx = event_idx;
	q->next_avail = q->published = q->last_used = base;
	q->in_batch = false;
	q->broken = NULL;
	memset(q->slot, 0, q->size * sizeof(*q->slot));
	q->free_head = q->oldest = 0;
	q->n_free = q->size;
	if (q->packed)
		vq_packed_reset(q, base);
	else
		vq_split_reset(q, base);
}

void vq_slot_out(struct vq *q, uint16_t id, unsigned descs, const struct vq_buf *buf, unsigned n, uint32_t token)
{
	struct vq_slot *s = &q->slot[id];
	s->descs = (uint16_t)descs;
	s->token = token;
	s->room = 0;
	for (unsigned i = 0; i < n; i++)
		s->room += buf[i].write ? buf[i].len : 0;
	q->n_free = (uint16_t)(q->n_free - descs);
}

bool vq_id_ok(struct vq *q, uint32_t id)
{
	if (id < q->size && q->slot[id].descs != 0)
		return true;
	q->broken = id >= q->size ? "used id beyond the ring" : "used id that is not out";
	return false;
}

bool vq_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token)
{
	if (n == 0 || n > q->n_free)
		return false;
	return (q->packed ? vq_packed_add : vq_split_add)(q, buf, n, token);
}

bool vq_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
		     uint32_t token)
{
	if (n == 0 || q->n_free == 0)
		return false;
	if (q->packed)
		return vq_packed_add_indirect(q, (struct vq_pdesc *)(void *)table, table_gpa, buf, n, token);
	return vq_split_add_indirect(q, table, table_gpa, buf, n, token);
}

void vq_kick(struct vq *q)
{
	uint64_t one = 1;
	if (q->kick >= 0 && write(q->kick, &one, sizeof(one)) == (ssize_t)sizeof(one))
		q->kicks++;
}

void vq_publish(struct vq *q, bool force)
{
	bool wanted = (q->packed ? vq_packed_show : vq_split_show)(q);
	if (wanted || force)
		vq_kick(q);
}

bool vq_take(struct vq *q, uint32_t *token, uint32_t *len)
{
	if (q->broken != NULL)
		return false;
	return (q->packed ? vq_packed_take : vq_split_take)(q, token, len);
}

bool vq_arm(struct vq *q)
{
	return (q->packed ? vq_packed_arm : vq_split_arm)(q);
}

void vq_disarm(struct vq *q)
{
	(q->packed ? vq_packed_disarm : vq_split_disarm)(q);
}

uint16_t vq_used_idx(const struct vq *q)
{
	struct vq_pos end;
	return q->packed ? vq_packed_used_idx(q, &end) : vq_split_used_idx(q);
}

uint32_t vq_base(const struct vq *q)
{
	struct vq_pos end;
	if (!q->packed)
		return vq_split_used_idx(q);
	vq_packed_used_idx(q, &end);
	uint32_t at = end.slot | (uint32_t)end.wrap << 15;
	return at | at << 16;
}
