// Giving a frame to a port: its receive ring, its tap, its hold, or nothing.
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "switch/dp_int.h"

static enum deliver drop_out(struct worker *w, struct dp_port *dst, enum dp_drop why)
{
	ctr_add(&ctr_of(w, dst)->drops_out[why], 1);
	return DELIVER_DROPPED;
}

void deliver_flush(struct worker *w)
{
	for (unsigned i = 0; i < w->n_sess; i++)
		rxsess_flush(w, &w->sess[i]);
	w->n_sess = 0;
}

// -- hold -------------------------------------------------------------------------------------------------------------

static enum deliver hold_put(struct worker *w, struct dp_port *dst, struct frame *f, bool forever)
{
	struct dp_port *src = f->src;
	struct hold_rec rec = { .len = f->len, .src = src->number, .forever = forever, .hdr = f->hdr,
				.until_us = clock_boot_us() + (uint64_t)atomic_load(&dst->hold_ms) * 1000,
				.cut_done = frame_whole(f) ? f->cut_done : 0 };
	bool first = !forever && atomic_load(&dst->hold.oldest_until_us) == 0;
	uint8_t *to = hold_append(&dst->hold, &rec, atomic_load(&dst->hold_bytes), &w->dp->hold_used, w->dp->conf.hold_total);
	if (!to)
		return drop_out(w, dst, DP_DROP_HOLD_FULL);
	memcpy(to, f->head, f->head_len);
	if (f->len > f->head_len && !gseg_read(f->segs, f->n_segs, f->skip + f->head_len, to + f->head_len, f->len - f->head_len))
		memset(to + f->head_len, 0, f->len - f->head_len); // pieces were checked to be that long
	hold_commit(&dst->hold);
	if (first)
		dp_note(dst, DP_NOTE_HOLD);
	return DELIVERED;
}

// Frames wait, and the port takes them: who sends waits, too, as for a full ring. Else a sender that is faster than the receiver keeps the gate
// up for ever, each frame is copied twice, and in the end what could have waited is lost.
static bool emptying(const struct dp_port *dst, const struct frame *f)
{
	unsigned pairs = atomic_load(&dst->rx_pairs);
	return pairs != 0 && !atomic_load(&dst->drain) && !atomic_load_explicit(&dst->q[2 * (f->src_pair % pairs)].dead, memory_order_relaxed);
}

// The gate is up or no ring is there. DELIVER_FULL: the gate came down meanwhile, try the ring. DELIVER_WAIT: what is in front goes first.
static enum deliver hold_or_drop(struct worker *w, struct dp_port *dst, struct frame *f, bool unicast, bool may_stall)
{
	enum deliver res;
	if (w->dp->n_workers > 1)
		deliver_flush(w); // lock order: hold, then ring; never a ring while waiting for a hold
	pthread_mutex_lock(&dst->hold.lock);
	int state = atomic_load(&dst->rx_state);
	if (atomic_load(&dst->rx_pairs) != 0) { // running, and older frames wait in front, or it is drained
		if (!atomic_load(&dst->hold.gate))
			res = DELIVER_FULL;
		else if (atomic_load(&dst->drain) && atomic_load(&dst->hold_ms) == 0)
			res = drop_out(w, dst, DP_DROP_STOPPED);
		else if (may_stall && emptying(dst, f))
			res = DELIVER_WAIT;
		else
			res = hold_put(w, dst, f, false);
	} else if (state == DP_RX_PAUSED) {
		atomic_store(&dst->hold.gate, true);
		res = hold_put(w, dst, f, true);
	} else if (state == DP_RX_STOPPED && unicast && atomic_load(&dst->hold_ms) != 0) {
		atomic_store(&dst->hold.gate, true);
		res = hold_put(w, dst, f, false);
	} else {
		res = drop_out(w, dst, state == DP_RX_STOPPED ? DP_DROP_STOPPED : DP_DROP_NO_PORT);
	}
	pthread_mutex_unlock(&dst->hold.lock);
	return res;
}

// -- ring -----------------------------------------------------------------------------------------------------------------

#define PUT_ATTEMPTS 8 // buffers that came while we asked for kicks are tried that often

enum if_full {
	FULL_DROP, // the source can't wait
	FULL_STALL, // it can, for a moment: DELIVER_FULL, unless the receiver is known to be dead
	FULL_KEEP, // the frame is kept by the caller: DELIVER_FULL, however long it takes
};

// A guest that has just started (arrived, returned) gets all that waited for it at once and may be slow at first: what does
// not fit is kept for it a while longer.
static bool starting(const struct dp_port *dst)
{
	return clock_boot_us() < atomic_load_explicit(&dst->starting_until_us, memory_order_relaxed);
}

// DELIVER_DROPPED: it was not, for *drop, and is not counted.
static enum deliver ring_try(struct worker *w, struct rxsess *s, struct frame *f, enum if_full full, enum dp_drop *drop)
{
	const struct dp_port *dst = s->port;
	uint16_t mark = 0;
	int attempt;
	for (attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
		switch (rxsess_put(w, s, f)) {
		case RX_OK:
			return DELIVERED;
		case RX_TOO_BIG:
			*drop = DP_DROP_TOO_BIG;
			return DELIVER_DROPPED;
		case RX_BAD:
			*drop = DP_DROP_DESC;
			return DELIVER_DROPPED;
		case RX_FULL:
			break;
		}
		*drop = DP_DROP_FULL;
		if (frame_whole(f) && s->seen * 2 >= s->ring->num)
			return DELIVER_DROPPED; // with two descriptors a buffer that is all there will ever be: cut, it is let in
		mark = ring_mark(s->ring, s->seen);
		if (full != FULL_KEEP && atomic_load_explicit(&s->q->dead, memory_order_relaxed)) {
			if (atomic_load(&s->q->dead_mark) == mark)
				return starting(dst) ? DELIVER_KEEP : DELIVER_DROPPED;
			atomic_store(&s->q->dead, false);
		}
		if (!rxsess_wait(w, s))
			break;
	}
	if (attempt == PUT_ATTEMPTS) // buffers came each time, and never enough: no kick may follow, so look again soon
		worker_ask_rx(w, dst->index, s->pair);
	atomic_store_explicit(&s->q->full_mark, mark, memory_order_relaxed);
	if (full != FULL_DROP)
		return DELIVER_FULL;
	return starting(dst) ? DELIVER_KEEP : DELIVER_DROPPED;
}

// As frames of its segment size, from where an earlier try ended. FULL, KEEP: f->cut_done of them are there.
static enum deliver ring_put_cut(struct worker *w, struct rxsess *s, struct frame *f, enum if_full full)
{
	struct dp_ctr *c = ctr_of(w, s->port);
	for (unsigned i = f->cut_done; i < f->gso.n; i++) {
		enum dp_drop drop;
		enum deliver res = ring_try(w, s, cut_part(w, f, i), full, &drop);
		if (res == DELIVER_DROPPED) { // nor would those behind it be of use
			ctr_add(&c->drops_out[drop], f->gso.n - i);
			return res;
		}
		if (res != DELIVERED) {
			f->cut_done = (uint16_t)i;
			return res;
		}
		ctr_add(&c->gso_parts, 1);
	}
	ctr_add(&c->gso_cut, 1);
	return DELIVERED;
}

static enum deliver ring_put(struct worker *w, struct dp_port *dst, struct frame *f, enum if_full full)
{
	struct rxsess *s = rxsess_get(w, dst, f->src_pair);
	enum dp_drop drop;
	if (!s)
		return DELIVER_FULL; // retracted this moment: the caller looks at the state again
	if (atomic_load_explicit(&s->q->discard, memory_order_relaxed))
		return drop_out(w, dst, DP_DROP_DISABLED);
	if (frame_whole(f) && cut_needed(s->ring, f))
		return ring_put_cut(w, s, f, full);
	enum deliver res = ring_try(w, s, f, full, &drop);
	if (res != DELIVER_DROPPED && frame_whole(f))
		ctr_add(&ctr_of(w, dst)->gso_out, res == DELIVERED);
	if (res != DELIVER_DROPPED)
		return res;
	if (frame_whole(f) && drop != DP_DROP_DESC)
		return ring_put_cut(w, s, f, full);
	return drop_out(w, dst, drop);
}

// Behind whatever is kept already; its next kick brings it out.
static enum deliver keep(struct worker *w, struct dp_port *dst, struct frame *f, bool unicast)
{
	if (!unicast)
		return drop_out(w, dst, DP_DROP_FULL);
	deliver_flush(w); // lock order: hold, then ring
	pthread_mutex_lock(&dst->hold.lock);
	atomic_store(&dst->hold.gate, true);
	enum deliver res = hold_put(w, dst, f, false);
	pthread_mutex_unlock(&dst->hold.lock);
	return res;
}

static enum deliver give(struct worker *w, struct dp_port *dst, struct frame *f, bool unicast, bool may_stall)
{
	if (dst->kind == DP_TAP)
		return tap_send(w, dst, f);
	if (dst->kind == DP_NULL) {
		ctr_add(&ctr_of(w, dst)->queue[0].out_frames, 1);
		ctr_add(&ctr_of(w, dst)->queue[0].out_bytes, f->len);
		return DELIVERED;
	}
	for (int attempt = 0; attempt < 3; attempt++) {
		bool gate = atomic_load_explicit(&dst->hold.gate, memory_order_acquire);
		if (!gate && atomic_load_explicit(&dst->rx_pairs, memory_order_acquire) != 0) {
			enum deliver res = ring_put(w, dst, f, may_stall ? FULL_STALL : FULL_DROP);
			if (res == DELIVER_KEEP)
				return keep(w, dst, f, unicast);
			if (res != DELIVER_FULL || atomic_load(&dst->rx_pairs) != 0)
				return res;
			continue; // the ring went away under us
		}
		enum deliver res = hold_or_drop(w, dst, f, unicast, may_stall);
		if (res != DELIVER_FULL)
			return res == DELIVER_WAIT ? DELIVER_FULL : res;
	}
	return drop_out(w, dst, DP_DROP_FULL);
}

enum deliver deliver_one(struct worker *w, struct dp_port *dst, struct frame *f, bool unicast, bool may_stall)
{
	uint64_t rate = atomic_load_explicit(&dst->rate_out, memory_order_relaxed);
	if (rate && !frame_rate(&dst->out_bucket, f, rate))
		return drop_out(w, dst, DP_DROP_RATE);
	enum deliver res = give(w, dst, f, unicast, may_stall);
	if (rate && res == DELIVER_FULL)
		frame_rate_back(&dst->out_bucket, f, rate);
	return res;
}

void deliver_flood(struct worker *w, struct frame *f)
{
	struct dp_port *src = f->src;
	struct dp_members *m = atomic_load_explicit(&src->net->members, memory_order_acquire);
	uint16_t group = atomic_load_explicit(&src->group, memory_order_relaxed);
	// with one possible receiver a flood is a unicast, and costs as much
	unsigned frames = frame_whole(f) ? f->gso.n : 1;
	if (m->n > 2 && !bucket_take(&src->flood_bucket, frames, DP_FLOOD_RATE, DP_FLOOD_BURST)) {
		ctr_add(&ctr_of(w, src)->drops_in[DP_DROP_FLOOD_RATE], 1);
		return;
	}
	ctr_add(&ctr_of(w, src)->flooded, 1);
	for (unsigned i = 0; i < m->n; i++) {
		struct dp_port *dst = atomic_load_explicit(&w->dp->port[m->port[i]], memory_order_acquire);
		if (!dst || dst == src || dst->net != src->net)
			continue;
		if (group != 0 && group == atomic_load_explicit(&dst->group, memory_order_relaxed))
			continue;
		if (dst->kind == DP_VHOST && atomic_load(&dst->rx_pairs) == 0 && atomic_load(&dst->rx_state) != DP_RX_PAUSED)
			continue; // nobody there: a flooded frame is not held, and not a loss
		f->cut_done = 0; // to each of them in its own form
		deliver_one(w, dst, f, false, false);
	}
}

// -- the hold empties -----------------------------------------------------------------------------------------------------------

// *cut: how many parts of it are there.
static enum deliver hold_deliver_first(struct worker *w, struct dp_port *port, const struct hold_rec *rec, uint16_t *cut)
{
	if (rec->src == port->number)
		return drop_out(w, port, DP_DROP_HOLD_BACK);
	if (!rec->forever && clock_boot_us() > rec->until_us)
		return drop_out(w, port, DP_DROP_HOLD_OLD);
	struct frame *f = &w->frame;
	const uint8_t *bytes = (const uint8_t *)(rec + 1);
	struct gseg seg = { .host = bytes, .gpa = 0, .len = rec->len };
	f->segs = &seg;
	f->n_segs = 1;
	f->skip = 0;
	f->len = rec->len;
	f->head_len = rec->len < DP_HEAD ? rec->len : DP_HEAD;
	memcpy(f->head, bytes, f->head_len);
	f->hdr = rec->hdr;
	f->src = port;
	f->src_pair = 0;
	if (frame_whole(f) && !frame_gso(f, GSO_ALL)) // it was when it came, and we have its headers as they were
		return drop_out(w, port, DP_DROP_HEADER);
	f->cut_done = rec->cut_done;
	enum deliver res = ring_put(w, port, f, FULL_KEEP);
	*cut = f->cut_done;
	return res;
}

void deliver_hold(struct worker *w, struct dp_port *port)
{
	if (!atomic_load(&port->hold.gate) || atomic_load(&port->drain) || port->kind != DP_VHOST)
		return;
	deliver_flush(w); // the lock order is hold, then ring
	pthread_mutex_lock(&port->hold.lock);
	bool all = atomic_load(&port->rx_pairs) != 0 && !atomic_load(&port->drain);
	struct hold_rec *rec = NULL;
	uint16_t cut = 0;
	unsigned n;
	for (n = 1; all; n++) {
		rec = hold_first(&port->hold);
		if (!rec)
			break;
		cut = rec->cut_done;
		enum deliver res = hold_deliver_first(w, port, rec, &cut);
		if (res == DELIVER_FULL) {
			all = false; // its next kick brings us back
			break;
		}
		atomic_fetch_add(res == DELIVERED ? &port->hold.counts->delivered : &port->hold.counts->dropped, 1);
		hold_pop(&port->hold, &w->dp->hold_used);
		if (n % DP_BATCH != 0)
			continue;
		deliver_flush(w); // what a death would repeat is bounded
		hold_settle(&port->hold);
	}
	deliver_flush(w);
	crash_here(CRASH_hold_given);
	if (rec) // the receiver has seen its parts, and all in front of it
		rec->cut_done = cut;
	hold_settle(&port->hold);
	for (unsigned i = 0; n > 1 && i < DP_MAX_PAIRS; i++) // it takes what waits: senders of all pairs may wait for it once more
		atomic_store(&port->q[2 * i].dead, false);
	if (all && atomic_load(&port->rx_pairs) != 0) {
		atomic_store(&port->hold.gate, false);
		dp_note(port, DP_NOTE_HOLD);
	}
	pthread_mutex_unlock(&port->hold.lock);
}

// The guest put receive buffers in: who waited for them goes on.
void deliver_rx_kick(struct worker *w, struct dp_port *port, unsigned pair)
{
	struct dp_queue *rx = &port->q[2 * pair];
	atomic_store(&rx->dead, false);
	deliver_hold(w, port);
	if (!atomic_load(&port->hold.gate))
		rxsess_quiet(w, port, pair); // nobody waits for buffers now: no more kicks for them
	if (atomic_load(&w->dp->stalled) == 0)
		return;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		struct dp_port *src = atomic_load_explicit(&w->dp->port[i], memory_order_acquire);
		if (!src || src->kind != DP_VHOST)
			continue;
		for (unsigned p = 0; p < DP_MAX_PAIRS; p++) {
			struct dp_queue *q = &src->q[2 * p + 1];
			if (atomic_load(&q->stall_port) == port->index && queue_stall(w->dp, q, FDB_NO_PORT))
				worker_ask_tx(dp_owner(src, p), i, p);
		}
	}
}
