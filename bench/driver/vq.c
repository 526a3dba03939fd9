#include "driver/vq.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VQ_AVAIL_BYTES(size) (6 + 2 * (uint64_t)(size))
#define VQ_USED_BYTES(size) (6 + 8 * (uint64_t)(size))

bool vq_init(struct vq *q, struct gmem *mem, unsigned region, uint16_t size, bool spread)
{
	memset(q, 0, sizeof(*q));
	q->kick = -1;
	q->size = size;
	q->mask = (uint16_t)(size - 1);
	q->slot = calloc(size, sizeof(*q->slot));
	q->desc_gpa = gmem_area(mem, region, GMEM_DRIVER, 16 * (uint64_t)size, 0);
	q->avail_gpa = gmem_area(mem, region, GMEM_DRIVER, VQ_AVAIL_BYTES(size), 0);
	q->used_gpa = gmem_area(mem, region, GMEM_DEVICE, VQ_USED_BYTES(size), spread ? GMEM_PAGE - 4 : 0);
	if (q->slot == NULL || q->desc_gpa == 0 || q->avail_gpa == 0 || q->used_gpa == 0)
		return false;
	q->desc = (struct vq_desc *)(void *)gmem_at(mem, q->desc_gpa);
	q->avail = (uint16_t *)(void *)gmem_at(mem, q->avail_gpa);
	q->used = (uint16_t *)(void *)gmem_at(mem, q->used_gpa);
	q->elem = (struct vq_elem *)(void *)(q->used + 2);
	q->avail_event = (uint16_t *)(void *)(q->elem + size);
	vq_reset(q, 0, false);
	return true;
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
	q->broken = NULL;
	memset(q->slot, 0, q->size * sizeof(*q->slot));
	for (unsigned i = 0; i < q->size; i++)
		q->desc[i] = (struct vq_desc){.next = (uint16_t)(i + 1)};
	q->free_head = 0;
	q->n_free = q->size;
	memset(q->avail, 0, VQ_AVAIL_BYTES(q->size));
	memset(q->used, 0, VQ_USED_BYTES(q->size));
	q->avail[1] = q->used[1] = base;
	*q->avail_event = base;
	q->avail[2 + q->size] = base; // used_event: call for the first completion
}

static void vq_show(struct vq *q, uint16_t head, unsigned descs, uint32_t token)
{
	q->slot[head] = (struct vq_slot){.descs = (uint16_t)descs, .token = token};
	q->n_free = (uint16_t)(q->n_free - descs);
	vq_offer_raw(q, head);
}

bool vq_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token)
{
	if (n == 0 || n > q->n_free)
		return false;
	uint16_t head = q->free_head, at = head;
	for (unsigned i = 0; i < n; i++) {
		struct vq_desc *d = &q->desc[at];
		d->addr = buf[i].gpa;
		d->len = buf[i].len;
		d->flags = (uint16_t)((buf[i].write ? VQ_WRITE : 0) | (i + 1 < n ? VQ_NEXT : 0));
		at = d->next;
	}
	q->free_head = at;
	vq_show(q, head, n, token);
	return true;
}

bool vq_add_indirect(struct vq *q, struct vq_desc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
		     uint32_t token)
{
	if (n == 0 || q->n_free == 0)
		return false;
	for (unsigned i = 0; i < n; i++)
		table[i] = (struct vq_desc){
			.addr = buf[i].gpa,
			.len = buf[i].len,
			.flags = (uint16_t)((buf[i].write ? VQ_WRITE : 0) | (i + 1 < n ? VQ_NEXT : 0)),
			.next = (uint16_t)(i + 1 < n ? i + 1 : 0),
		};
	uint16_t head = q->free_head;
	struct vq_desc *d = &q->desc[head];
	q->free_head = d->next;
	d->addr = table_gpa;
	d->len = n * (uint32_t)sizeof(*table);
	d->flags = VQ_INDIRECT;
	vq_show(q, head, 1, token);
	return true;
}

void vq_offer_raw(struct vq *q, uint16_t head)
{
	q->avail[2 + (q->next_avail & q->mask)] = head;
	q->next_avail++;
}

void vq_kick(struct vq *q)
{
	uint64_t one = 1;
	if (q->kick >= 0 && write(q->kick, &one, sizeof(one)) == (ssize_t)sizeof(one))
		q->kicks++;
}

void vq_publish(struct vq *q, bool force)
{
	uint16_t old = q->published, now = q->next_avail;
	if (old == now && !force)
		return;
	__atomic_store_n(&q->avail[1], now, __ATOMIC_RELEASE);
	q->published = now;
	// The index must be visible before we look whether the device wants to hear of it.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	bool wanted;
	if (q->event_idx) {
		uint16_t event = __atomic_load_n(q->avail_event, __ATOMIC_RELAXED);
		wanted = (uint16_t)(now - event - 1) < (uint16_t)(now - old);
	} else {
		wanted = !(__atomic_load_n(&q->used[0], __ATOMIC_RELAXED) & 1);
	}
	if (wanted || force)
		vq_kick(q);
}

uint16_t vq_used_idx(const struct vq *q)
{
	return __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE);
}

bool vq_take(struct vq *q, uint32_t *token, uint32_t *len)
{
	if (q->broken != NULL || q->last_used == vq_used_idx(q))
		return false;
	struct vq_elem e = q->elem[q->last_used & q->mask];
	if (e.id >= q->size || q->slot[e.id].descs == 0) {
		q->broken = e.id >= q->size ? "used id beyond the ring" : "used id that is not out";
		return false;
	}
	struct vq_slot *s = &q->slot[e.id];
	*token = s->token;
	*len = e.len;
	uint16_t last = (uint16_t)e.id;
	for (unsigned i = 1; i < s->descs; i++)
		last = q->desc[last].next;
	q->desc[last].next = q->free_head;
	q->free_head = (uint16_t)e.id;
	q->n_free = (uint16_t)(q->n_free + s->descs);
	s->descs = 0;
	q->last_used++;
	return true;
}

bool vq_arm(struct vq *q)
{
	if (q->event_idx)
		__atomic_store_n(&q->avail[2 + q->size], q->last_used, __ATOMIC_RELAXED);
	__atomic_store_n(&q->avail[0], 0, __ATOMIC_RELAXED);
	// The wish must be visible before we look for what it would have told us.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return q->last_used != vq_used_idx(q);
}

void vq_disarm(struct vq *q)
{
	if (q->event_idx)
		__atomic_store_n(&q->avail[2 + q->size], (uint16_t)(q->last_used - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->avail[0], 1, __ATOMIC_RELAXED);
}
