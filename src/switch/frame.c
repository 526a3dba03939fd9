// What happens to one frame: is its source acceptable, is it learned, which way does it go.
#include <string.h>

#include "base/clock.h"
#include "switch/dp_int.h"

static void bucket_lock(struct dp_bucket *b)
{
	while (atomic_flag_test_and_set_explicit(&b->lock, memory_order_acquire))
		;
}

static void bucket_unlock(struct dp_bucket *b)
{
	atomic_flag_clear_explicit(&b->lock, memory_order_release);
}

bool bucket_take(struct dp_bucket *b, uint64_t amount, uint64_t rate_per_s, uint64_t burst)
{
	bucket_lock(b);
	uint64_t now = clock_coarse_us();
	uint64_t gone = now - b->last_us;
	b->last_us = now;
	uint64_t fresh = gone > 1000000 ? rate_per_s : (uint64_t)((__uint128_t)rate_per_s * gone / 1000000);
	b->tokens = b->tokens + fresh > burst ? burst : b->tokens + fresh;
	bool ok = b->tokens >= amount;
	if (ok)
		b->tokens -= amount;
	bucket_unlock(b);
	return ok;
}

void bucket_give(struct dp_bucket *b, uint64_t amount, uint64_t burst)
{
	bucket_lock(b);
	b->tokens = b->tokens + amount > burst ? burst : b->tokens + amount;
	bucket_unlock(b);
}

// max-macs: an address over the limit is not learned; its frames still pass, answers to it are flooded.
static bool may_learn(struct worker *w, struct dp_port *port)
{
	uint32_t limit = atomic_load_explicit(&port->max_macs, memory_order_relaxed);
	if (atomic_load_explicit(&port->learned, memory_order_relaxed) < limit)
		return true;
	if (atomic_exchange(&port->recount_s, w->now_s) == w->now_s)
		return false; // counted this second already
	uint32_t n = fdb_count_port(&port->net->fdb, port->index, w->now_s);
	atomic_store(&port->learned, n);
	return n < limit;
}

static bool learn(struct worker *w, struct frame *f)
{
	struct dp_port *port = f->src;
	uint64_t key = fdb_key(f->eth.src, f->eth.vlan);
	struct dp_queue *q = &port->q[2 * f->src_pair + 1];
	uint64_t seen = (uint64_t)atomic_load_explicit(&port->net->fdb.moves, memory_order_acquire) << 32 | w->now_s;
	if (q->memo_src == key && q->memo_seen == seen)
		return true; // entered within this second and nothing has moved since: a steady flow
	struct fdb_hit hit = fdb_find(&port->net->fdb, key, w->now_s);
	if (hit.port == port->index) {
		fdb_touch(&port->net->fdb, key, port->index, w->now_s);
	} else {
		if (atomic_load_explicit(&port->drain, memory_order_relaxed) || !may_learn(w, port))
			return true;
		uint16_t old;
		enum fdb_source how = FDB_LEARNED;
		if (hit.port != FDB_NO_PORT && hit.source == FDB_CONFIG && !dp_port_serves(w->dp, hit.port))
			how = FDB_OVER; // mac= says whose it is, not where: its port has no guest, so it moved (to another host, say)
		enum fdb_entered e = fdb_enter(&port->net->fdb, key, port->index, how, w->now_s, &old);
		if (e == FDB_KEPT)
			return false; // another port's mac=: somebody forges it
		if (e == FDB_NEW || e == FDB_MOVED) {
			atomic_fetch_add(&port->learned, 1);
			dp_note(port, DP_NOTE_MACS);
		}
	}
	q->memo_src = key;
	q->memo_seen = seen; // of before the look-up: a move in between voids it
	return true;
}

// Only of sources that the database has at this port: max-macs bounds them, and they are forgotten with it. Of others the
// claim still counts against whoever had the address.
static void snoop(struct worker *w, struct frame *f)
{
	uint8_t buf[NEIGH_SNOOP_BYTES];
	struct dp_port *port = f->src;
	struct addrs *a = &port->net->addrs;
	uint32_t have = f->len < sizeof(buf) ? f->len : (uint32_t)sizeof(buf);
	if (atomic_load_explicit(&port->drain, memory_order_relaxed))
		return;
	memcpy(buf, f->head, f->head_len);
	if (have > f->head_len && !gseg_read(f->segs, f->n_segs, f->skip + f->head_len, buf + f->head_len, have - f->head_len))
		return;
	struct ip_addr ip;
	if (!neigh_snoop(buf, have, &f->eth, &ip))
		return;
	uint64_t key = fdb_key(f->eth.src, f->eth.vlan);
	bool known = fdb_find(&port->net->fdb, key, w->now_s).port == port->index;
	bool news = known ? addrs_add(a, key, port->index, &ip, w->now_s) : addrs_disown(a, key, &ip);
	if (news || atomic_load_explicit(&a->want_sweep, memory_order_relaxed))
		dp_note(port, DP_NOTE_MACS);
}

uint8_t *frame_linear(struct worker *w, const struct frame *f)
{
	memcpy(w->bounce, f->head, f->head_len);
	if (f->len > f->head_len &&
	    !gseg_read(f->segs, f->n_segs, f->skip + f->head_len, w->bounce + f->head_len, f->len - f->head_len))
		return NULL;
	return w->bounce;
}

static enum frame_way drop(struct worker *w, struct frame *f, enum dp_drop why)
{
	ctr_add(&ctr_of(w, f->src)->drops_in[why], 1);
	return FRAME_DROP;
}

enum frame_way frame_route(struct worker *w, struct frame *f, struct dp_port **dst)
{
	struct dp_port *src = f->src;
	if (f->len > ETH_MAX || !eth_parse(f->head, f->head_len, &f->eth))
		return drop(w, f, DP_DROP_RUNT);
	uint64_t rate = atomic_load_explicit(&src->rate_in, memory_order_relaxed);
	if (rate && !frame_rate(&src->in_bucket, f, rate))
		return drop(w, f, DP_DROP_RATE);
	if (!mac_key_unicast(f->eth.src))
		return drop(w, f, DP_DROP_SOURCE);
	if (atomic_load_explicit(&src->filter_mac, memory_order_relaxed) && !port_has_mac(src, f->eth.src))
		return drop(w, f, DP_DROP_SOURCE);
	if (!learn(w, f))
		return drop(w, f, DP_DROP_SOURCE);
	if (neigh_worth(f->head, f->head_len, &f->eth))
		snoop(w, f);
	if (mac_key_multicast(f->eth.dst))
		return FRAME_FLOOD;
	struct fdb_hit hit = fdb_find(&src->net->fdb, fdb_key(f->eth.dst, f->eth.vlan), w->now_s);
	if (hit.port == FDB_NO_PORT)
		return FRAME_FLOOD;
	if (hit.port == src->index)
		return drop(w, f, DP_DROP_SELF);
	*dst = atomic_load_explicit(&w->dp->port[hit.port], memory_order_acquire);
	if (!*dst || (*dst)->net != src->net)
		return FRAME_FLOOD; // its port was deleted this moment
	uint16_t group = atomic_load_explicit(&src->group, memory_order_relaxed);
	if (group != 0 && group == atomic_load_explicit(&(*dst)->group, memory_order_relaxed))
		return drop(w, f, DP_DROP_GROUP);
	return FRAME_UNICAST;
}
