#include "guest/gwrite.h"

#include <string.h>

#include "dirty/dirty.h"
#include "guest/gcrash.h"
#include "guest/gframes.h"
#include "guest/gmutant.h"
#include "guest/gwrite_packed.h"
#include "guest/playout.h"
#include "guest/vlayout.h"

#define NUM_BUFFERS_AT 10u

// Guest memory is const for everybody (mem.h); this is the one place where it is not. What tests/check/writes holds us to.
static inline uint8_t *store_at(const uint8_t *guest)
{
	return (uint8_t *)(uintptr_t)guest;
}

// The caller has fenced since the stores.
static void pending_mark(struct vring *r)
{
	for (unsigned i = 0; i < r->n_pending; i++)
		if (!dirty_marked(r->log, r->pending[i].first, r->pending[i].last))
			dirty_mark_pages(r->log, r->pending[i].first, r->pending[i].last);
	r->n_pending = 0;
}

static void pending_flush(struct vring *r)
{
	if (r->n_pending == 0)
		return;
	// the stores must be visible before a bit is seen set: the front end takes the bit first and the page after it
	dirty_fence();
	pending_mark(r);
}

static void pending_range(struct vring *r, uint64_t first, uint64_t last)
{
	if (r->n_pending == sizeof(r->pending) / sizeof(r->pending[0]))
		pending_flush(r); // early is fine: the data is there, nothing of it is visible yet
	r->pending[r->n_pending].first = first;
	r->pending[r->n_pending].last = last;
	r->n_pending++;
}

// Buffers of a batch mostly follow each other in memory: their pages become one range.
static inline void pending_add(struct vring *r, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa >> DIRTY_PAGE_SHIFT;
	uint64_t last = (len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> DIRTY_PAGE_SHIFT;
	if (r->n_pending != 0) {
		unsigned at = r->n_pending - 1;
		if (first >= r->pending[at].first && first <= r->pending[at].last + 1) {
			if (last > r->pending[at].last)
				r->pending[at].last = last;
			return;
		}
	}
	pending_range(r, first, last);
}

static inline struct gwrite_at copy_out(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src,
					uint32_t len, bool logged)
{
	const uint8_t *from = src;
	while (len != 0) {
		uint32_t room = segs[at.seg].len - at.off;
		if (room == 0) {
			at.seg++;
			at.off = 0;
			continue;
		}
		uint32_t part = len < room ? len : room;
		memcpy(store_at(segs[at.seg].host + at.off), from, part);
		if (r->log && logged)
			pending_add(r, segs[at.seg].gpa + at.off, part);
		from += part;
		at.off += part;
		len -= part;
	}
	return at;
}

struct gwrite_at gwrite_payload(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src, uint32_t len)
{
	return copy_out(r, segs, at, src, len, LOG_PAYLOAD);
}

struct gwrite_at gwrite_header(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *hdr, uint32_t hdr_len)
{
	uint32_t first = hdr_len < NUM_BUFFERS_AT ? hdr_len : NUM_BUFFERS_AT;
	at = copy_out(r, segs, at, hdr, first, LOG_HEADER);
	return copy_out(r, segs, at, (const uint8_t *)hdr + first, hdr_len - first, LOG_NUMBUF);
}

static inline bool logs_used(const struct vring *r)
{
	return r->log && r->log_used;
}

static inline void used_elem_store(struct vring *r, uint16_t at, uint32_t id, uint32_t len)
{
	uint64_t elem = (uint64_t)len << 32 | id;
	uint32_t off = VUSED_ELEM(at & r->mask);
	memcpy(store_at(r->used + off), &elem, sizeof(elem));
	if (logs_used(r) && LOG_USEDELEM)
		pending_add(r, r->used_log_gpa + off, sizeof(elem));
}

static void used_idx_begin(struct vring *r, uint16_t next)
{
	bool dest = gcrash_fills(r);
	pending_flush(r);
	gcrash(dest, CRASH_frame_logged);
	r->last_used = next;
	atomic_store_explicit((_Atomic uint16_t *)store_at(r->used + VUSED_IDX), next, memory_order_release);
	r->idx_unlogged = logs_used(r) && LOG_USEDIDX;
	gcrash(dest, CRASH_frame_shown);
}

void gwrite_fence(void)
{
	dirty_fence();
}

void gwrite_settle(struct vring *r)
{
	if (r->idx_unlogged)
		dirty_mark(r->log, r->used_log_gpa + VUSED_IDX, 2);
	r->idx_unlogged = false;
}

static void used_idx_publish(struct vring *r, uint16_t next)
{
	used_idx_begin(r, next);
	if (r->idx_unlogged) {
		dirty_fence();
		gwrite_settle(r);
	}
}

void gwrite_stage_used(struct vring *r, const struct gwrite_used *elems, unsigned n)
{
	uint16_t at = r->last_used & r->mask;
	unsigned first = n < (unsigned)r->num - at ? n : (unsigned)r->num - at; // up to the ring's end, and the rest
	memcpy(store_at(r->used + VUSED_ELEM(at)), elems, first * sizeof(*elems));
	memcpy(store_at(r->used + VUSED_ELEM(0)), elems + first, (n - first) * sizeof(*elems));
	if (!logs_used(r) || !LOG_USEDELEM || n == 0)
		return;
	pending_add(r, r->used_log_gpa + VUSED_ELEM(at), first * sizeof(*elems));
	if (n > first)
		pending_add(r, r->used_log_gpa + VUSED_ELEM(0), (n - first) * sizeof(*elems));
}

void gwrite_show(struct vring *r, unsigned n)
{
	gcrash(gcrash_fills(r), CRASH_frame_filled);
	pending_mark(r);
	used_idx_begin(r, (uint16_t)(r->last_used + n));
}

void gwrite_publish_used(struct vring *r, const struct gwrite_used *elems, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		used_elem_store(r, (uint16_t)(r->last_used + i), elems[i].id, elems[i].len);
	gcrash(gcrash_fills(r), CRASH_frame_filled);
	used_idx_publish(r, (uint16_t)(r->last_used + n));
}

// len bytes (16 or more) that are not in a register yet. Up to 128 in vector moves that overlap in the middle; more is the C
// library's, which knows the CPU. Not past the cache: the reader wants it there.
static inline void copy_body(uint8_t *to, const uint8_t *from, uint32_t len)
{
	if (len <= 32) {
		memcpy(to, from, 16);
		memcpy(to + len - 16, from + len - 16, 16);
	} else if (len <= 64) {
		memcpy(to, from, 32);
		memcpy(to + len - 32, from + len - 32, 32);
	} else if (len <= 128) {
		memcpy(to, from, 64);
		memcpy(to + len - 64, from + len - 64, 64);
	} else {
		memcpy(to, from, len);
	}
}

#define FRAMES_AHEAD 2u

// Both sides of a long frame on their way while those before it are copied: more lines in flight than the copy's own accesses
// and the hardware's look-ahead bring about. The first lines are on their way since vone_fetch.
static inline void frame_ahead(const struct gwrite_frame *f)
{
	for (uint32_t k = 128; k < f->len; k += 64) {
		__builtin_prefetch(f->src + k, 0);
		__builtin_prefetch(f->host + k, 1);
	}
}

// The pages of n frames, in one go behind the copies: that is half of what it takes frame by frame. They lie inside regions, whose
// ends do not wrap.
static void frames_log(struct vring *r, const struct gwrite_frame *f, unsigned n)
{
	const struct gwrite_frame *end = f + n;
	const uint64_t tail = r->hdr_len - 1, end_page = (end[-1].gpa + end[-1].len + tail) >> DIRTY_PAGE_SHIFT;
	if (gframes_in_a_row(f, n, tail, end_page)) {
		pending_range(r, f->gpa >> DIRTY_PAGE_SHIFT, end_page);
		return;
	}
	uint64_t first = f->gpa >> DIRTY_PAGE_SHIFT, last = (f->gpa + f->len + tail) >> DIRTY_PAGE_SHIFT;
	while (++f != end) {
		uint64_t from = f->gpa >> DIRTY_PAGE_SHIFT, to = (f->gpa + f->len + tail) >> DIRTY_PAGE_SHIFT;
		if (from - last > 1) { // neither in the same page nor in the next
			pending_range(r, first, last);
			first = from;
		}
		last = to;
	}
	pending_range(r, first, last);
}

void gwrite_frames(struct vring *r, const struct gwrite_frame *all, unsigned n)
{
	const uint32_t hdr_len = r->hdr_len;
	const struct gwrite_frame *f = all;
	for (unsigned i = 1; i < FRAMES_AHEAD && i < n; i++)
		frame_ahead(all + i);
	for (unsigned i = 0; i < n; i++, f++) {
		if (i + FRAMES_AHEAD < n)
			frame_ahead(f + FRAMES_AHEAD);
		uint8_t *to = store_at(f->host);
		uint64_t there[2] = { 0, 0 };
		memcpy(&there[0], f->host, 8);
		memcpy(&there[1], f->host + 8, 2);
		if (hdr_len > NUM_BUFFERS_AT)
			memcpy((uint8_t *)&there[1] + 2, f->host + NUM_BUFFERS_AT, 2);
		if (there[0] != f->hdr[0] || there[1] != f->hdr[1])
			memcpy(to, f->hdr, hdr_len);
		memcpy(to + hdr_len, f->first, 16);
		copy_body(to + hdr_len + 16, f->src + 16, f->len - 16);
		gcrash(true, CRASH_frame_copied);
	}
	if (r->log && LOG_FRAMES && n != 0)
		frames_log(r, all, n);
}

static void used_u16_publish(struct vring *r, uint32_t off, uint16_t value)
{
	_Atomic uint16_t *field = (_Atomic uint16_t *)store_at(r->used + off);
	// an unchanged field is not written: the line stays shared and the page clean
	if (atomic_load_explicit(field, memory_order_relaxed) == value)
		return;
	pending_flush(r);
	atomic_store_explicit(field, value, memory_order_release);
	if (logs_used(r) && LOG_EVENT) {
		dirty_fence();
		dirty_mark(r->log, r->used_log_gpa + off, 2);
	}
}

void gwrite_notify(struct vring *r, bool on)
{
	if (on) {
		if (r->event_idx)
			used_u16_publish(r, VUSED_AVAIL_EVENT(r->num), vring_avail_idx(r)); // not last_avail: buffers may be there, and too few
		used_u16_publish(r, VUSED_FLAGS, 0); // without event index; after a restart a flag may be left over with it, too
		atomic_thread_fence(memory_order_seq_cst); // our wish is visible before avail.idx is read once more
	} else if (!r->event_idx) {
		used_u16_publish(r, VUSED_FLAGS, VUSED_F_NO_NOTIFY);
	} // with event index an avail_event that stays behind is enough
	r->notify_off = !on;
}

bool vring_wants_call(struct vring *r)
{
	atomic_thread_fence(memory_order_seq_cst); // used.idx is visible before the driver's wish is read
	return vring_wants_call_fenced(r);
}

bool vring_wants_call_fenced(struct vring *r)
{
	uint16_t now = r->last_used, before = r->signalled;
	bool valid = r->signalled_valid;
	r->signalled = now;
	r->signalled_valid = true;
	if (!r->event_idx) {
		const _Atomic uint16_t *flags = (const _Atomic uint16_t *)((const uint8_t *)r->avail + VAVAIL_FLAGS);
		return !(atomic_load_explicit(flags, memory_order_relaxed) & VAVAIL_F_NO_INTERRUPT);
	}
	const _Atomic uint16_t *ev = (const _Atomic uint16_t *)((const uint8_t *)r->avail + VAVAIL_USED_EVENT(r->num));
	uint16_t event = atomic_load_explicit(ev, memory_order_relaxed);
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

// -- packed rings ---------------------------------------------------------------------------------------------------------

// n descriptors from this place on, which may go over the ring's end. What chains of several descriptors leave untouched between
// them shares their pages.
static void pdesc_log(struct pring *p, unsigned from, unsigned n)
{
	if (n == 0)
		return;
	if (from >= p->num)
		from -= p->num;
	unsigned first = n < p->num - from ? n : p->num - from;
	pending_add(&p->v, p->ring_gpa + (uint64_t)from * VDESC_SIZE + PDESC_LEN, (uint64_t)first * VDESC_SIZE - PDESC_LEN);
	if (n > first)
		pending_add(&p->v, p->ring_gpa + PDESC_LEN, (uint64_t)(n - first) * VDESC_SIZE - PDESC_LEN);
}

static inline void pdesc_store(const uint8_t *d, uint64_t used, memory_order order)
{
	atomic_store_explicit((_Atomic uint64_t *)store_at(d + PDESC_LEN), used, order);
}

static inline uint64_t pdesc_word(const struct gwrite_used *e, uint64_t lap)
{
	return lap | (uint64_t)(e->id & 0xffff) << 32 | e->len | (e->len ? (uint64_t)VDESC_F_WRITE << 48 : 0);
}

static inline uint32_t half_of(struct ppos at)
{
	return at.slot | (uint32_t)at.wrap << 15;
}

void gwrite_packed_fill(struct pring *p, const struct gwrite_used *elems, unsigned n)
{
	const uint8_t *const ring = p->ring;
	struct pring_ledger *const l = p->ledger;
	const unsigned num = p->num, from = p->at.used.slot;
	const uint32_t state = half_of(p->at.used) << 16;
	unsigned slot = from, laps = 0, i = 0;
	uint64_t lap = (uint64_t)pdesc_used(p->at.used.wrap) << 48;
	if (n == 0)
		return;
	// a driver goes through the ring in order: it sees none before the first, which is written last, and logged then
	p->first = pdesc_word(&elems[0], lap);
	for (;;) {
		slot += elems[i].id >> 16;
		if (slot >= num) {
			slot -= num;
			lap ^= (uint64_t)PDESC_F_LAP << 48;
			laps++;
		}
		if (++i == n)
			break;
		const uint8_t *d = ring + (size_t)slot * VDESC_SIZE;
		l->word[i] = pdesc_rest(d);
		l->slot[i] = (uint16_t)slot;
		ledger_order();
		if (LEDGER_SAVED)
			atomic_store_explicit(&l->state, state + i, memory_order_relaxed);
		ledger_order();
		crash_here(CRASH_ledger_saved);
		pdesc_store(d, pdesc_word(&elems[i], lap), memory_order_relaxed);
		crash_here(CRASH_ledger_written);
		if (!LEDGER_SAVED)
			atomic_store_explicit(&l->state, state + i, memory_order_relaxed);
	}
	unsigned slots = laps * num + slot - from, late = elems[0].id >> 16;
	if (logs_used(&p->v) && LOG_PDESC)
		pdesc_log(p, from + late, slots - late);
	p->at.fill = (struct ppos){ (uint16_t)slot, p->at.used.wrap ^ (laps & 1) };
	ledger_order();
	if (LEDGER_END)
		atomic_store_explicit(&l->end, half_of(p->at.fill), memory_order_relaxed);
	ledger_order();
	p->out = (uint16_t)(p->out - slots);
	crash_here(CRASH_ledger_filled);
	gcrash(gcrash_fills(&p->v), CRASH_frame_filled);
}

static void pdesc_show(struct pring *p)
{
	if (p->at.fill.slot == p->at.used.slot && p->at.fill.wrap == p->at.used.wrap)
		return;
	bool dest = gcrash_fills(&p->v);
	gcrash(dest, CRASH_frame_logged);
	pdesc_store(p->ring + (size_t)p->at.used.slot * VDESC_SIZE, p->first, memory_order_release);
	crash_here(CRASH_ledger_shown);
	gcrash(dest, CRASH_frame_shown);
	ledger_order();
	atomic_store_explicit(&p->ledger->state, half_of(p->at.fill) << 16, memory_order_relaxed);
	if (!LEDGER_END)
		atomic_store_explicit(&p->ledger->end, half_of(p->at.fill), memory_order_relaxed);
	p->unlogged = p->at.used;
	p->v.idx_unlogged = logs_used(&p->v) && LOG_PFIRST;
	p->at.used = p->at.fill;
}

void gwrite_packed_undo(struct pring *p, unsigned slot, uint64_t word)
{
	pdesc_store(p->ring + (size_t)slot * VDESC_SIZE, word, memory_order_relaxed);
	if (logs_used(&p->v) && LOG_PDESC)
		pdesc_log(p, slot, 1);
}

void gwrite_packed_show(struct pring *p)
{
	pending_mark(&p->v);
	pdesc_show(p);
}

void gwrite_packed_settle(struct pring *p)
{
	if (p->v.idx_unlogged)
		dirty_mark(p->v.log, p->ring_gpa + (uint64_t)p->unlogged.slot * VDESC_SIZE + PDESC_LEN, VDESC_SIZE - PDESC_LEN);
	p->v.idx_unlogged = false;
}

void gwrite_packed_publish(struct pring *p, const struct gwrite_used *elems, unsigned n)
{
	for (; n > LEDGER_BATCH; elems += LEDGER_BATCH, n -= LEDGER_BATCH)
		gwrite_packed_publish(p, elems, LEDGER_BATCH);
	gwrite_packed_fill(p, elems, n);
	pending_flush(&p->v);
	pdesc_show(p);
	if (p->v.idx_unlogged) {
		dirty_fence();
		gwrite_packed_settle(p);
	}
}

void gwrite_packed_notify(struct pring *p, bool on, unsigned off)
{
	struct ppos at = ppos_add(p, p->at.avail, off);
	uint32_t flags = !on ? PEVENT_DISABLE : p->v.event_idx ? PEVENT_DESC : PEVENT_ENABLE;
	uint32_t wish = flags << 16 | (flags == PEVENT_DESC ? at.slot | (uint32_t)at.wrap << 15 : 0);
	_Atomic uint32_t *area = (_Atomic uint32_t *)store_at(p->v.used);
	if (atomic_load_explicit(area, memory_order_relaxed) != wish) { // unchanged: the line stays shared and the page clean
		pending_flush(&p->v);
		atomic_store_explicit(area, wish, memory_order_release);
		if (logs_used(&p->v) && LOG_EVENT) {
			dirty_fence();
			dirty_mark(p->v.log, p->v.used_log_gpa, PEVENT_BYTES);
		}
	}
	if (on)
		atomic_thread_fence(memory_order_seq_cst); // our wish is visible before the ring is looked at once more
	p->v.notify_off = !on;
}
