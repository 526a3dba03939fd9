// What is known about guests, moved by the control thread: addresses from port to port, held frames behind them.
#include <string.h>

#include "base/clock.h"
#include "switch/dp_int.h"

static void ask_hold(struct dp_port *port)
{
	worker_ask_rx(dp_owner(port, 0), port->index, 0);
}

struct dp_hold_result dp_hold_level(const struct dp_port *port)
{
	return (struct dp_hold_result){ .held = atomic_load(&port->hold.frames), .bytes = atomic_load(&port->hold.bytes) };
}

uint64_t dp_hold_due(const struct dp_port *port)
{
	return atomic_load(&port->hold.oldest_until_us);
}

void port_stamp_pause(struct dp_port *port)
{
	if (hold_stamp(&port->hold, clock_boot_us() + (uint64_t)atomic_load(&port->hold_ms) * 1000))
		dp_note(port, DP_NOTE_HOLD);
}

void dp_hold_expire(struct dp_port *port, uint64_t now_us)
{
	pthread_mutex_lock(&port->hold.lock);
	uint64_t n = hold_expire(&port->hold, now_us, &port->dp->hold_used);
	atomic_fetch_add(&port->hold.counts->dropped, n);
	port->count->expired += n;
	if (atomic_load(&port->hold.frames) == 0 && !atomic_load(&port->drain))
		atomic_store(&port->hold.gate, false);
	pthread_mutex_unlock(&port->hold.lock);
}

// Two holds are locked in the order of their ports, so that two movers can't wait for each other.
static void lock_two(struct dp_port *a, struct dp_port *b)
{
	struct dp_port *first = a->index < b->index ? a : b, *second = first == a ? b : a;
	pthread_mutex_lock(&first->hold.lock);
	pthread_mutex_lock(&second->hold.lock);
}

static void unlock_two(struct dp_port *a, struct dp_port *b)
{
	pthread_mutex_unlock(&a->hold.lock);
	pthread_mutex_unlock(&b->hold.lock);
}

void dp_hold_move(struct dp_port *from, struct dp_port *to)
{
	if (from != to) {
		lock_two(from, to);
		if (atomic_load(&from->hold.frames)) {
			atomic_store(&to->hold.gate, true);
			hold_splice(&from->hold, &to->hold);
		}
		if (atomic_load(&from->rx_pairs) == 0 && !atomic_load(&from->drain))
			atomic_store(&from->hold.gate, false);
		unlock_two(from, to);
	}
	ask_hold(to);
}

void dp_mac_move(struct dp_port *from, struct dp_port *to)
{
	if (from == to || from->net != to->net)
		return;
	// newer frames must not overtake the held ones: the gate is up before the addresses point here, and comes down when
	// what is held has been delivered
	pthread_mutex_lock(&to->hold.lock);
	if (to->kind == DP_VHOST) {
		atomic_store(&to->hold.gate, true);
		int off = DP_RX_OFF; // its rings may come a moment later: what arrives until then waits, too
		atomic_compare_exchange_strong(&to->rx_state, &off, DP_RX_STOPPED);
	}
	pthread_mutex_unlock(&to->hold.lock);
	fdb_move_port(&from->net->fdb, from->index, to->index, clock_coarse_s());
	dp_sync(from->dp); // nobody sends to `from` by an older look-up any more
	atomic_store(&to->learned, fdb_count_port(&to->net->fdb, to->index, clock_coarse_s())); // max-macs counts them here now
	atomic_store(&from->learned, 0);
	net_settle(from->net, ADDRS_NOWHERE);
	dp_note(from, DP_NOTE_MACS);
	dp_note(to, DP_NOTE_MACS);
	dp_hold_move(from, to);
}

struct by_mac {
	struct dp_port *from, *to;
	struct hold *moved;
	uint64_t mac;
};

static void move_one(void *arg, struct hold_rec *rec)
{
	struct by_mac *m = arg;
	if (mac_key(hold_bytes(rec)) != m->mac)
		return;
	struct hold_rec copy = *rec;
	uint8_t *to = hold_append(m->moved, &copy, UINT64_MAX, &m->to->dp->hold_used, UINT64_MAX);
	if (to) {
		memcpy(to, hold_bytes(rec), rec->len);
		hold_commit(m->moved);
	} else {
		atomic_fetch_add(&m->from->hold.counts->dropped, 1);
	}
	hold_take_out(&m->from->hold, rec, &m->from->dp->hold_used);
}

void dp_hold_move_mac(struct dp_port *from, struct dp_port *to, uint64_t mac)
{
	if (from != to) {
		struct hold moved; // what `to` holds already is newer
		struct by_mac m = { from, to, &moved, mac };
		lock_two(from, to);
		hold_init_before(&moved, &to->hold);
		hold_each(&from->hold, move_one, &m);
		hold_splice(&moved, &to->hold);
		pthread_mutex_destroy(&moved.lock);
		if (atomic_load(&to->hold.frames))
			atomic_store(&to->hold.gate, true);
		hold_clock(&from->hold);
		unlock_two(from, to);
	}
	ask_hold(to);
}

struct each {
	struct dp *dp;
	const struct dp_port *only;
	uint64_t mac; // 0: all
	struct dp_net *net;
	dp_mac_fn *fn;
	void *arg;
	uint32_t now_s;
};

static void each_one(void *arg, uint64_t key, const struct fdb_hit *hit)
{
	struct each *e = arg;
	if ((e->only && e->only->index != hit->port) || (e->mac && e->mac != key >> 12))
		return;
	struct dp_mac m = { .mac = key >> 12, .vlan = (uint16_t)(key & 0xfff), .port = hit->port,
			    .source = hit->source == FDB_CONFIG ? DP_MAC_CONFIG : hit->source == FDB_CLAIMED ? DP_MAC_CLAIMED : DP_MAC_LEARNED,
			    .age_ms = (uint64_t)(e->now_s - hit->seen_s) * 1000 };
	memcpy(m.net, e->net->name, sizeof(m.net));
	m.n_ips = addrs_get(&e->net->addrs, key, m.ip);
	e->fn(e->arg, &m);
}

void dp_macs_each(struct dp *dp, const struct dp_port *only, dp_mac_fn *fn, void *arg)
{
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		if (!dp->net[i] || (only && only->net != dp->net[i]))
			continue;
		struct each e = { .dp = dp, .only = only, .net = dp->net[i], .fn = fn, .arg = arg, .now_s = clock_coarse_s() };
		fdb_each(&dp->net[i]->fdb, e.now_s, each_one, &e);
	}
}

void dp_macs_of(const struct dp_port *net_of, uint64_t mac, dp_mac_fn *fn, void *arg)
{
	struct each e = { .dp = net_of->dp, .mac = mac, .net = net_of->net, .fn = fn, .arg = arg, .now_s = clock_coarse_s() };
	fdb_each(&net_of->net->fdb, e.now_s, each_one, &e);
}

bool dp_mac_claim(struct dp_port *port, uint64_t mac, uint16_t vlan, enum dp_mac_source source)
{
	uint16_t old;
	enum fdb_source s = source == DP_MAC_CONFIG ? FDB_CONFIG : source == DP_MAC_CLAIMED ? FDB_CLAIMED : FDB_LEARNED;
	struct fdb_hit hit = fdb_find(&port->net->fdb, fdb_key(mac, vlan), clock_coarse_s());
	if (s != FDB_CONFIG && hit.port != FDB_NO_PORT && hit.port != port->index && hit.source == FDB_CONFIG &&
	    !dp_port_serves(port->dp, hit.port))
		s = FDB_OVER;
	enum fdb_entered e = fdb_enter(&port->net->fdb, fdb_key(mac, vlan), port->index, s, clock_coarse_s(), &old);
	if (e == FDB_FULL || e == FDB_KEPT)
		return false;
	if (e == FDB_MOVED)
		addrs_move(&port->net->addrs, fdb_key(mac, vlan), port->index);
	if (e != FDB_SAME) {
		atomic_fetch_add(&port->learned, 1);
		dp_note(port, DP_NOTE_MACS);
	}
	return true;
}

bool dp_mac_restore(struct dp_port *port, const struct dp_mac *mac)
{
	if (!mac_key_unicast(mac->mac) || !dp_mac_claim(port, mac->mac, mac->vlan, mac->source))
		return false;
	for (unsigned i = 0; i < mac->n_ips && i < 8; i++)
		addrs_add(&port->net->addrs, fdb_key(mac->mac, mac->vlan), port->index, &mac->ip[i], clock_coarse_s());
	return true;
}

void dp_mac_forget_port(struct dp_port *port)
{
	fdb_move_port(&port->net->fdb, port->index, FDB_NO_PORT, clock_coarse_s());
	port_enter_macs(port);
	net_settle(port->net, port->index);
	dp_note(port, DP_NOTE_MACS);
}

static void count_one(void *arg, uint64_t key, const struct fdb_hit *hit)
{
	(void)key;
	(void)hit;
	++*(uint64_t *)arg;
}

uint64_t dp_macs_count(struct dp *dp, const char *net)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		if (dp->net[i] && (!net || strcmp(net, dp->net[i]->name) == 0))
			fdb_each(&dp->net[i]->fdb, clock_coarse_s(), count_one, &n);
	return n;
}
