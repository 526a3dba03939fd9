#include "load/lane_int.h"

static inline void step(const struct vq *q, struct vq_pos *at)
{
	if (++at->slot == q->size) {
		at->slot = 0;
		at->wrap = !at->wrap;
	}
}

// The first descriptor that is not shown yet keeps its flags back until vq_publish.
static inline void offer(struct lane *l, uint16_t id, uint64_t gpa, uint32_t len, uint16_t flags)
{
	struct vq *q = l->q;
	struct vq_pdesc *to = &q->p.desc[q->p.avail.slot];
	flags |= q->p.avail.wrap ? VQ_AVAIL : VQ_USED;
	to->addr = gpa;
	to->len = len;
	to->id = id;
	if (q->next_avail == q->published)
		q->p.shown_flags = flags;
	else
		to->flags = flags;
	step(q, &q->p.avail);
	q->next_avail++;
}

static inline bool is_used(const struct vq *q)
{
	uint16_t flags = __atomic_load_n(&q->p.desc[q->p.used.slot].flags, __ATOMIC_ACQUIRE);
	return (flags & (VQ_AVAIL | VQ_USED)) == (q->p.used.wrap ? VQ_AVAIL | VQ_USED : 0);
}

void lane_packed_post_all(struct lane *l)
{
	lane_post_with(l, offer);
}

static inline void take_back(struct lane *l, uint16_t id, unsigned at)
{
	*lane_free_id(l, l->n_free + at) = id;
	step(l->q, &l->q->p.used);
	l->q->last_used++;
}

// A used descriptor of an in-order device stands for all frames up to the one it names; ids go round in the order in which
// they were offered. How many; 0: broken.
static unsigned reap_batch(struct lane *l, uint16_t last, unsigned at, unsigned out)
{
	struct vq *q = l->q;
	unsigned n = (unsigned)(last + q->size - q->oldest) % q->size + 1;
	if (n > out) {
		l->broken = "a batch beyond what was offered";
		return 0;
	}
	for (unsigned i = 0; i < n; i++) {
		take_back(l, q->oldest, at + i);
		q->oldest = (uint16_t)((q->oldest + 1) % q->size);
	}
	return n;
}

unsigned lane_packed_reap(struct lane *l)
{
	struct vq *q = l->q;
	unsigned n = 0, out = lane_out(l);
	while (n < out && is_used(q)) {
		uint16_t id = q->p.desc[q->p.used.slot].id;
		if (id >= q->size) {
			l->broken = "used id beyond the ring";
			break;
		}
		unsigned batch = 1;
		if (q->in_order)
			batch = reap_batch(l, id, n, out - n);
		else
			take_back(l, id, n);
		if (batch == 0)
			break;
		n += batch;
	}
	l->n_free = (uint16_t)(l->n_free + n);
	return n;
}

void lane_packed_send(struct lane *l, unsigned n)
{
	lane_send_with(l, n, offer);
}

unsigned lane_packed_receive(struct lane *l, unsigned max, lane_check *check, void *arg)
{
	struct vq *q = l->q;
	struct intake in = { 0 };
	// a descriptor that is offered again here is not used before it is shown: the walk ends at the latest there
	for (unsigned left = lane_out(l); left && (in.rest || in.frames < max) && is_used(q); left--) {
		struct vq_pdesc d = q->p.desc[q->p.used.slot];
		if (d.id >= q->size) {
			l->broken = "used id beyond the ring";
			break;
		}
		if (!lane_take_in(l, &in, l->buf[d.id], d.len, check, arg))
			break;
		step(q, &q->p.used);
		q->last_used++;
		l->buf[d.id] = lane_again(l, d.id);
		offer(l, d.id, lane_gpa(l, l->buf[d.id]), l->room, VQ_WRITE);
	}
	return lane_taken_in(l, &in);
}
