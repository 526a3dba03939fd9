// One turn of a transmit ring: take up to a batch of chains, look at each frame, deliver, complete. Order of publication:
// destinations first, then the source, so that a crash between the two repeats frames and loses none.
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "dirty/dirty.h"
#include "guest/mem.h"
#include "switch/dp_int.h"

static enum frame_way bad(struct worker *w, struct dp_port *port, enum dp_drop why)
{
	ctr_add(&ctr_of(w, port)->drops_in[why], 1);
	return FRAME_DROP;
}

// Make a frame of a chain: header and first bytes are copied here, once.
static enum frame_way frame_load(struct worker *w, struct dp_port *port, const struct vring *r, const struct gseg *segs,
				 const struct vchain *c, struct dp_port **dst)
{
	struct frame *f = &w->frame;
	uint8_t raw[12 + DP_HEAD];
	if (c->len < (uint32_t)r->hdr_len + ETH_MIN)
		return bad(w, port, DP_DROP_RUNT);
	f->segs = segs;
	f->n_segs = c->n_segs;
	f->skip = r->hdr_len;
	f->len = c->len - r->hdr_len;
	f->head_len = f->len < DP_HEAD ? f->len : DP_HEAD;
	if (f->len > ETH_MAX)
		return bad(w, port, DP_DROP_RUNT);
	gseg_read(segs, c->n_segs, 0, raw, r->hdr_len + f->head_len);
	memset(&f->hdr, 0, sizeof(f->hdr));
	memcpy(&f->hdr, raw, r->hdr_len);
	f->hdr.num_buffers = 0;
	memcpy(f->head, raw + r->hdr_len, f->head_len);
	const char *why = NULL;
	if (frame_whole(f) ? !frame_gso(f, r->tx_gso) : !vnet_tx_sane(&f->hdr, f->len, r->tx_csum, &why))
		return bad(w, port, DP_DROP_HEADER);
	return frame_route(w, f, dst);
}

static void count_in(struct worker *w, struct dp_port *port, unsigned pair, uint64_t frames, uint64_t bytes)
{
	struct dp_counters *c = &ctr_of(w, port)->queue[pair];
	ctr_add(&c->in_frames, frames);
	ctr_add(&c->in_bytes, bytes);
}

struct batch {
	unsigned n; // chains fetched
	unsigned done; // to be completed
	uint64_t bytes;
	bool stalled;
};

// Fetch up to a batch. What can't be used is kept with n_segs 0 and is completed in its turn.
static bool fetch(struct worker *w, struct dp_port *port, struct vring *r, unsigned avail, struct batch *b)
{
	unsigned used = 0, off = 0, room = VCHAIN_MAX_SEGS + 512;
	for (b->n = 0; b->n < DP_BATCH && ring_has(r, off, avail); b->n++) {
		struct vchain *c = &w->chain[b->n];
		const char *why = NULL;
		enum vchain_result res = ring_fetch(r, off, false, w->tx_segs + used, room - used, c, &why);
		if (res == VCHAIN_BROKEN)
			return false;
		if (res == VCHAIN_NO_ROOM)
			break; // the next turn takes it
		if (res == VCHAIN_BAD)
			ctr_add(&ctr_of(w, port)->drops_in[DP_DROP_DESC], 1);
		used += c->n_segs;
		off += c->slots;
		w->back[b->n] = ring_used(r, c, 0);
	}
	return true;
}

#if defined(VRINGD_MUTANT_DROP_FRAME) || defined(VRINGD_MUTANT_REPEAT_FRAME) || defined(VRINGD_MUTANT_CORRUPT_FRAME)
#define FAST_FORM 0 // the seeded bugs are in the general form
#else
#define FAST_FORM 1
#endif

// Seeded bugs for the negative controls of the loss counters: one unicast frame in a thousand is lost, repeated or changed.
#if defined(VRINGD_MUTANT_DROP_FRAME) || defined(VRINGD_MUTANT_REPEAT_FRAME) || defined(VRINGD_MUTANT_CORRUPT_FRAME)
static bool mutate(struct worker *w, struct dp_port *dst)
{
	static unsigned n;
	if (w->frame.len < 500 || ++n % 1000 != 0)
		return false;
#ifdef VRINGD_MUTANT_REPEAT_FRAME
	deliver_one(w, dst, &w->frame, true, false);
#elif defined(VRINGD_MUTANT_CORRUPT_FRAME)
	w->frame.head[DP_HEAD - 1] ^= 1;
#endif
	(void)dst;
#ifdef VRINGD_MUTANT_DROP_FRAME
	return true;
#else
	return false;
#endif
}
#else
static inline bool mutate(struct worker *w, struct dp_port *dst)
{
	(void)w;
	(void)dst;
	return false;
}
#endif

static void forward(struct worker *w, struct dp_port *port, unsigned pair, struct vring *r, struct batch *b)
{
	const struct gseg *segs = w->tx_segs;
	struct dp_queue *q = &port->q[2 * pair + 1];
	const uint64_t parts = w->parts;
	unsigned off = 0;
	for (unsigned i = 0; i < b->n; off += ring_places(r, &w->back[i]), i++) {
		struct vchain *c = &w->chain[i];
		struct dp_port *dst = NULL;
		if (c->n_segs == 0) {
			b->done++;
			continue;
		}
		w->frame.src = port;
		w->frame.src_pair = pair;
		enum frame_way way = frame_load(w, port, r, segs, c, &dst);
		if (way == FRAME_FLOOD)
			deliver_flood(w, &w->frame);
		if (way == FRAME_UNICAST && mutate(w, dst))
			way = FRAME_DROP;
		if (way == FRAME_UNICAST)
			cut_resume(q, &w->frame, ring_mark(r, off), dst);
		if (way == FRAME_UNICAST && deliver_one(w, dst, &w->frame, true, true) == DELIVER_FULL) {
			uint64_t rate = atomic_load_explicit(&port->rate_in, memory_order_relaxed);
			if (rate)
				frame_rate_back(&port->in_bucket, &w->frame, rate);
			cut_leave(q, &w->frame, ring_mark(r, off), dst);
			q->stall_until_us = clock_boot_us() + w->dp->conf.stall_us;
			queue_stall(w->dp, q, dst->index);
			b->stalled = true;
			return;
		}
		b->bytes += c->len - r->hdr_len * (c->len >= r->hdr_len);
		segs += c->n_segs;
		b->done++;
		if (way != FRAME_DROP && frame_whole(&w->frame))
			ctr_add(&ctr_of(w, port)->gso_in, 1);
		if (w->parts - parts >= DP_CUT_FRAMES)
			return; // others have their turn; what is left is fetched again
	}
}

// Explicitly disabled by the front end: consumed, not forwarded (vhost-user, "Ring states").
static void discard(struct worker *w, struct dp_port *port, struct batch *b)
{
	ctr_add(&ctr_of(w, port)->drops_in[DP_DROP_DISABLED], b->n);
	b->done = b->n;
}

static void complete(struct worker *w, struct dp_port *port, unsigned pair, struct vring *r, const struct batch *b)
{
	if (b->done == 0)
		return;
	unsigned places = 0;
	for (unsigned i = 0; i < b->done; i++)
		places += ring_places(r, &w->back[i]);
	ring_advance(r, places);
	ring_publish(r, w->back, b->done);
	crash_here(CRASH_frame_returned);
	count_in(w, port, pair, b->done, b->bytes);
	dp_seen(port, DP_NOTE_FIRST_IN, &port->first_in_us);
	if (ring_wants_call(r))
		vring_call_now(r);
}

// A page of guest memory or of the log went away under us: this ring is done with.
static bool memory_gone(struct dp_port *port, struct vring *r)
{
	if (!atomic_load_explicit(&r->mem->broken, memory_order_relaxed) &&
	    !(r->log && atomic_load_explicit(&r->log->broken, memory_order_relaxed)))
		return false;
	vring_break(r, "guest memory or the log went away");
	dp_note(port, DP_NOTE_MEM_BROKEN);
	return true;
}

enum tx_result source_run(struct worker *w, struct dp_port *port, unsigned pair, bool arm)
{
	struct dp_queue *q = &port->q[2 * pair + 1];
	struct vring *r = atomic_load_explicit(&q->ring, memory_order_acquire);
	if (!r || atomic_load_explicit(&q->stall_port, memory_order_relaxed) != FDB_NO_PORT)
		return TX_IDLE;
	if (vring_broken(r)) {
		memory_gone(port, r);
		return TX_IDLE;
	}
	in_hand(w, q, r);
	unsigned avail = ring_pending(r);
	if (memory_gone(port, r)) // what was read may be the zero page that stands in for it
		return TX_IDLE;
	w->tried |= avail != 0 || (arm && r->notify_off); // asking for kicks again belongs to the frames before
	if (avail == 0 && !vring_broken(r)) {
		if (!arm)
			return TX_EMPTY;
		ring_notify(r, true, 0);
		avail = ring_pending(r);
		if (avail == 0 && !vring_broken(r))
			return TX_IDLE;
	}
	if (!r->notify_off)
		ring_notify(r, false, 0);
	crash_poison("tx", port->id, 2 * pair + 1);
	if (FAST_FORM && !w->dp->conf.general_only && !vring_broken(r) && fast_run(w, port, pair, r, avail))
		return memory_gone(port, r) ? TX_IDLE : TX_MORE; // what it left is looked at in the next turn
	struct batch b = { 0 };
	if (vring_broken(r) || !fetch(w, port, r, avail, &b)) {
		if (!memory_gone(port, r))
			dp_note(port, DP_NOTE_RING_BROKEN);
		return TX_IDLE; // what was fetched before stays undone: nothing of it was forwarded
	}
	if (atomic_load_explicit(&q->discard, memory_order_relaxed))
		discard(w, port, &b);
	else
		forward(w, port, pair, r, &b);
	deliver_flush(w); // destination before source
	complete(w, port, pair, r, &b);
	if (memory_gone(port, r))
		return TX_IDLE;
	if (b.stalled) {
		w->n_stalled++;
		return TX_STALLED;
	}
	return TX_MORE;
}
