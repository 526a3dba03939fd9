// A data thread: sleeps in epoll until a kick, a tap frame or a request comes; then turns round its ready rings, one batch each,
// until none has work, asks all of them for kicks again and sleeps. No timer while nothing waits.
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cycles.h"
#include "switch/dp_int.h"

#define EVENTS 64
#define WAKE_TAG UINT64_MAX
#define ROUNDS_PER_POLL 16 // look for new kicks that often while busy
#define POLLED_RING_NS 1000000 // a ring without a kick descriptor is looked at every millisecond

static uint64_t tag_of(unsigned port, unsigned q)
{
	return (uint64_t)port << 8 | q;
}

static void bit_set(_Atomic uint64_t *map, unsigned i)
{
	atomic_fetch_or(&map[i / 64], UINT64_C(1) << (i % 64));
}

void worker_wake(struct worker *w)
{
	if (atomic_exchange(&w->asked, true))
		return; // somebody else's wake-up is on its way
	uint64_t one = 1;
	ssize_t ignored = write(w->wake_fd, &one, sizeof(one));
	(void)ignored;
}

void worker_ask_tx(struct worker *w, unsigned port, unsigned pair)
{
	bit_set(w->ask_tx, port * DP_MAX_PAIRS + pair);
	worker_wake(w);
}

void worker_ask_rx(struct worker *w, unsigned port, unsigned pair)
{
	bit_set(w->ask_rx, port * DP_MAX_PAIRS + pair);
	worker_wake(w);
}

bool worker_add_fd(struct worker *w, int fd, unsigned port, unsigned q)
{
	// edge-triggered and never read: each write to the eventfd is an edge, and its counter does not matter
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = tag_of(port, q) };
	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void worker_del_fd(struct worker *w, int fd)
{
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void online(struct worker *w)
{
	atomic_fetch_add(&w->qs, 1); // full barrier: everything is loaded afresh from here on
}

static void offline(struct worker *w)
{
	atomic_fetch_add(&w->qs, 1);
}

static void quiescent(struct worker *w)
{
	atomic_fetch_add(&w->qs, 2);
}

static struct dp_port *port_at(struct worker *w, unsigned index)
{
	return atomic_load_explicit(&w->dp->port[index], memory_order_acquire);
}

static void on_event(struct worker *w, uint64_t tag)
{
	if (tag == WAKE_TAG) {
		uint64_t n;
		ssize_t ignored = read(w->wake_fd, &n, sizeof(n));
		(void)ignored;
		return;
	}
	unsigned index = (unsigned)(tag >> 8), q = (unsigned)(tag & 0xff);
	struct dp_port *port = port_at(w, index);
	if (!port)
		return;
	if (port->kind == DP_TAP || q % 2 == 1)
		w->pend_tx[(index * DP_MAX_PAIRS + q / 2) / 64] |= UINT64_C(1) << ((index * DP_MAX_PAIRS + q / 2) % 64);
	else
		deliver_rx_kick(w, port, q / 2);
	struct vring *r = port->kind == DP_VHOST ? atomic_load(&port->q[q].ring) : NULL;
	if (r) {
		atomic_fetch_add_explicit(&r->kicks, 1, memory_order_relaxed);
		if (q % 2 == 1)
			dp_seen(port, DP_NOTE_FIRST_KICK, &port->first_kick_us);
	}
}

static void take_asked(struct worker *w)
{
	if (!atomic_exchange(&w->asked, false))
		return;
	w->tried = true;
	for (unsigned i = 0; i < DP_BITMAP_WORDS; i++) {
		if (atomic_load_explicit(&w->ask_tx[i], memory_order_relaxed))
			w->pend_tx[i] |= atomic_exchange(&w->ask_tx[i], 0);
		uint64_t rx = atomic_load_explicit(&w->ask_rx[i], memory_order_relaxed);
		if (!rx)
			continue;
		rx = atomic_exchange(&w->ask_rx[i], 0);
		for (; rx; rx &= rx - 1) {
			unsigned bit = i * 64 + (unsigned)__builtin_ctzll(rx);
			struct dp_port *port = port_at(w, bit / DP_MAX_PAIRS);
			if (port)
				deliver_rx_kick(w, port, bit % DP_MAX_PAIRS);
		}
	}
	inject_run(w);
}

// One batch from each ready ring. Returns true if any has more.
static bool turn(struct worker *w)
{
	bool more = false;
	for (unsigned i = 0; i < DP_BITMAP_WORDS; i++) {
		for (uint64_t bits = w->pend_tx[i]; bits; bits &= bits - 1) {
			unsigned bit = i * 64 + (unsigned)__builtin_ctzll(bits);
			unsigned index = bit / DP_MAX_PAIRS, pair = bit % DP_MAX_PAIRS;
			struct dp_port *port = port_at(w, index);
			bool again = false;
			if (port && port->kind == DP_TAP)
				again = tap_run(w, port);
			else if (port && port->kind == DP_VHOST)
				again = source_run(w, port, pair) == TX_MORE;
			if (again)
				more = true;
			else
				w->pend_tx[i] &= ~(UINT64_C(1) << (bit % 64));
		}
	}
	return more;
}

// Senders whose receiver did not take anything in time: the receiver is dead until its avail index moves, the sender goes on.
static void check_stalled(struct worker *w)
{
	if (w->n_stalled == 0)
		return;
	w->tried = true;
	uint64_t now = clock_boot_us();
	unsigned left = 0;
	for (unsigned index = 0; index < DP_MAX_PORTS; index++) {
		struct dp_port *port = port_at(w, index);
		if (!port || port->kind != DP_VHOST)
			continue;
		for (unsigned pair = 0; pair < DP_MAX_PAIRS; pair++) {
			struct dp_queue *q = &port->q[2 * pair + 1];
			unsigned to = atomic_load(&q->stall_port);
			if (to == FDB_NO_PORT || dp_owner(port, pair) != w)
				continue;
			if (now < q->stall_until_us) {
				left++;
				continue;
			}
			struct dp_port *dst = port_at(w, to);
			unsigned pairs = dst ? atomic_load(&dst->rx_pairs) : 0;
			if (pairs) {
				struct dp_queue *rx = &dst->q[2 * (pair % pairs)];
				struct vring *r = atomic_load(&rx->ring);
				if (r) {
					atomic_store(&rx->dead_avail, vring_avail_idx(r));
					atomic_store(&rx->dead, true);
				}
			}
			queue_stall(w->dp, q, FDB_NO_PORT);
			unsigned bit = index * DP_MAX_PAIRS + pair;
			w->pend_tx[bit / 64] |= UINT64_C(1) << (bit % 64);
		}
	}
	w->n_stalled = left;
}

static int wait_events(struct worker *w, struct epoll_event *ev, bool block)
{
	struct timespec zero = { 0, 0 }, stall = { 0, DP_STALL_US * 1000 }, polled = { 0, POLLED_RING_NS };
	const struct timespec *t = NULL;
	if (!block || atomic_load(&w->asked))
		t = &zero;
	else if (w->n_stalled)
		t = &stall;
	else if (atomic_load(&w->polled_rings))
		t = &polled;
	return epoll_pwait2(w->epoll_fd, ev, EVENTS, t, NULL);
}

static void poll_rings(struct worker *w)
{
	if (atomic_load(&w->polled_rings) == 0)
		return;
	for (unsigned index = 0; index < DP_MAX_PORTS; index++) {
		struct dp_port *port = port_at(w, index);
		for (unsigned q = 0; port && port->kind == DP_VHOST && q < DP_RINGS; q++)
			if (dp_owner(port, q / 2) == w && atomic_load(&port->q[q].ring))
				on_event(w, tag_of(index, q));
	}
}

static bool pending(const struct worker *w)
{
	for (unsigned i = 0; i < DP_BITMAP_WORDS; i++)
		if (w->pend_tx[i])
			return true;
	return false;
}

// A turn is over that began at *from; the next one begins. Two reads of the counter a turn, at most.
static void count_turn(struct worker *w, uint64_t *from)
{
	uint64_t now = cycles_now();
	uint64_t busy = atomic_load_explicit(&w->busy_cycles, memory_order_relaxed);
	if (w->tried)
		atomic_store_explicit(&w->busy_cycles, busy + (now - *from), memory_order_relaxed);
	w->tried = false;
	*from = now;
}

// Work until nothing is ready. Online. from: when the first turn began (its events were handled).
static void work(struct worker *w, uint64_t from)
{
	struct epoll_event ev[EVENTS];
	for (unsigned round = 1;; round++) {
		w->now_s = clock_coarse_s();
		take_asked(w);
		bool more = turn(w);
		check_stalled(w);
		deliver_flush(w);
		quiescent(w);
		atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
		count_turn(w, &from);
		if (!more && !pending(w) && !atomic_load(&w->asked))
			return;
		if (round % ROUNDS_PER_POLL == 0) {
			int n = wait_events(w, ev, false);
			for (int i = 0; i < n; i++)
				on_event(w, ev[i].data.u64);
		}
	}
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];
	snprintf(name, sizeof(name), "vringd-data%u", w->index);
	prctl(PR_SET_NAME, name);
	prctl(PR_SET_TIMERSLACK, 1000UL); // a 50 us stall must not become 100
	w->tid = (int)syscall(SYS_gettid);
	struct epoll_event ev[EVENTS];
	uint64_t spin_until = 0;
	while (!atomic_load(&w->stop)) {
		bool spin = w->dp->conf.poll_us < 0 || (w->dp->conf.poll_us > 0 && clock_boot_us() < spin_until);
		uint64_t turn_from = cycles_now();
		int n = wait_events(w, ev, !spin);
		if (!spin)
			turn_from = cycles_now(); // sleep is not work; a look that found something is
		if (n < 0 && errno != EINTR)
			sched_yield();
		online(w);
		w->now_s = clock_coarse_s();
		w->tried = n > 0;
		if (n > 0)
			atomic_fetch_add_explicit(&w->wakeups, 1, memory_order_relaxed);
		uint64_t from = clock_boot_us();
		for (int i = 0; i < n; i++)
			on_event(w, ev[i].data.u64);
		if (n <= 0)
			poll_rings(w);
		work(w, turn_from);
		uint64_t to = clock_boot_us();
		atomic_fetch_add_explicit(&w->busy_us, to - from, memory_order_relaxed);
		if (n > 0 && w->dp->conf.poll_us > 0)
			spin_until = to + (uint64_t)w->dp->conf.poll_us;
		offline(w);
	}
	return NULL;
}
