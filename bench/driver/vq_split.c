#include <string.h>

#include "driver/vq_int.h"

#define SPLIT_AVAIL_BYTES(size) (6 + 2 * (uint64_t)(size))
#define SPLIT_USED_BYTES(size) (6 + 8 * (uint64_t)(size))

bool vq_split_init(struct vq *q, struct gmem *mem, unsigned region, bool spread)
{
	q->desc_gpa = gmem_area(mem, region, GMEM_DRIVER, 16 * (uint64_t)q->size, 0);
	q->avail_gpa = gmem_area(mem, region, GMEM_DRIVER, SPLIT_AVAIL_BYTES(q->size), 0);
	q->used_gpa = gmem_area(mem, region, GMEM_DEVICE, SPLIT_USED_BYTES(q->size), spread ? GMEM_PAGE - 4 : 0);
	if (q->desc_gpa == 0 || q->avail_gpa == 0 || q->used_gpa == 0)
		return false;
	q->desc = (struct vq_desc *)(void *)gmem_at(mem, q->desc_gpa);
	q->avail = (uint16_t *)(void *)gmem_at(mem, q->avail_gpa);
	q->used = (uint16_t *)(void *)gmem_at(mem, q->used_gpa);
	q->elem = (struct vq_elem *)(void *)(q->used + 2);
	q->avail_event = (uint16_t *)(void *)(q->elem + q->size);
	return true;
}

void vq_split_reset(struct vq *q, uint16_t base)
{
	for (unsigned i = 0; i < q->size; i++)
		q->desc[i] = (struct vq_desc){.next = (uint16_t)(i + 1) & q->mask};
	memset(q->avail, 0, SPLIT_AVAIL_BYTES(q->size));
	memset(q->used, 0, SPLIT_USED_BYTES(q->size));
	q->avail[1] = q->used[1] = base;
	*q->avail_event = base;
	q->avail[2 + q->size] = base; // used_event: call for the first completion
}

bool vq_split_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token)
{
	// The free list is threaded through next. In order it is never rethreaded: it stays the order of the table, as it
	// has to be then.
	uint16_t head = q->free_head, at = head;
	for (unsigned i = 0; i < n; i++) {
		struct vq_desc *d = &q->desc[at];
		d->addr = buf[i].gpa;
		d->len = buf[i].len;
		d->flags = vq_flags(buf, i, n);
		at = d->next;
	}
	q->free_head = at;
	vq_slot_out(q, head, n, buf, n, token);
	vq_offer_raw(q, head);
	return true;
}

bool vq_split_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
			   uint32_t token)
{
	for (unsigned i = 0; i < n; i++)
		table[i] = (struct vq_desc){
			.addr = buf[i].gpa,
			.len = buf[i].len,
			.flags = vq_flags(buf, i, n),
			.next = (uint16_t)(i + 1 < n ? i + 1 : 0),
		};
	uint16_t head = q->free_head;
	struct vq_desc *d = &q->desc[head];
	q->free_head = d->next;
	d->addr = table_gpa;
	d->len = n * (uint32_t)sizeof(*table);
	d->flags = VQ_INDIRECT;
	vq_slot_out(q, head, 1, buf, n, token);
	vq_offer_raw(q, head);
	return true;
}

void vq_offer_raw(struct vq *q, uint16_t head)
{
	q->avail[2 + (q->next_avail & q->mask)] = head;
	q->next_avail++;
}

bool vq_split_show(struct vq *q)
{
	uint16_t old = q->published, now = q->next_avail;
	if (old == now)
		return false;
	__atomic_store_n(&q->avail[1], now, __ATOMIC_RELEASE);
	q->published = now;
	// The index must be visible before we look whether the device wants to hear of it.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->event_idx) {
		uint16_t event = __atomic_load_n(q->avail_event, __ATOMIC_RELAXED);
		return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
	}
	return !(__atomic_load_n(&q->used[0], __ATOMIC_RELAXED) & 1);
}

uint16_t vq_split_used_idx(const struct vq *q)
{
	return __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE);
}

// The next chain of a batch, whose one element lies at the place of the batch's first chain.
static bool split_next_in_order(struct vq *q, struct vq_elem *e)
{
	if (!q->in_batch)
		q->batch = *e;
	q->in_batch = q->batch.id != q->oldest;
	if (!q->in_batch)
		*e = q->batch;
	else
		*e = (struct vq_elem){.id = q->oldest, .len = q->slot[q->oldest].room};
	if (!vq_id_ok(q, e->id))
		return false;
	q->oldest = (uint16_t)(e->id + q->slot[e->id].descs) & q->mask;
	return true;
}

bool vq_split_take(struct vq *q, uint32_t *token, uint32_t *len)
{
	if (q->last_used == vq_split_used_idx(q)) {
		if (q->in_batch)
			q->broken = "a batch beyond used.idx";
		return false;
	}
	struct vq_elem e = {0};
	if (!q->in_batch) {
		e = q->elem[q->last_used & q->mask];
		if (!vq_id_ok(q, e.id))
			return false;
	}
	if (q->in_order && !split_next_in_order(q, &e))
		return false;
	struct vq_slot *s = &q->slot[e.id];
	*token = s->token;
	*len = e.len;
	if (!q->in_order) {
		uint16_t last = (uint16_t)e.id;
		for (unsigned i = 1; i < s->descs; i++)
			last = q->desc[last].next;
		q->desc[last].next = q->free_head;
		q->free_head = (uint16_t)e.id;
	}
	q->n_free = (uint16_t)(q->n_free + s->descs);
	s->descs = 0;
	q->last_used++;
	return true;
}

bool vq_split_arm(struct vq *q)
{
	if (q->event_idx)
		__atomic_store_n(&q->avail[2 + q->size], q->last_used, __ATOMIC_RELAXED);
	__atomic_store_n(&q->avail[0], 0, __ATOMIC_RELAXED);
	// The wish must be visible before we look for what it would have told us.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return q->last_used != vq_split_used_idx(q);
}

void vq_split_disarm(struct vq *q)
{
	if (q->event_idx)
		__atomic_store_n(&q->avail[2 + q->size], (uint16_t)(q->last_used - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->avail[0], 1, __ATOMIC_RELAXED);
}
