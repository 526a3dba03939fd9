// Ports on the control thread: made, changed, deleted; rings published to data threads and taken back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "switch/dp_int.h"

// A group's number within its net; 0 for none. Never 0 for a name: 255 ports can't make more than 255 groups at a time, and
// numbers of groups that are gone are taken again.
static uint16_t group_number(struct dp *dp, const char *net, const char *group)
{
	char key[2 * DP_NAME_MAX];
	if (!group[0])
		return 0;
	memset(key, 0, sizeof(key));
	snprintf(key, sizeof(key), "%s/%s", net, group);
	unsigned free_slot = DP_MAX_PORTS;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		bool used = false;
		for (unsigned p = 0; p < DP_MAX_PORTS && dp->groups[i][0]; p++) {
			struct dp_port *port = atomic_load(&dp->port[p]);
			used = used || (port && atomic_load(&port->group) == i + 1);
		}
		if (dp->groups[i][0] && strcmp(dp->groups[i], key) == 0)
			return (uint16_t)(i + 1);
		if (!used && free_slot == DP_MAX_PORTS)
			free_slot = i;
	}
	memcpy(dp->groups[free_slot], key, sizeof(key));
	return (uint16_t)(free_slot + 1);
}

static void port_free(struct dp_port *port)
{
	struct dp *dp = port->dp;
	hold_fini(&port->hold, &dp->hold_used, counters_left(dp->counters));
	if (port->count)
		counters_drop(dp->counters, port->number);
	fd_reset(&port->tap_fd);
	if (port->net)
		net_put(dp, port->net);
	free(port);
}

static struct dp_port *port_new(struct dp *dp, unsigned index, const struct dp_port_conf *c)
{
	struct dp_port *port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->dp = dp;
	port->index = (uint16_t)index;
	memcpy(port->id, c->id, sizeof(port->id));
	port->kind = c->kind;
	port->tap_fd = -1;
	atomic_init(&port->rx_state, DP_RX_OFF);
	for (unsigned q = 0; q < DP_RINGS; q++) {
		port->q[q].tag = FLIGHT_AT(index, q, 0);
		port->q[q].kick_fd = -1;
		atomic_flag_clear(&port->q[q].lock);
		atomic_init(&port->q[q].stall_port, FDB_NO_PORT);
	}
	atomic_flag_clear(&port->in_bucket.lock);
	atomic_flag_clear(&port->out_bucket.lock);
	atomic_flag_clear(&port->flood_bucket.lock);
	bool went_on = false;
	port->count = counters_take(dp->counters, c->id, &port->number, &went_on);
	hold_init(&port->hold, dp->held, port->number);
	if (port->count)
		hold_adopt(&port->hold, &dp->hold_used, went_on);
	for (unsigned i = 0; port->count && i < dp->n_workers; i++)
		port->ctr[i] = &port->count->thread[i];
	if (port->count)
		port->hold.counts = &port->count->hold;
	port->net = port->count ? net_get(dp, c->net) : NULL;
	if (!port->net) {
		port_free(port);
		return NULL;
	}
	return port;
}

bool port_has_mac(const struct dp_port *port, uint64_t mac)
{
	const struct dp_macs *m = &port->macs[atomic_load_explicit(&port->macs_at, memory_order_acquire)];
	for (unsigned i = 0; i < m->n; i++)
		if (m->mac[i] == mac)
			return true;
	return false;
}

// An address whose guest runs elsewhere stays there: it is claimed when this port's rings start. A stranger's word (learned
// there, while our own guest runs here) is no reason to leave it.
static bool stays_elsewhere(struct dp_port *port, uint64_t mac)
{
	struct fdb_hit hit = fdb_find(&port->net->fdb, fdb_key(mac, 0), clock_coarse_s());
	if (hit.port == FDB_NO_PORT || hit.port == port->index || !dp_port_serves(port->dp, hit.port))
		return false;
	const struct dp_port *holder = atomic_load(&port->dp->port[hit.port]);
	return !dp_port_serves(port->dp, port->index) || port_has_mac(holder, mac);
}

void port_enter_macs(struct dp_port *port)
{
	uint16_t old;
	const struct dp_macs *m = &port->macs[atomic_load(&port->macs_at)];
	for (unsigned i = 0; i < m->n; i++)
		if (!stays_elsewhere(port, m->mac[i]))
			fdb_enter(&port->net->fdb, fdb_key(m->mac[i], 0), port->index, FDB_CONFIG, clock_coarse_s(), &old);
}

// These were in mac= of `port` and are not any more.
static void leave_macs(struct dp *dp, struct dp_port *port, const struct dp_macs *were)
{
	for (unsigned i = 0; i < were->n; i++) {
		bool named = false;
		for (unsigned p = 0; p < DP_MAX_PORTS && !named; p++) {
			const struct dp_port *o = atomic_load(&dp->port[p]);
			named = o && o->net == port->net && port_has_mac(o, were->mac[i]);
		}
		if (!named)
			fdb_unconfigure(&port->net->fdb, fdb_key(were->mac[i], 0), port->index, clock_coarse_s());
	}
}

static bool same_macs(const struct dp_macs *a, const struct dp_macs *b)
{
	return a->n == b->n && memcmp(a->mac, b->mac, a->n * sizeof(a->mac[0])) == 0;
}

static void set_macs(struct dp *dp, struct dp_port *port, const struct dp_port_conf *c)
{
	unsigned at = atomic_load(&port->macs_at);
	const struct dp_macs *were = &port->macs[at];
	struct dp_macs *next = &port->macs[!at];
	next->n = c->n_macs > ARRAY_LEN(next->mac) ? (unsigned)ARRAY_LEN(next->mac) : c->n_macs;
	memcpy(next->mac, c->macs, next->n * sizeof(next->mac[0]));
	if (same_macs(were, next))
		return;
	atomic_store_explicit(&port->macs_at, !at, memory_order_release);
	dp_sync(dp); // nobody reads the old ones any more
	leave_macs(dp, port, were);
	port_enter_macs(port);
	net_settle(port->net, port->index);
}

void dp_port_reconf(struct dp *dp, struct dp_port *port, const struct dp_port_conf *c)
{
	atomic_store(&port->group, group_number(dp, c->net, c->group));
	atomic_store(&port->max_macs, c->max_macs);
	atomic_store(&port->hold_ms, c->hold_ms);
	atomic_store(&port->hold_bytes, c->hold_bytes);
	atomic_store(&port->rate_in, c->rate_in);
	atomic_store(&port->rate_out, c->rate_out);
	if (!c->filter_mac) // the filter is never up with addresses that it was not meant for
		atomic_store(&port->filter_mac, false);
	set_macs(dp, port, c);
	atomic_store(&port->filter_mac, c->filter_mac);
}

enum err dp_port_add(struct dp *dp, const struct dp_port_conf *conf, struct dp_port **out, struct why *why)
{
	unsigned index = 0;
	while (index < DP_MAX_PORTS && atomic_load(&dp->port[index]))
		index++;
	if (index == DP_MAX_PORTS)
		return refuse(why, "%u ports are the most that are possible", DP_MAX_PORTS);
	struct dp_port *port = port_new(dp, index, conf);
	if (!port)
		return ours(why, "no memory for a port");
	dp_port_reconf(dp, port, conf);
	flight_port(index, port->id);
	atomic_store(&dp->port[index], port);
	if (!net_join(port)) {
		atomic_store(&dp->port[index], NULL);
		dp_sync(dp);
		port_free(port);
		return ours(why, "no memory for the port list of net %s", conf->net);
	}
	if (conf->kind == DP_TAP) {
		port->tap_fd = conf->tap_fd;
		if (!worker_add_fd(dp_owner(port, 0), port->tap_fd, index, 0)) {
			port->tap_fd = -1; // stays the caller's
			dp_port_del(dp, port);
			return ours(why, "the tap's descriptor can't be watched");
		}
		worker_ask_tx(dp_owner(port, 0), index, 0);
	}
	if (atomic_load(&port->hold.frames)) { // an earlier process held them, some for a pause that it did not end
		pthread_mutex_lock(&port->hold.lock);
		port_stamp_pause(port);
		pthread_mutex_unlock(&port->hold.lock);
		dp_note(port, DP_NOTE_HOLD);
	}
	*out = port;
	return OK;
}

void dp_port_del(struct dp *dp, struct dp_port *port)
{
	if (port->tap_fd >= 0)
		worker_del_fd(dp_owner(port, 0), port->tap_fd);
	atomic_store(&dp->port[port->index], NULL);
	net_leave(port);
	fdb_move_port(&port->net->fdb, port->index, FDB_NO_PORT, clock_coarse_s());
	dp_sync(dp);
	// a thread that was in its turn may have entered the port once more
	fdb_move_port(&port->net->fdb, port->index, FDB_NO_PORT, clock_coarse_s());
	leave_macs(dp, port, &port->macs[atomic_load(&port->macs_at)]);
	net_settle(port->net, port->index);
	port_free(port);
}

bool dp_port_serves(struct dp *dp, unsigned index)
{
	struct dp_port *p = atomic_load_explicit(&dp->port[index], memory_order_acquire);
	return p && (p->kind != DP_VHOST || atomic_load(&p->rx_pairs) != 0 || atomic_load(&p->rx_state) == DP_RX_PAUSED);
}

unsigned dp_port_index(const struct dp_port *port)
{
	return port->index;
}

// Receive rings 0, 2, 4... are used as far as they are published without a gap.
static void count_rx_pairs(struct dp_port *port)
{
	unsigned n = 0;
	while (n < DP_MAX_PAIRS && atomic_load(&port->q[2 * n].ring) && !atomic_load(&port->q[2 * n].discard))
		n++;
	if (n != 0 && atomic_load(&port->rx_pairs) == 0)
		atomic_store(&port->starting_until_us, clock_boot_us() + (uint64_t)atomic_load(&port->hold_ms) * 1000);
	atomic_store(&port->rx_pairs, n);
}

void dp_ring_publish(struct dp_port *port, unsigned q, struct vring *ring, int kick_fd, bool discard)
{
	struct dp_queue *dq = &port->q[q];
	struct worker *w = dp_owner(port, q / 2);
	atomic_store(&dq->discard, discard);
	atomic_store(&dq->dead, false);
	ring->counts = &port->count->ring[q].n;
	dq->cut_done = 0; // no data thread looks at it before the ring is there
	atomic_store(&dq->ring, ring);
	dq->kick_fd = kick_fd;
	if (kick_fd < 0 || !worker_add_fd(w, kick_fd, port->index, q)) {
		dq->kick_fd = -1;
		atomic_fetch_add(&w->polled_rings, 1);
	}
	if (q % 2 == 0)
		count_rx_pairs(port);
	if (atomic_load(&port->drain)) { // what a pause has left waits for the end of the drain, hold-ms at most
		pthread_mutex_lock(&port->hold.lock);
		port_stamp_pause(port);
		pthread_mutex_unlock(&port->hold.lock);
	}
	vring_call_now(ring); // calls that were lost while nobody served the ring can't be known
	if (q % 2 == 1)
		worker_ask_tx(w, port->index, q / 2);
	else
		worker_ask_rx(w, port->index, q / 2);
}

void dp_ring_retract(struct dp_port *port, unsigned q)
{
	struct dp_queue *dq = &port->q[q];
	struct vring *ring = atomic_exchange(&dq->ring, NULL);
	if (!ring)
		return;
	struct worker *w = dp_owner(port, q / 2);
	if (q % 2 == 0)
		count_rx_pairs(port);
	if (dq->kick_fd >= 0)
		worker_del_fd(w, dq->kick_fd);
	else
		atomic_fetch_sub(&w->polled_rings, 1);
	dq->kick_fd = -1;
	queue_stall(port->dp, dq, FDB_NO_PORT);
	dp_sync(port->dp);
	ring->counts = &ring->own_counts;
}

void dp_port_rx_state(struct dp_port *port, enum dp_rx_state state)
{
	pthread_mutex_lock(&port->hold.lock);
	atomic_store(&port->rx_state, state);
	if (state == DP_RX_STOPPED || state == DP_RX_OFF) // nobody may ever come for what a pause has left
		port_stamp_pause(port);
	pthread_mutex_unlock(&port->hold.lock);
}

void dp_port_drain(struct dp_port *port, bool on)
{
	pthread_mutex_lock(&port->hold.lock);
	atomic_store(&port->drain, on);
	if (on && port->kind == DP_VHOST) {
		atomic_store(&port->hold.gate, true);
		port_stamp_pause(port);
	} else if (!on && atomic_load(&port->hold.frames) == 0) {
		atomic_store(&port->hold.gate, false);
	}
	pthread_mutex_unlock(&port->hold.lock);
	if (on)
		dp_sync(port->dp); // what was on its way is delivered
	else
		worker_ask_rx(dp_owner(port, 0), port->index, 0);
}
