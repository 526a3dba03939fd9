#include "load/lane_int.h"

static inline void offer(struct lane *l, uint16_t id, uint64_t gpa, uint32_t len, uint16_t flags)
{
	struct vq *q = l->q;
	q->desc[id] = (struct vq_desc){ .addr = gpa, .len = len, .flags = flags };
	q->avail[2 + (q->next_avail & q->mask)] = id;
	q->next_avail++;
}

void lane_split_post_all(struct lane *l)
{
	lane_post_with(l, offer);
}

unsigned lane_split_reap(struct lane *l)
{
	struct vq *q = l->q;
	uint16_t used = vq_used_idx(q), n = (uint16_t)(used - q->last_used);
	if (n > lane_out(l)) {
		l->broken = "used index beyond what was offered";
		return 0;
	}
	for (uint16_t i = 0; i < n; i++) {
		uint32_t id = q->elem[(uint16_t)(q->last_used + i) & q->mask].id;
		if (q->in_order) // one element may stand for a batch; ids go round in the order in which they were offered
			id = (uint16_t)(q->last_used + i) & q->mask;
		if (id > q->mask) {
			l->broken = "used id beyond the ring";
			return 0;
		}
		*lane_free_id(l, (unsigned)l->n_free + i) = (uint16_t)id;
	}
	l->n_free = (uint16_t)(l->n_free + n);
	q->last_used = used;
	return n;
}

void lane_split_send(struct lane *l, unsigned n)
{
	lane_send_with(l, n, offer);
}

unsigned lane_split_receive(struct lane *l, unsigned max, lane_check *check, void *arg)
{
	struct vq *q = l->q;
	struct intake in = { 0 };
	uint16_t n = (uint16_t)(vq_used_idx(q) - q->last_used);
	if (n == 0)
		return 0;
	if (n > lane_out(l)) {
		l->broken = "used index beyond what was offered";
		return 0;
	}
	for (uint16_t i = 0; i < n && (in.rest || in.frames < max); i++) {
		struct vq_elem e = q->elem[q->last_used & q->mask];
		if (e.id > q->mask) {
			l->broken = "used id beyond the ring";
			break;
		}
		uint16_t id = (uint16_t)e.id;
		if (!lane_take_in(l, &in, l->buf[id], e.len, check, arg))
			break;
		l->buf[id] = lane_again(l, id);
		offer(l, id, lane_gpa(l, l->buf[id]), l->room, VQ_WRITE);
		q->last_used++;
	}
	return lane_taken_in(l, &in);
}
