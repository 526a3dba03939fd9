// The fast form of a turn: unicast frames of one descriptor (or of a table of two) from one transmit ring into receive buffers of one descriptor, or to
// null ports; rings of either kind on either side (ring.h asks which, once a ring and stage). The general form (source.c,
// deliver.c, rxsess.c) can do all that this can, and does what this leaves: whatever is unusual ends the batch in front of it,
// with nothing of it consumed.
//
// A batch goes through stages, so that the cache misses of its frames overlap instead of following each other:
//   ahead    what the first buffer of the last destination waits for is on its way: with few frames nothing else hides it
//   take     avail entries and descriptors of up to 64 frames; their first lines are on their way (vone_fetch, pone_fetch)
//   route    headers and addresses are read, once, into registers; memo or database; frames are sorted by destination
//   reserve  each destination's avail entries and descriptors; the lines to be written are on their way
//   copy     destination by destination: header if it differs, the bytes that were looked at, the rest (gwrite_frames)
//   publish  used elements of all; where somebody logs one full fence; log and used.idx of each destination, then of the source;
//            one full fence; the pages of the used.idx; at most one call a ring
// A crash between two of these repeats frames and loses none. What is decided once a batch instead of once a frame: the state
// of ports and rings, which the control thread changes only where it then waits for this turn to end (dp_sync).
#include <string.h>

#include "base/crash.h"
#include "base/once.h"
#include "dirty/dirty.h"
#include "guest/mem.h"
#include "net/eth.h"
#include "switch/dp_int.h"

#define FAST_MIN (ETH_HDR + 20u) // room for what is looked at, and for gwrite_frames
#define NO_MEMO UINT64_MAX

// Six bytes as they lie in memory (the first one lowest) as a mac_key.
static inline uint64_t key_of_raw(uint64_t raw)
{
	return __builtin_bswap64(raw) >> 16;
}

struct bucket { // frames for one receive ring, or for a null port
	struct dp_port *port;
	struct dp_queue *q;
	struct vring *ring; // NULL: a null port
	unsigned pair, n;
	bool flood; // its frames go to all; that is nobody else
	uint64_t bytes;
	uint8_t frame[DP_BATCH]; // which
};

struct fast {
	struct vones tx, rx;
	struct gwrite_frame to[DP_BATCH];
	struct gwrite_used elem[DP_BATCH];
	struct bucket bucket[RXS_MAX];
	unsigned n_buckets;
};
_Static_assert(sizeof(struct fast) <= DP_FAST_BYTES, "scratch of the fast form");
_Static_assert(DP_BATCH <= VONE_MAX, "what a batch is");
_Static_assert(FAST_MIN >= GWRITE_FRAME_MIN, "frames that gwrite_frames takes");

static bool port_is_plain(const struct dp_port *port, const struct dp_queue *q)
{
	return atomic_load_explicit(&port->rate_in, memory_order_relaxed) == 0 &&
	       !atomic_load_explicit(&port->filter_mac, memory_order_relaxed) &&
	       !atomic_load_explicit(&port->drain, memory_order_relaxed) && !atomic_load_explicit(&q->discard, memory_order_relaxed);
}

// Where a port takes what this form gives it; false: it does not, now.
static bool place_of(struct dp_port *dst, unsigned src_pair, const struct vring *r, struct bucket *b)
{
	b->pair = 0;
	b->q = NULL;
	b->ring = NULL;
	if (dst->kind == DP_NULL)
		return true;
	if (dst->kind != DP_VHOST || atomic_load_explicit(&dst->hold.gate, memory_order_acquire))
		return false;
	unsigned pairs = atomic_load_explicit(&dst->rx_pairs, memory_order_acquire);
	if (pairs == 0)
		return false;
	b->pair = pairs == 1 ? 0 : src_pair % pairs;
	b->q = &dst->q[2 * b->pair];
	b->ring = atomic_load_explicit(&b->q->ring, memory_order_acquire);
	return b->ring && !vring_broken(b->ring) && b->ring->hdr_len == r->hdr_len &&
	       !atomic_load_explicit(&b->q->discard, memory_order_relaxed);
}

// The bucket of a destination port; NULL: it is nothing for this form.
static struct bucket *bucket_of(struct worker *w, struct fast *f, const struct dp_port *src, unsigned src_pair, const struct vring *r,
				unsigned index, bool flood)
{
	for (unsigned i = 0; i < f->n_buckets; i++)
		if (f->bucket[i].port->index == index)
			return f->bucket[i].flood == flood ? &f->bucket[i] : NULL;
	struct dp_port *dst = atomic_load_explicit(&w->dp->port[index], memory_order_acquire);
	uint16_t group = atomic_load_explicit(&src->group, memory_order_relaxed);
	if (f->n_buckets == RXS_MAX || !dst || dst == src || dst->net != src->net)
		return NULL;
	if (group != 0 && group == atomic_load_explicit(&dst->group, memory_order_relaxed))
		return NULL;
	struct bucket *b = &f->bucket[f->n_buckets];
	if (atomic_load_explicit(&dst->rate_out, memory_order_relaxed) || !place_of(dst, src_pair, r, b))
		return NULL;
	f->n_buckets++;
	b->port = dst;
	b->flood = flood;
	b->n = 0;
	b->bytes = 0;
	return b;
}

// For frames to all, or to who is not known: the bucket of the null port that is the only other one in the net. Its address
// is never known, since it never speaks.
static struct bucket *bucket_of_all(struct worker *w, struct fast *f, const struct dp_port *src, unsigned src_pair, const struct vring *r)
{
	const struct dp_members *m = atomic_load_explicit(&src->net->members, memory_order_acquire);
	if (m->n != 2)
		return NULL;
	unsigned index = m->port[m->port[0] == src->index];
	const struct dp_port *dst = atomic_load_explicit(&w->dp->port[index], memory_order_acquire);
	return dst && dst->kind == DP_NULL ? bucket_of(w, f, src, src_pair, r, index, true) : NULL;
}

// Known as this port's, and seen within this second? Else the general form learns it, or refuses it.
static bool source_known(struct worker *w, struct dp_port *port, struct dp_queue *q, uint64_t seen, uint64_t raw)
{
	uint64_t mac = key_of_raw(raw), key = fdb_key(mac, 0);
	if (q->memo_src == key && q->memo_seen == seen)
		return true;
	if (!mac_key_unicast(mac))
		return false;
	struct fdb_hit hit = fdb_find(&port->net->fdb, key, w->now_s);
	return hit.port == port->index && hit.seen_s == w->now_s;
}

static bool header_goes(const struct vring *from, const struct vring *to, uint32_t len, uint64_t hdr[2])
{
	struct vnet_hdr h;
	const char *why;
	memcpy(&h, hdr, sizeof(h));
	if ((to && !to->guest_csum) || !vnet_tx_sane(&h, len, from->tx_csum, &why))
		return false;
	memcpy(hdr, &h, sizeof(h));
	return true;
}

// Where frames with these addresses and this type go: a and b are the first 8 bytes and the 6 behind them, lowest first.
// NULL: not by this form.
static struct bucket *bucket_for(struct worker *w, struct fast *f, struct dp_port *port, unsigned pair, const struct vring *r, uint64_t seen,
				 uint64_t a, uint64_t b)
{
	uint64_t dst = a & UINT64_C(0xffffffffffff), src = a >> 48 | (b & 0xffffffff) << 16;
	uint16_t type = __builtin_bswap16((uint16_t)(b >> 32));
	if (type == ETH_T_VLAN || type == ETH_T_QINQ || type == ETH_T_ARP || type == ETH_T_IPV6)
		return NULL; // tags, and what is snooped
	if (!source_known(w, port, &port->q[2 * pair + 1], seen, src))
		return NULL;
	unsigned index = dst & 1 ? FDB_NO_PORT : fdb_find(&port->net->fdb, fdb_key(key_of_raw(dst), 0), w->now_s).port;
	return index == FDB_NO_PORT ? bucket_of_all(w, f, port, pair, r) : bucket_of(w, f, port, pair, r, index, false);
}

// Read each frame's header and addresses, sort by destination. Returns how many of n this form takes.
static unsigned route(struct worker *w, struct fast *f, struct dp_port *port, unsigned pair, const struct vring *r, unsigned n)
{
	uint64_t seen = (uint64_t)atomic_load_explicit(&port->net->fdb.moves, memory_order_acquire) << 32 | w->now_s;
	uint64_t last[2] = { 0, NO_MEMO };
	struct bucket *b = NULL;
	const uint32_t hdr_len = r->hdr_len;
	const uint64_t one_buffer = hdr_len > 10 ? UINT64_C(1) << 16 : 0; // num_buffers
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *host = f->tx.host[i], *frame = f->tx.rest[i];
		struct gwrite_frame *to = &f->to[i];
		uint32_t len = f->tx.len[i] - hdr_len;
		uint64_t h0 = once_load64(host), h1 = once_load64(host + 8) & 0xffff, e0 = once_load64(frame), e1 = once_load64(frame + 8);
		uint64_t rest = e1 & UINT64_C(0xffffffffffff);
		if (len > ETH_MAX)
			return i;
		if (e0 != last[0] || rest != last[1]) { // a frame mostly goes where the one before went
			b = bucket_for(w, f, port, pair, r, seen, e0, rest);
			if (!b)
				return i;
			last[0] = e0;
			last[1] = rest;
		}
		to->hdr[0] = h0;
		to->hdr[1] = h1;
		if ((h0 | h1) != 0 && !header_goes(r, b->ring, len, to->hdr))
			return i;
		to->hdr[1] |= one_buffer;
		to->src = frame;
		to->len = len;
		to->first[0] = e0;
		to->first[1] = e1;
		b->frame[b->n++] = (uint8_t)i;
	}
	return n;
}

// What goes to a null port is counted.
static void swallow(struct worker *w, const struct fast *f, struct dp_port *src, struct bucket *b, unsigned limit)
{
	struct dp_counters *c = &ctr_of(w, b->port)->queue[0];
	unsigned n = 0;
	for (; n < b->n && b->frame[n] < limit; n++)
		b->bytes += f->to[b->frame[n]].len;
	b->n = n;
	ctr_add(&c->out_frames, n);
	ctr_add(&c->out_bytes, b->bytes);
	if (b->flood)
		ctr_add(&ctr_of(w, src)->flooded, n);
}

static bool lock(struct worker *w, struct fast *f, unsigned i)
{
	if (w->dp->n_workers == 1)
		return true;
	// whoever has a ring never waits for another one: two threads could wait for each other
	if (!atomic_flag_test_and_set_explicit(&f->bucket[i].q->lock, memory_order_acquire))
		return true;
	if (i != 0)
		return false;
	flight_waits(w->flight, true);
	while (atomic_flag_test_and_set_explicit(&f->bucket[i].q->lock, memory_order_acquire))
		;
	flight_waits(w->flight, false);
	return true;
}

static void unlock(struct worker *w, struct bucket *b)
{
	if (w->dp->n_workers > 1)
		atomic_flag_clear_explicit(&b->q->lock, memory_order_release);
}

// Buffers for the frames of a bucket, into f->to. Returns the number of the first frame of the batch that gets none.
static unsigned reserve(struct worker *w, struct fast *f, struct bucket *b, unsigned limit)
{
	struct vring *ring = b->ring;
	in_hand(w, b->q, ring);
	crash_poison("rx", b->port->id, 2 * b->pair);
	unsigned avail = ring_pending(ring);
	if (vring_broken(ring))
		return b->n ? b->frame[0] : limit;
	const uint32_t hdr_len = ring->hdr_len, n = b->n;
	unsigned got = ring_fetch_ones(ring, n, avail, true, hdr_len + FAST_MIN, hdr_len, &f->rx);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = b->frame[i];
		struct gwrite_frame *to = &f->to[k];
		if (k >= limit)
			return limit;
		uint32_t len = hdr_len + to->len;
		if (i == got || f->rx.len[i] < len)
			return k;
		to->host = f->rx.host[i];
		to->gpa = f->rx.gpa[i];
		f->elem[k] = (struct gwrite_used){ .id = f->rx.id[i], .len = len };
	}
	return limit;
}

// Copy what goes to one destination; it is shown later.
static void fill(struct worker *w, struct fast *f, struct bucket *b, unsigned limit)
{
	struct gwrite_used some[DP_BATCH];
	const struct gwrite_used *used = some;
	unsigned n = 0;
	b->bytes = 0;
	if (f->n_buckets != 1) // else it has been since reserve
		in_hand(w, b->q, b->ring);
	if (f->n_buckets == 1) { // all in a row
		gwrite_frames(b->ring, f->to, limit);
		used = f->elem;
		for (; n < limit; n++)
			b->bytes += f->to[n].len;
	} else {
		for (; n < b->n && b->frame[n] < limit; n++) {
			unsigned k = b->frame[n];
			gwrite_frames(b->ring, &f->to[k], 1);
			some[n] = f->elem[k];
			b->bytes += f->to[k].len;
		}
	}
	b->n = n;
	if (n == 0)
		return;
	ring_advance(b->ring, n);
	ring_stage(b->ring, used, n);
}

static bool memory_gone(const struct vring *r)
{
	return atomic_load_explicit(&r->mem->broken, memory_order_relaxed) ||
	       (r->log && atomic_load_explicit(&r->log->broken, memory_order_relaxed));
}

// After the fence: what tells others that it is done.
static void finish(struct worker *w, struct bucket *b)
{
	struct dp_counters *c = &ctr_of(w, b->port)->queue[b->pair];
	ring_settle(b->ring);
	if (b->n == 0)
		return;
	crash_here(CRASH_frame_settled);
	ctr_add(&c->out_frames, b->n);
	ctr_add(&c->out_bytes, b->bytes);
	dp_seen(b->port, DP_NOTE_FIRST_OUT, &b->port->first_out_us);
	if (ring_wants_call_fenced(b->ring))
		vring_call_now(b->ring);
	if (memory_gone(b->ring))
		dp_note(b->port, DP_NOTE_MEM_BROKEN);
}

// Used elements of the source. In order one stands for all that a packed ring's driver skips.
static void give_back(struct vring *r, const struct vones *tx, unsigned n)
{
	struct gwrite_used used[DP_BATCH];
	unsigned elems = n;
	if (r->packed && r->in_order) {
		used[0] = (struct gwrite_used){ .id = gwrite_packed_id((uint16_t)tx->id[n - 1], (uint16_t)n) };
		elems = 1;
	} else {
		for (unsigned i = 0; i < n; i++)
			used[i] = (struct gwrite_used){ .id = tx->id[i] };
	}
	ring_advance(r, n);
	ring_stage(r, used, elems);
}

// Where the last batch of this ring went, this one mostly goes, too.
static inline void look_ahead(struct worker *w, const struct dp_queue *q, unsigned src_pair)
{
	const struct dp_port *dst = atomic_load_explicit(&w->dp->port[q->last_to], memory_order_acquire);
	if (w->dp->n_workers != 1 || !dst || dst->kind != DP_VHOST)
		return;
	unsigned pairs = atomic_load_explicit(&dst->rx_pairs, memory_order_acquire);
	if (pairs == 0)
		return;
	const struct vring *to = atomic_load_explicit(&dst->q[2 * (pairs == 1 ? 0 : src_pair % pairs)].ring, memory_order_acquire);
	if (to)
		vone_ahead(to);
}

unsigned fast_run(struct worker *w, struct dp_port *port, unsigned pair, struct vring *r, unsigned avail)
{
	struct dp_queue *q = &port->q[2 * pair + 1];
	struct fast *f = (struct fast *)w->fast;
	unsigned n, locked = 0;
	uint64_t bytes = 0;
	if (!port_is_plain(port, q))
		return 0;
	f->n_buckets = 0;
	look_ahead(w, q, pair);
	n = ring_fetch_ones(r, DP_BATCH, avail, false, r->hdr_len + FAST_MIN, r->hdr_len, &f->tx);
	if (n)
		n = route(w, f, port, pair, r, n);
	for (unsigned i = 0; i < f->n_buckets && n; i++) {
		if (f->bucket[i].n == 0 || f->bucket[i].frame[0] >= n || !f->bucket[i].ring)
			continue;
		if (!lock(w, f, i)) {
			n = f->bucket[i].frame[0];
			break;
		}
		locked |= 1u << i;
		n = reserve(w, f, &f->bucket[i], n);
	}
	for (unsigned i = 0; i < f->n_buckets; i++) {
		if (locked & 1u << i)
			fill(w, f, &f->bucket[i], n);
		else if (!f->bucket[i].ring)
			swallow(w, f, port, &f->bucket[i], n);
		else
			f->bucket[i].n = 0;
		bytes += f->bucket[i].n ? f->bucket[i].bytes : 0;
	}
	in_hand(w, q, r);
	if (n) {
		give_back(r, &f->tx, n);
		bool unlogged = gwrite_unlogged(r);
		for (unsigned i = 0; i < f->n_buckets; i++)
			unlogged |= (locked & 1u << i) && gwrite_unlogged(f->bucket[i].ring);
		if (unlogged)
			gwrite_fence();
		for (unsigned i = 0; i < f->n_buckets; i++) // destinations before the source
			if (f->bucket[i].n && f->bucket[i].ring)
				ring_show(f->bucket[i].ring, f->bucket[i].n);
		ring_show(r, n);
		crash_here(CRASH_frame_returned);
		gwrite_fence(); // all of it is visible before anybody's wish is read, and before the pages of the indices are logged
	}
	for (unsigned i = 0; i < f->n_buckets; i++) {
		if (!(locked & 1u << i))
			continue;
		if (n)
			finish(w, &f->bucket[i]);
		unlock(w, &f->bucket[i]);
	}
	if (!n)
		return 0;
	ring_settle(r);
	q->last_to = f->bucket[0].port->index;
	struct dp_counters *c = &ctr_of(w, port)->queue[pair];
	ctr_add(&c->in_frames, n);
	ctr_add(&c->in_bytes, bytes);
	dp_seen(port, DP_NOTE_FIRST_IN, &port->first_in_us);
	if (ring_wants_call_fenced(r))
		vring_call_now(r);
	return n;
}
