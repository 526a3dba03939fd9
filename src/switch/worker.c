// A data thread: sleeps in epoll until a kick, a tap frame or a request comes; then turns round its ready rings, one batch each,
// until none has work, looks on for a while (see poll_begin), asks all of them for kicks again and sleeps. No timer while
// nothing waits.
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
#include "base/lease.h"
#include "base/nudge.h"
#include "switch/dp_int.h"

#define EVENTS 64
#define WAKE_TAG UINT64_MAX
#define ROUNDS_PER_POLL 16 // look for new kicks that often while busy
#define LOOKS_PER_CLOCK 32 // look at the clock that often while there is nothing to do
#define POLL_FIRST_US 10u // adaptive polling: where it starts, and the most; the numbers of KVM's halt polling
#define POLL_MOST_US 200u
#define POLL_REACH 5u // a kick within that many times the polling time would have been worth polling for
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

static void passed(struct worker *w) // qs has changed
{
	if (atomic_load(&w->awaited))
		worker_tell_passed(w);
}

static void online(struct worker *w)
{
	atomic_fetch_add(&w->qs, 1); // full barrier: everything is loaded afresh from here on
}

static void offline(struct worker *w)
{
	atomic_fetch_add(&w->qs, 1);
	passed(w);
}

static void quiescent(struct worker *w)
{
	atomic_fetch_add(&w->qs, 2);
	passed(w);
}

static struct dp_port *port_at(struct worker *w, unsigned index)
{
	return atomic_load_explicit(&w->dp->port[index], memory_order_acquire);
}

static void make_ready(struct worker *w, unsigned bit)
{
	w->pend_tx[bit / 64] |= UINT64_C(1) << (bit % 64);
	w->pend_words |= UINT64_C(1) << (bit / 64);
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
		make_ready(w, index * DP_MAX_PAIRS + q / 2);
	else
		deliver_rx_kick(w, port, q / 2);
	struct vring *r = port->kind == DP_VHOST ? atomic_load(&port->q[q].ring) : NULL;
	if (r) {
		atomic_fetch_add_explicit(&r->counts->kicks, 1, memory_order_relaxed);
		if (q % 2 == 1)
			dp_seen(port, DP_NOTE_FIRST_KICK, &port->first_kick_us);
	}
}

// True: it is to end, whatever there is to do; a turn is over, so nothing is half done.
static bool take_asked(struct worker *w)
{
	if (!atomic_load_explicit(&w->asked, memory_order_relaxed) || !atomic_exchange(&w->asked, false))
		return false;
	w->tried = true;
	flight_at(w->flight, 0);
	for (unsigned i = 0; i < DP_BITMAP_WORDS; i++) {
		if (atomic_load_explicit(&w->ask_tx[i], memory_order_relaxed))
			w->pend_tx[i] |= atomic_exchange(&w->ask_tx[i], 0), w->pend_words |= UINT64_C(1) << i;
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
	return atomic_load(&w->stop);
}

// One batch from each ready ring. Returns true if any has more. arm: a ring that is empty is asked for kicks and ready no more;
// else it stays ready, and is looked at again.
static bool turn(struct worker *w, bool arm)
{
	bool more = false;
	for (uint64_t words = w->pend_words; words; words &= words - 1) {
		unsigned i = (unsigned)__builtin_ctzll(words);
		for (uint64_t bits = w->pend_tx[i]; bits; bits &= bits - 1) {
			unsigned bit = i * 64 + (unsigned)__builtin_ctzll(bits);
			unsigned index = bit / DP_MAX_PAIRS, pair = bit % DP_MAX_PAIRS;
			struct dp_port *port = port_at(w, index);
			enum tx_result res = TX_IDLE;
			if (port && port->kind == DP_TAP)
				res = tap_run(w, port) ? TX_MORE : TX_IDLE;
			else if (port && port->kind == DP_VHOST)
				res = source_run(w, port, pair, arm);
			if (res == TX_MORE)
				more = true;
			else if (res != TX_EMPTY)
				w->pend_tx[i] &= ~(UINT64_C(1) << (bit % 64));
		}
		if (!w->pend_tx[i])
			w->pend_words &= ~(UINT64_C(1) << i);
	}
	return more;
}

// Senders whose receiver did not take anything in time: the receiver is dead until it adds buffers, the sender goes on.
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
				atomic_store(&rx->dead_mark, atomic_load(&rx->full_mark));
				atomic_store(&rx->dead, true);
			}
			queue_stall(w->dp, q, FDB_NO_PORT);
			make_ready(w, index * DP_MAX_PAIRS + pair);
		}
	}
	w->n_stalled = left;
}

static int wait_events(struct worker *w, struct epoll_event *ev, bool block)
{
	struct timespec zero = { 0, 0 }, stall = { w->dp->conf.stall_us / 1000000, w->dp->conf.stall_us % 1000000 * 1000L }, polled = { 0, POLLED_RING_NS };
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

// How long to look on after the last frame. Fixed, or adaptive: a kick that came soon after we had asked for it would have been
// worth looking on for, so look on longer; one that came late was not, so shorter, down to not at all. A guest that pings
// a thousand times a second is let sleep; one that answers within microseconds is not.
static void poll_adapt(struct worker *w, uint64_t now_us)
{
	uint64_t reach = POLL_REACH * (uint64_t)(w->poll_us > POLL_FIRST_US ? w->poll_us : POLL_FIRST_US);
	if (w->dp->conf.poll_us != DP_POLL_AUTO || !w->armed_us)
		return;
	if (now_us - w->armed_us > reach)
		w->poll_us = w->poll_us > POLL_FIRST_US ? w->poll_us / 2 : 0;
	else
		w->poll_us = w->poll_us < POLL_FIRST_US ? POLL_FIRST_US : w->poll_us < POLL_MOST_US / 2 ? w->poll_us * 2 : POLL_MOST_US;
}

// Work until nothing is ready. Online. from: when the first turn began (its events were handled).
static void work(struct worker *w, uint64_t from)
{
	struct epoll_event ev[EVENTS];
	bool always = w->dp->conf.poll_us == DP_POLL_ALWAYS, arm = !always && w->poll_us == 0;
	unsigned empty = 0;
	uint64_t until_us = 0; // of looking on
	for (unsigned round = 1;; round++) {
		w->now_s = clock_coarse_s();
		if (take_asked(w))
			return;
		bool more = turn(w, arm);
		check_stalled(w);
		if (w->n_sess)
			deliver_flush(w);
		quiescent(w);
		uint64_t beat = atomic_load_explicit(&w->flight->beat, memory_order_relaxed);
		atomic_store_explicit(&w->flight->beat, beat + 1, memory_order_relaxed);
		count_turn(w, &from);
		if (more || atomic_load_explicit(&w->asked, memory_order_relaxed)) {
			empty = 0;
			arm = !always && w->poll_us == 0;
		} else if (!w->pend_words) {
			return; // armed, all of them, or stalled: woken by a kick, or by time
		} else if (!always && empty++ % LOOKS_PER_CLOCK == 0) {
			uint64_t now_us = clock_boot_us();
			if (empty == 1)
				until_us = now_us + w->poll_us;
			arm = now_us >= until_us;
		}
		if (!more)
			cpu_relax();
		if (round % (more ? ROUNDS_PER_POLL : LOOKS_PER_CLOCK) == 0) {
			int n = wait_events(w, ev, false);
			atomic_store_explicit(&w->cpu, sched_getcpu(), memory_order_relaxed);
			w->tried |= n > 0;
			for (int i = 0; i < n; i++)
				on_event(w, ev[i].data.u64);
			poll_rings(w); // those without a kick descriptor have no other moment while the others are busy
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
	flight_here(w->index);
	struct epoll_event ev[EVENTS];
	struct lease *lease = w->dp->conf.lease;
	if (lease && !lease_take(lease, w->index, &w->stop))
		return NULL; // an earlier worker lives: its rings are not ours
	w->poll_us = w->dp->conf.poll_us > 0 ? (unsigned)w->dp->conf.poll_us : 0;
	while (!atomic_load(&w->stop)) {
		nudge_asleep();
		int n = wait_events(w, ev, true);
		if (n < 0 && errno == EINTR && !atomic_load(&w->stop))
			continue; // the timer of nudge.h, which ends with this
		nudge_awake();
		uint64_t turn_from = cycles_now(); // sleep is not work
		if (n < 0 && errno != EINTR)
			sched_yield();
		atomic_store_explicit(&w->cpu, sched_getcpu(), memory_order_relaxed);
		flight_awake(w->flight);
		online(w);
		w->now_s = clock_coarse_s();
		w->tried = n > 0;
		if (n > 0)
			atomic_fetch_add_explicit(&w->wakeups, 1, memory_order_relaxed);
		if (n > 0)
			poll_adapt(w, clock_boot_us());
		for (int i = 0; i < n; i++)
			on_event(w, ev[i].data.u64);
		if (n <= 0)
			poll_rings(w);
		work(w, turn_from);
		w->armed_us = clock_boot_us();
		offline(w);
		flight_asleep(w->flight);
	}
	nudge_end();
	if (lease)
		lease_give(lease, w->index);
	return NULL;
}
