#include <string.h>

#include "driver/vq_int.h"

bool vq_packed_init(struct vq *q, struct gmem *mem, unsigned region, bool spread)
{
	q->desc_gpa = gmem_area(mem, region, GMEM_PACKED_RING, 16 * (uint64_t)q->size, spread ? GMEM_PAGE - 32 : 0);
	q->avail_gpa = gmem_area(mem, region, GMEM_DRIVER, 4, 0);
	q->used_gpa = gmem_area(mem, region, GMEM_DEVICE, 4, 0);
	if (q->desc_gpa == 0 || q->avail_gpa == 0 || q->used_gpa == 0)
		return false;
	q->p.desc = (struct vq_pdesc *)(void *)gmem_at(mem, q->desc_gpa);
	q->p.driver_event = (uint32_t *)(void *)gmem_at(mem, q->avail_gpa);
	q->p.device_event = (uint32_t *)(void *)gmem_at(mem, q->used_gpa);
	return true;
}

static void packed_advance(const struct vq *q, struct vq_pos *at, unsigned descs)
{
	unsigned slot = at->slot + descs;
	if (slot >= q->size) {
		slot -= q->size;
		at->wrap = !at->wrap;
	}
	at->slot = (uint16_t)slot;
}

// How far it is from one place to another, over at most two laps.
static unsigned packed_distance(const struct vq *q, struct vq_pos from, struct vq_pos to)
{
	unsigned lap = q->size, a = from.slot + (from.wrap ? 0 : lap), b = to.slot + (to.wrap ? 0 : lap);
	return (b + 2 * lap - a) % (2 * lap);
}

static uint32_t packed_event(struct vq_pos at, uint32_t kind)
{
	return at.slot | (uint32_t)at.wrap << 15 | kind << 16;
}

void vq_packed_reset(struct vq *q, uint16_t base)
{
	struct vq_pos at = {.slot = base % q->size, .wrap = (base / q->size) % 2 == 0};
	q->p.avail = q->p.used = q->p.shown = at;
	// What lies behind was used in this lap, what lies ahead in the one before.
	for (unsigned i = 0; i < q->size; i++)
		q->p.desc[i] = (struct vq_pdesc){.flags = (i < at.slot) == at.wrap ? VQ_AVAIL | VQ_USED : 0};
	for (unsigned i = 0; i < q->size; i++)
		q->slot[i].next = (uint16_t)((i + 1) % q->size);
	*q->p.driver_event = packed_event(at, q->event_idx ? VQ_EVENT_DESC : VQ_EVENT_ENABLE);
	*q->p.device_event = packed_event(at, VQ_EVENT_ENABLE);
}

// Write the next descriptor. The first of those that are not shown yet keeps its flags back: a device goes through the ring
// in order and passes it only when vq_packed_show has written them, after all the others.
static void packed_put(struct vq *q, struct vq_pdesc d, bool first)
{
	struct vq_pdesc *to = &q->p.desc[q->p.avail.slot];
	d.flags |= q->p.avail.wrap ? VQ_AVAIL : VQ_USED;
	to->addr = d.addr;
	to->len = d.len;
	to->id = d.id;
	if (first)
		q->p.shown_flags = d.flags;
	else
		to->flags = d.flags;
	packed_advance(q, &q->p.avail, 1);
}

// In order the free ids are never rethreaded, so that they come round and round.
static uint16_t packed_id(struct vq *q)
{
	uint16_t id = q->free_head;
	q->free_head = q->slot[id].next;
	return id;
}

bool vq_packed_add(struct vq *q, const struct vq_buf *buf, unsigned n, uint32_t token)
{
	bool first = q->next_avail == q->published;
	uint16_t id = packed_id(q);
	for (unsigned i = 0; i < n; i++)
		packed_put(q, (struct vq_pdesc){buf[i].gpa, buf[i].len, id, vq_flags(buf, i, n)}, first && i == 0);
	vq_slot_out(q, id, n, buf, n, token);
	q->next_avail++;
	return true;
}

bool vq_packed_add_indirect(struct vq *q, struct vq_pdesc *table, uint64_t table_gpa, const struct vq_buf *buf, unsigned n,
			    uint32_t token)
{
	uint16_t id = packed_id(q);
	for (unsigned i = 0; i < n; i++) // entries follow one another, without NEXT
		table[i] = (struct vq_pdesc){buf[i].gpa, buf[i].len, 0, buf[i].write ? VQ_WRITE : 0};
	packed_put(q, (struct vq_pdesc){table_gpa, n * (uint32_t)sizeof(*table), id, VQ_INDIRECT},
		   q->next_avail == q->published);
	vq_slot_out(q, id, 1, buf, n, token);
	q->next_avail++;
	return true;
}

void vq_packed_raw(struct vq *q, struct vq_pdesc d)
{
	packed_put(q, d, q->next_avail == q->published);
	q->next_avail++;
}

bool vq_packed_show(struct vq *q)
{
	struct vq_pos old = q->p.shown;
	if (q->next_avail == q->published)
		return false;
	__atomic_store_n(&q->p.desc[old.slot].flags, q->p.shown_flags, __ATOMIC_RELEASE);
	q->published = q->next_avail;
	q->p.shown = q->p.avail;
	// The descriptors must be visible before we look whether the device wants to hear of them.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint32_t event = __atomic_load_n(q->p.device_event, __ATOMIC_RELAXED);
	if ((event >> 16 & 3) != VQ_EVENT_DESC || !q->event_idx)
		return (event >> 16 & 3) != VQ_EVENT_DISABLE;
	struct vq_pos at = {.slot = event & 0x7fff, .wrap = event >> 15 & 1};
	// A kick too many does no harm: where the device asks for a place that does not exist, it gets one.
	return at.slot >= q->size || packed_distance(q, old, at) < packed_distance(q, old, q->p.avail);
}

static bool packed_is_used(const struct vq *q, struct vq_pos at)
{
	uint16_t flags = __atomic_load_n(&q->p.desc[at.slot].flags, __ATOMIC_ACQUIRE);
	return (flags & (VQ_AVAIL | VQ_USED)) == (at.wrap ? VQ_AVAIL | VQ_USED : 0);
}

bool vq_packed_take(struct vq *q, uint32_t *token, uint32_t *len)
{
	struct vq_elem e;
	if (!q->in_batch) {
		if (q->last_used == q->published || !packed_is_used(q, q->p.used))
			return false;
		struct vq_pdesc d = q->p.desc[q->p.used.slot];
		e = (struct vq_elem){.id = d.id, .len = d.flags & VQ_WRITE ? d.len : 0};
		if (!vq_id_ok(q, e.id))
			return false;
		q->batch = e;
	}
	if (q->in_order) { // the chains of a batch, whose one used descriptor lies at the place of its first
		q->in_batch = q->batch.id != q->oldest;
		e = q->in_batch ? (struct vq_elem){.id = q->oldest, .len = q->slot[q->oldest].room} : q->batch;
		q->oldest = (uint16_t)((q->oldest + 1) % q->size);
	}
	struct vq_slot *s = &q->slot[e.id];
	*token = s->token;
	*len = e.len;
	if (!q->in_order) {
		s->next = q->free_head;
		q->free_head = (uint16_t)e.id;
	}
	packed_advance(q, &q->p.used, s->descs);
	q->n_free = (uint16_t)(q->n_free + s->descs);
	s->descs = 0;
	q->last_used++;
	return true;
}

uint16_t vq_packed_used_idx(const struct vq *q, struct vq_pos *end)
{
	bool in_batch = q->in_batch;
	uint16_t n = q->last_used, oldest = q->oldest, id = (uint16_t)q->batch.id;
	for (*end = q->p.used; n != q->published; n++) {
		if (!in_batch) {
			if (!packed_is_used(q, *end))
				break;
			id = q->p.desc[end->slot].id;
		}
		uint16_t this = q->in_order ? oldest : id;
		if (id >= q->size || q->slot[this].descs == 0)
			break;
		in_batch = q->in_order && this != id;
		oldest = (uint16_t)((oldest + 1) % q->size);
		packed_advance(q, end, q->slot[this].descs);
	}
	return n;
}

bool vq_packed_arm(struct vq *q)
{
	__atomic_store_n(q->p.driver_event, packed_event(q->p.used, q->event_idx ? VQ_EVENT_DESC : VQ_EVENT_ENABLE),
			 __ATOMIC_RELAXED);
	// The wish must be visible before we look for what it would have told us.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return q->in_batch || (q->last_used != q->published && packed_is_used(q, q->p.used));
}

void vq_packed_disarm(struct vq *q)
{
	__atomic_store_n(q->p.driver_event, packed_event(q->p.used, VQ_EVENT_DISABLE), __ATOMIC_RELAXED);
}
