// A receive ring while a batch is delivered to it: buffers are taken, filled by the one copy, and made visible together.
// Everything taken is completed by rxsess_flush before the data thread's turn ends.
#include <string.h>

#include "base/crash.h"
#include "dirty/dirty.h"
#include "guest/mem.h"
#include "switch/dp_int.h"

static bool shared(const struct worker *w)
{
	return w->dp->n_workers > 1;
}

static void lock_ring(struct worker *w, struct dp_queue *q)
{
	if (!shared(w))
		return;
	if (!atomic_flag_test_and_set_explicit(&q->lock, memory_order_acquire))
		return;
	// never wait for one ring while holding another: two threads could wait for each other
	deliver_flush(w);
	flight_waits(w->flight, true);
	while (atomic_flag_test_and_set_explicit(&q->lock, memory_order_acquire))
		;
	flight_waits(w->flight, false);
}

static void unlock_ring(struct worker *w, struct dp_queue *q)
{
	if (shared(w))
		atomic_flag_clear_explicit(&q->lock, memory_order_release);
}

struct rxsess *rxsess_get(struct worker *w, struct dp_port *port, unsigned src_pair)
{
	for (unsigned i = 0; i < w->n_sess; i++)
		if (w->sess[i].port == port)
			return &w->sess[i];
	unsigned pairs = atomic_load_explicit(&port->rx_pairs, memory_order_acquire);
	if (pairs == 0)
		return NULL;
	unsigned pair = pairs == 1 ? 0 : src_pair % pairs;
	struct dp_queue *q = &port->q[2 * pair];
	if (w->n_sess == RXS_MAX)
		deliver_flush(w);
	lock_ring(w, q);
	struct vring *ring = atomic_load_explicit(&q->ring, memory_order_acquire);
	if (!ring) {
		unlock_ring(w, q);
		return NULL;
	}
	struct rxsess *s = &w->sess[w->n_sess++];
	s->port = port;
	s->q = q;
	s->ring = ring;
	s->pair = pair;
	s->n = 0;
	s->frames = s->bytes = 0;
	return s;
}

static void publish(struct rxsess *s)
{
	if (s->n == 0)
		return;
	ring_publish(s->ring, s->elem, s->n);
	crash_here(CRASH_frame_settled);
	s->n = 0;
}

// A page of guest memory or of the log went away under us.
static bool memory_gone(const struct vring *r)
{
	return atomic_load_explicit(&r->mem->broken, memory_order_relaxed) ||
	       (r->log && atomic_load_explicit(&r->log->broken, memory_order_relaxed));
}

static void ring_broken(struct rxsess *s)
{
	dp_note(s->port, memory_gone(s->ring) ? DP_NOTE_MEM_BROKEN : DP_NOTE_RING_BROKEN);
}

void rxsess_flush(struct worker *w, struct rxsess *s)
{
	bool published = s->n != 0;
	uint64_t from = atomic_load_explicit(&w->flight->at, memory_order_relaxed);
	in_hand(w, s->q, s->ring);
	publish(s);
	if (s->frames) {
		struct dp_counters *c = &ctr_of(w, s->port)->queue[s->pair];
		ctr_add(&c->out_frames, s->frames);
		ctr_add(&c->out_bytes, s->bytes);
		dp_seen(s->port, DP_NOTE_FIRST_OUT, &s->port->first_out_us);
	}
	if ((published || s->frames) && ring_wants_call(s->ring))
		vring_call_now(s->ring);
	if (memory_gone(s->ring))
		ring_broken(s);
	flight_at(w->flight, from);
	unlock_ring(w, s->q);
}

// A buffer that can't be used goes back with length 0, in its turn.
static void give_back_empty(struct rxsess *s, uint32_t id)
{
	if (s->n == RXS_ELEMS)
		publish(s);
	struct gwrite_used *u = &s->elem[s->n++];
	*u = (struct gwrite_used){ .id = id, .len = 0 };
	ring_advance(s->ring, ring_places(s->ring, u));
}

_Static_assert(RXS_ELEMS <= LEDGER_BATCH, "what is published at once");

struct taken { // buffers reserved for one frame
	unsigned n_segs, n, places;
	uint32_t len;
	struct gwrite_used elem[RXS_ELEMS];
};

// Reserve buffers for need bytes. Nothing is consumed unless RX_OK (but for unusable buffers, which are given back).
static enum rxput reserve(struct worker *w, struct rxsess *s, uint32_t need, struct taken *t)
{
	struct vring *r = s->ring;
	unsigned avail = ring_pending(r), bad = 0;
	t->n_segs = t->n = t->places = 0;
	t->len = 0;
	while (t->len < need) {
		if (vring_broken(r))
			return RX_BAD;
		if (!ring_has(r, t->places, avail)) {
			s->seen = (uint16_t)t->places;
			return RX_FULL;
		}
		if (t->n == RXS_ELEMS)
			return RX_TOO_BIG;
		struct vchain c;
		const char *why = NULL;
		enum vchain_result res = ring_fetch(r, t->places, true, w->rx_segs + t->n_segs, VCHAIN_MAX_SEGS + 16 - t->n_segs, &c, &why);
		if (res == VCHAIN_BROKEN)
			return RX_BAD;
		if (res == VCHAIN_NO_ROOM)
			return RX_TOO_BIG;
		if (res == VCHAIN_BAD || c.len == 0) {
			// completion is in order: the good ones before it can't be kept back. And a driver that adds bad ones as fast as they
			// go back must not keep us here.
			if (t->n != 0 || bad++ == r->num)
				return RX_BAD;
			ctr_add(&ctr_of(w, s->port)->drops_out[DP_DROP_DESC], 1);
			give_back_empty(s, ring_used(r, &c, 0).id);
			avail = ring_pending(r);
			continue;
		}
		if (!r->mergeable && c.len < need)
			return RX_TOO_BIG;
		t->n_segs += c.n_segs;
		t->places += c.slots;
		t->elem[t->n++] = ring_used(r, &c, c.len);
		t->len += c.len;
	}
	return RX_OK;
}

// A bad chain behind good ones of the same frame: give the good ones back empty, too, so that order holds and the next
// attempt gets past the bad one.
static void give_back_all(struct rxsess *s, const struct taken *t)
{
	for (unsigned i = 0; i < t->n; i++)
		give_back_empty(s, t->elem[i].id);
}

static void copy_frame(struct worker *w, struct rxsess *s, const struct frame *f, const struct vnet_hdr *h,
		       const uint8_t *linear)
{
	struct vring *r = s->ring;
	struct gwrite_at at = gwrite_header(r, w->rx_segs, (struct gwrite_at){ 0, 0 }, h, r->hdr_len);
	if (linear) {
		gwrite_payload(r, w->rx_segs, at, linear, f->len);
		return;
	}
	at = gwrite_payload(r, w->rx_segs, at, f->head, f->head_len); // the bytes that were looked at are the bytes that go on
	uint32_t skip = f->skip + f->head_len, left = f->len - f->head_len;
	for (unsigned i = 0; i < f->n_segs && left != 0; i++) {
		if (skip >= f->segs[i].len) {
			skip -= f->segs[i].len;
			continue;
		}
		uint32_t part = f->segs[i].len - skip < left ? f->segs[i].len - skip : left;
		at = gwrite_payload(r, w->rx_segs, at, f->segs[i].host + skip, part);
		left -= part;
		skip = 0;
	}
}

static void take(struct rxsess *s, struct taken *t, uint32_t total)
{
	struct vring *r = s->ring;
	if (s->n + t->n > RXS_ELEMS)
		publish(s);
	for (unsigned i = 0; i < t->n; i++) { // the last buffer may be filled partly
		uint32_t part = t->elem[i].len < total ? t->elem[i].len : total;
		s->elem[s->n++] = (struct gwrite_used){ .id = t->elem[i].id, .len = part };
		total -= part;
	}
	ring_advance(r, t->places);
}

static enum rxput put(struct worker *w, struct rxsess *s, struct frame *f)
{
	struct vring *r = s->ring;
	struct taken t;
	if (vring_broken(r))
		return RX_BAD;
	uint32_t total = r->hdr_len + f->len;
	enum rxput res = reserve(w, s, total, &t);
	if (res == RX_BAD) {
		if (vring_broken(r))
			ring_broken(s);
		else
			give_back_all(s, &t);
		return RX_BAD;
	}
	if (res != RX_OK)
		return res;
	struct vnet_hdr h = f->hdr;
	const uint8_t *linear = NULL;
	if ((h.flags & VNET_F_NEEDS_CSUM) && !r->guest_csum) { // the receiver wants it complete
		uint8_t *all = frame_linear(w, f);
		if (!all)
			return RX_BAD;
		vnet_csum_complete(&h, all, f->len);
		linear = all;
	}
	if (!r->guest_csum)
		h.flags = 0; // virtio 1.2, 5.1.6.4: nothing but 0 without GUEST_CSUM
	h.num_buffers = (uint16_t)t.n;
	copy_frame(w, s, f, &h, linear);
	crash_here(CRASH_frame_copied);
	take(s, &t, total);
	s->frames++;
	s->bytes += f->len;
	return RX_OK;
}

enum rxput rxsess_put(struct worker *w, struct rxsess *s, struct frame *f)
{
	uint64_t from = atomic_load_explicit(&w->flight->at, memory_order_relaxed);
	in_hand(w, s->q, s->ring);
	crash_poison("rx", s->port->id, 2 * s->pair);
	enum rxput res = put(w, s, f);
	flight_at(w->flight, from);
	return res;
}

bool rxsess_wait(struct worker *w, struct rxsess *s)
{
	(void)w;
	publish(s); // what was filled is visible before we wait for more
	ring_notify(s->ring, true, s->seen);
	// against what the refused attempt saw: buffers that came after that look and before our wish bring no kick
	return ring_has(s->ring, s->seen, ring_pending(s->ring));
}

// With event index a kick comes once for each wish; without it the driver kicks at every refill until it is told not to.
// In a packed ring a wish comes true anew every other lap.
void rxsess_quiet(struct worker *w, struct dp_port *port, unsigned pair)
{
	struct dp_queue *q = &port->q[2 * pair];
	lock_ring(w, q);
	struct vring *r = atomic_load_explicit(&q->ring, memory_order_acquire);
	if (r && (r->packed || !r->event_idx) && !vring_broken(r))
		ring_notify(r, false, 0);
	unlock_ring(w, q);
}
