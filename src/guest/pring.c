#include "guest/pring.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/crash.h"
#include "guest/gwrite_packed.h"
#include "guest/mem.h"
#include "guest/playout.h"

enum { F_INDIRECT = 28, F_EVENT_IDX = 29, F_IN_ORDER = 35 };

static enum err resolve(struct pring *p, const struct vring_conf *c, struct why *why)
{
	if (c->desc_uaddr % 16 != 0 || c->avail_uaddr % 4 != 0 || c->used_uaddr % 4 != 0)
		return refuse(why, "packed ring addresses are not aligned (ring 16, event areas 4)");
	p->ring = mem_uaddr(c->mem, c->desc_uaddr, (uint64_t)c->num * VDESC_SIZE, &p->ring_gpa);
	if (!p->ring)
		return refuse(why, "descriptor ring at 0x%llx is outside guest memory", (unsigned long long)c->desc_uaddr);
	p->v.desc = p->ring;
	p->v.avail = mem_uaddr(c->mem, c->avail_uaddr, PEVENT_BYTES, NULL);
	if (!p->v.avail)
		return refuse(why, "driver event area at 0x%llx is outside guest memory", (unsigned long long)c->avail_uaddr);
	p->v.used = mem_uaddr(c->mem, c->used_uaddr, PEVENT_BYTES, NULL);
	if (!p->v.used)
		return refuse(why, "device event area at 0x%llx is outside guest memory", (unsigned long long)c->used_uaddr);
	// the front end chooses region offsets, so alignment holds only if it is checked on our own addresses
	if ((uintptr_t)p->ring % 8 != 0 || (uintptr_t)p->v.avail % 4 != 0 || (uintptr_t)p->v.used % 4 != 0)
		return refuse(why, "packed ring addresses are not aligned in the shared file");
	return OK;
}

static struct ppos pos_of(uint32_t half)
{
	return (struct ppos){ .slot = half & 0x7fff, .wrap = half >> 15 & 1 };
}

static uint32_t half_of(struct ppos at)
{
	return at.slot | (uint32_t)at.wrap << 15;
}

static void place(struct pring *p, struct ppos at)
{
	p->at = (struct pring_at){ .avail = at, .fill = at, .used = at };
	p->out = 0;
	p->v.signalled = at.slot;
	p->v.signalled_valid = false;
	p->v.idx_unlogged = false;
	p->v.n_pending = 0;
	vring_break(&p->v, NULL);
}

enum err pring_new(struct pring **out, const struct vring_conf *c, struct why *why)
{
	if (c->num == 0 || c->num > 32768)
		return refuse(why, "packed ring size %u is not in 1..32768", c->num);
	if (!c->mem)
		return refuse(why, "no memory table yet");
	struct pring *p = aligned_alloc(_Alignof(struct pring), sizeof(*p));
	if (!p)
		return ours(why, "no memory for a ring");
	memset(p, 0, sizeof(*p));
	p->num = c->num;
	enum err e = resolve(p, c, why);
	if (e != OK) {
		free(p);
		return e;
	}
	p->v.mem = c->mem;
	p->v.num = (uint16_t)c->num;
	p->v.event_idx = bits_has(c->features, F_EVENT_IDX);
	p->v.indirect_ok = bits_has(c->features, F_INDIRECT);
	p->v.in_order = bits_has(c->features, F_IN_ORDER);
	vring_offloads(&p->v, c->features);
	p->v.packed = true;
	p->v.hdr_len = 12; // with or without the other features (virtio 1.2, 5.1.6)
	p->v.log = c->log;
	p->v.log_used = c->log_used;
	p->v.used_log_gpa = c->log_gpa;
	p->v.counts = &p->v.own_counts;
	atomic_init(&p->v.call_fd, c->call_fd);
	p->ledger = c->ledger ? c->ledger : &p->own; // another ring may run with it until this one is restored
	place(p, (struct ppos){ 0, true });
	atomic_init(&p->own.state, half_of(p->at.used) << 16);
	atomic_init(&p->own.end, half_of(p->at.used));
	*out = p;
	return OK;
}

void pring_free(struct pring *p)
{
	free(p);
}

void pring_restore(struct pring *p, uint32_t base)
{
	// what lies between the two was fetched and never returned: it is fetched again. A back end that tells one half only
	// (the other is zero) had nothing out.
	struct ppos at = pos_of(base >> 16 != 0 ? base >> 16 : base & 0xffff);
	struct pring_ledger *l = p->ledger;
	uint32_t state = half_of(at) << 16;
	place(p, at);
	if (atomic_load(&l->live) == p->num && atomic_load(&l->state) == state && atomic_load(&l->end) == half_of(at) &&
	    atomic_load(&l->ring) == p->ring_gpa)
		return; // a pause: at no time is it not there
	atomic_store(&l->live, 0);
	atomic_store(&l->state, state);
	atomic_store(&l->end, half_of(at));
	atomic_store(&l->ring, p->ring_gpa);
	atomic_store(&l->live, p->num);
}

bool pring_resume(struct pring *p)
{
	struct pring_ledger *l = p->ledger;
	uint32_t state = atomic_load(&l->state), n = state & 0xffff;
	struct ppos used = pos_of(state >> 16), end = pos_of(atomic_load(&l->end));
	if (atomic_load(&l->live) != p->num || used.slot >= p->num || end.slot >= p->num || n >= LEDGER_BATCH)
		return false;
	for (unsigned i = 1; i <= n; i++)
		if (l->slot[i] >= p->num)
			return false;
	uint16_t first = pdesc_load(p, used.slot).flags & PDESC_F_LAP;
	if (atomic_load(&l->ring) != p->ring_gpa) { // it was moved since: what was not finished is where it was
		pring_restore(p, half_of(used) * 0x10001u);
		return true;
	}
	if (half_of(end) != half_of(used) && first != pdesc_available(used.wrap)) {
		place(p, end);
	} else {
		place(p, used);
		for (unsigned i = 1; i <= n; i++)
			gwrite_packed_undo(p, l->slot[i], l->word[i]);
		gwrite_packed_publish(p, NULL, 0); // logs them
		crash_here(CRASH_ledger_undone);
	}
	// a death between these two finds nothing to take back and, again, nothing shown
	atomic_store(&l->state, half_of(p->at.used) << 16);
	atomic_store(&l->end, half_of(p->at.used));
	return true;
}

uint32_t pring_base(const struct pring *p)
{
	return half_of(p->at.used) * 0x10001u;
}

void pring_advance(struct pring *p, unsigned slots)
{
	p->at.avail = ppos_add(p, p->at.avail, slots);
	p->out = (uint16_t)(p->out + slots);
}

bool pring_wants_call_fenced(struct pring *p)
{
	gwrite_packed_settle(p);
	uint16_t old = p->v.signalled;
	bool valid = p->v.signalled_valid;
	p->v.signalled = p->at.used.slot;
	p->v.signalled_valid = true;
	uint32_t wish = atomic_load_explicit((const _Atomic uint32_t *)p->v.avail, memory_order_relaxed), flags = wish >> 16 & 3;
	if (flags != PEVENT_DESC || !p->v.event_idx)
		return flags != PEVENT_DISABLE;
	if (!valid)
		return true;
	// all three counted from the start of this lap; a place that the ring does not have is just a number that is never passed
	int now = p->at.used.slot, before = old, event = (int)(wish & 0x7fff);
	if (before >= now)
		before -= (int)p->num;
	if ((wish >> 15 & 1) != p->at.used.wrap)
		event -= (int)p->num;
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool pring_wants_call(struct pring *p)
{
	atomic_thread_fence(memory_order_seq_cst); // what was published is visible before the driver's wish is read
	return pring_wants_call_fenced(p);
}
