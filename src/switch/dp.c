#include "switch/dp_int.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/cycles.h"
#include "base/fd.h"

struct worker *dp_owner(const struct dp_port *port, unsigned pair)
{
	return port->dp->worker[(port->index + pair) % port->dp->n_workers];
}

static void worker_free(struct worker *w)
{
	if (!w)
		return;
	fd_reset(&w->epoll_fd);
	fd_reset(&w->wake_fd);
	pthread_mutex_destroy(&w->inject_lock);
	free(w);
}

static struct worker *worker_new(struct dp *dp, unsigned index)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);
	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->dp = dp;
	w->index = index;
	w->flight = &flight_page()->thread[index];
	atomic_store(&w->flight->beat, 0);
	w->inject_tail = &w->inject_head;
	pthread_mutex_init(&w->inject_lock, NULL);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = UINT64_MAX };
	if (w->epoll_fd < 0 || w->wake_fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &ev) != 0) {
		worker_free(w);
		return NULL;
	}
	return w;
}

static int worker_start(struct worker *w)
{
	// signals are the control thread's; but those of a fault are delivered to the thread that faults
	sigset_t all, old;
	sigfillset(&all);
	flight_unblock(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	int rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0 && w->dp->conf.cpus[w->index] >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)w->dp->conf.cpus[w->index], &set);
		pthread_setaffinity_np(w->thread, sizeof(set), &set); // best effort: the CPU may be taken from us
	}
	return rc;
}

static void workers_stop(struct dp *dp, unsigned started)
{
	for (unsigned i = 0; i < started; i++) {
		atomic_store(&dp->worker[i]->stop, true);
		worker_wake(dp->worker[i]);
		uint64_t one = 1;
		ssize_t ignored = write(dp->worker[i]->wake_fd, &one, sizeof(one));
		(void)ignored;
		pthread_join(dp->worker[i]->thread, NULL);
	}
}

// What the caller did not give. Held frames are found by a port's number, which is in the counters.
static bool own_memory(struct dp *dp, struct why *why)
{
	dp->counters = dp->conf.counters;
	dp->held = dp->conf.held;
	if (dp->held && !dp->counters) {
		ours(why, "held frames of an earlier process without its counters");
		return false;
	}
	if (!dp->counters && counters_open(&dp->own_counters, -1, why) == OK)
		dp->counters = dp->own_counters;
	if (dp->counters && !dp->held && held_open(&dp->own_held, -1, dp->conf.hold_total, why) == OK)
		dp->held = dp->own_held;
	return dp->counters && dp->held;
}

static void own_free(struct dp *dp)
{
	counters_close(dp->own_counters);
	held_close(dp->own_held);
	fd_reset(&dp->notes_fd);
	free(dp);
}

struct dp *dp_new(const struct dp_conf *conf, struct why *why)
{
	struct dp *dp = calloc(1, sizeof(*dp));
	if (!dp) {
		ours(why, "no memory for the datapath");
		return NULL;
	}
	dp->conf = *conf;
	dp->conf.stall_us = conf->stall_us ? conf->stall_us : DP_STALL_US;
	dp->start_us = clock_boot_us();
	dp->start_cycles = cycles_now();
	dp->n_workers = conf->threads < 1 ? 1 : conf->threads > DP_MAX_THREADS ? DP_MAX_THREADS : conf->threads;
	dp->notes_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!own_memory(dp, why)) {
		own_free(dp);
		return NULL;
	}
	unsigned made = 0, started = 0;
	for (; dp->notes_fd >= 0 && made < dp->n_workers; made++) {
		dp->worker[made] = worker_new(dp, made);
		if (!dp->worker[made])
			break;
	}
	if (made == dp->n_workers)
		while (started < made && worker_start(dp->worker[started]) == 0)
			started++;
	if (started == dp->n_workers)
		return dp;
	ours(why, "starting %u data threads: %s", dp->n_workers, strerror(errno));
	workers_stop(dp, started);
	for (unsigned i = 0; i < made; i++)
		worker_free(dp->worker[i]);
	own_free(dp);
	return NULL;
}

void dp_stop(struct dp *dp)
{
	if (!dp->stopped)
		workers_stop(dp, dp->n_workers);
	dp->stopped = true;
}

void dp_free(struct dp *dp)
{
	if (!dp)
		return;
	dp_stop(dp);
	for (unsigned i = 0; i < dp->n_workers; i++)
		worker_free(dp->worker[i]);
	own_free(dp);
}

int dp_notes_fd(const struct dp *dp)
{
	return dp->notes_fd;
}

void dp_note(struct dp_port *port, unsigned bits)
{
	unsigned before = atomic_fetch_or(&port->notes, bits);
	if ((before & bits) == bits)
		return; // told already and not taken yet
	struct dp *dp = port->dp;
	atomic_fetch_or(&dp->note_bits[port->index / 64], BIT64(port->index % 64));
	uint64_t one = 1;
	ssize_t ignored = write(dp->notes_fd, &one, sizeof(one));
	(void)ignored;
}

void dp_first(struct dp_port *port, unsigned note, _Atomic uint64_t *slot)
{
	if (!(atomic_fetch_and(&port->watch, ~note) & note))
		return; // another thread was first
	atomic_store(slot, clock_boot_us());
	dp_note(port, note);
}

unsigned dp_notes_take(struct dp *dp, struct dp_port **port)
{
	uint64_t n;
	ssize_t ignored = read(dp->notes_fd, &n, sizeof(n));
	(void)ignored;
	net_maybe_grow(dp);
	for (unsigned i = 0; i < DP_MAX_PORTS / 64; i++) {
		for (uint64_t bits = atomic_load(&dp->note_bits[i]); bits; bits &= bits - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(bits);
			atomic_fetch_and(&dp->note_bits[i], ~BIT64(bit));
			struct dp_port *p = atomic_load(&dp->port[i * 64 + bit]);
			unsigned got = p ? atomic_exchange(&p->notes, 0) : 0;
			if (got) {
				*port = p;
				return got;
			}
		}
	}
	return 0;
}

void dp_port_watch_first(struct dp_port *port)
{
	atomic_store(&port->watch, 0);
	atomic_store(&port->first_kick_us, 0);
	atomic_store(&port->first_in_us, 0);
	atomic_store(&port->first_out_us, 0);
	atomic_store(&port->watch, DP_NOTE_FIRST_KICK | DP_NOTE_FIRST_IN | DP_NOTE_FIRST_OUT);
}

struct dp_firsts dp_port_firsts(const struct dp_port *port)
{
	return (struct dp_firsts){
		.kick_us = atomic_load(&port->first_kick_us),
		.in_us = atomic_load(&port->first_in_us),
		.out_us = atomic_load(&port->first_out_us),
	};
}
