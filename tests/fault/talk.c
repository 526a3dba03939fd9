#include "talk.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"

#define OUT 96u // frames under way each way of a pair
#define LOG_BYTES (1u << 20)

static bool take(struct talk *t, unsigned to, unsigned pair)
{
	struct talk_way *w = &t->way[to][pair];
	struct frame_id id;
	const char *wrong = net_expect(&t->lan.net[to][pair], &id, NULL, 0);
	if (wrong == net_nothing)
		return false;
	if (wrong != NULL) {
		t->wrong = wrong;
		return false;
	}
	// which pair a frame comes out of is the switch's choice: flows are told apart by their number
	w = &t->way[to][id.flow % TALK_PAIRS];
	if (id.seq < w->next) {
		bool goes_on = w->run != 0 && id.seq == w->last + 1;
		w->run = goes_on ? w->run + 1 : 1;
		w->runs += !goes_on;
		w->longest = w->run > w->longest ? w->run : w->longest;
		w->last = id.seq;
		w->repeated++;
	} else {
		w->run = 0;
		w->lost += id.seq - w->next;
		w->next = id.seq + 1;
	}
	uint64_t since = t->since_us;
	uint64_t now = since != 0 ? clock_boot_us() : 0;
	if (now != 0) {
		uint64_t last = t->frame_us > since ? t->frame_us : since;
		t->silent_us = now - last > t->silent_us ? now - last : t->silent_us;
		t->frame_us = now;
	}
	pid_t worker = now > since + 200 ? daemon_worker(&t->bed.d) : -1;
	if (worker > 0 && worker != t->old) {
		if (t->n_gaps < TALK_GAPS)
			t->gap[t->n_gaps++] = (struct talk_gap){ .us = (unsigned)(t->old != 0 ? t->silent_us : now - since), .kind = t->kind };
		t->since_us = 0;
	}
	t->frames++;
	return true;
}

static void shoot(struct talk *t)
{
	struct timespec from, now;
	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < (long)t->aim_ns);
	kill_one(t->aim, t->aim_signal);
	t->aim = 0;
}

static void give(struct talk *t, unsigned to, unsigned pair)
{
	struct net *n = &t->lan.net[!to][pair];
	struct talk_way *w = &t->way[to][pair];
	uint8_t *at;
	uint32_t slot;
	net_tx_reap(n);
	while (w->sent - w->next < OUT && n->tx_n_free > 0 && (at = net_tx_slot(n, &slot)) != NULL) {
		uint32_t len = 60 + (uint32_t)(w->sent * 37 % 1400);
		frame_fill(at, len, t->lan.mac[to], t->lan.mac[!to], pair, w->sent++, true);
		net_tx_put(n, slot, len, NULL);
	}
	uint16_t before = n->tx->published;
	net_tx_flush(n);
	if (t->aim != 0 && n->tx->published - before > 8)
		shoot(t);
}

static void pump(struct talk *t, bool sending)
{
	for (unsigned to = 0; to < 2; to++)
		for (unsigned p = 0; p < t->conf.pairs; p++) {
			if (sending)
				give(t, to, p);
			for (unsigned k = 0; k < TALK_BATCH && t->wrong == NULL && take(t, to, p); k++)
				;
		}
}

bool talk_connected(const struct talk *t)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pollfd p = {.fd = t->lan.fe[i]->sock, .events = POLLIN | POLLRDHUP};
		if (poll(&p, 1, 0) != 0)
			return false;
	}
	return true;
}

bool talk_open(struct talk *t, const char *bin)
{
	static const char *const args[] = {"--port", "vhost-user,id=a,packed=on", "--port", "vhost-user,id=a2,packed=on", NULL};
	struct fe_conf first = t->conf;
	const struct fe_conf *confs[2] = {&first, &t->conf};
	first.mem.region_bytes = t->memory;
	int log_fd = memfd_create("log", MFD_CLOEXEC);
	if (!daemon_start(&t->bed.d, bin, args) || !lan_open(&t->lan, &t->bed, 2, confs, NULL, 0) || log_fd < 0 ||
	    ftruncate(log_fd, LOG_BYTES) != 0)
		return false;
	return !t->log || fe_log_start(t->lan.fe[0], log_fd, LOG_BYTES, 0) == FE_OK;
}

// The net's transmit buffers are lent other places for the while: one in each LENT bytes, as a fault maps what lies around it, too.
// The frames are for the guest itself: they are looked at, and go nowhere.
#define LENT 16384u

static void touch(struct talk *t)
{
	struct net *n = &t->lan.net[0][0];
	struct gmem_region *r = &t->lan.fe[0]->mem->region[0];
	struct net was = *n;
	uint64_t at = r->gpa + r->used, end = r->gpa + r->size, step = (uint64_t)n->tx_slots * LENT;
	bool ok = true;
	for (uint64_t i = r->used; !t->touched && i < r->size; i += GMEM_PAGE)
		((volatile uint8_t *)r->host)[i] = 1; // the guest has written everywhere
	t->touched = true;
	for (; ok && at + step <= end && !t->over; at += step) {
		uint32_t slot;
		uint8_t *to;
		n->tx_gpa = at;
		n->tx_host = gmem_at(t->lan.fe[0]->mem, at);
		n->tx_stride = LENT;
		while (n->tx_n_free > 0 && (to = net_tx_slot(n, &slot)) != NULL) {
			memset(to, 0, 64);
			memcpy(to, t->lan.mac[0], 6);
			memcpy(to + 6, t->lan.mac[0], 6);
			net_tx_put(n, slot, 64, NULL);
		}
		net_tx_flush(n);
		ok = net_tx_drain(n, 5000);
	}
	n->tx_gpa = was.tx_gpa;
	n->tx_host = was.tx_host;
	n->tx_stride = was.tx_stride;
	if (!ok)
		t->wrong = "frames from all over the memory do not get through";
}

static void touch_if_asked(struct talk *t)
{
	if (!t->touch)
		return;
	while (!net_tx_drain(&t->lan.net[0][0], 0) && !t->over) // what is under way
		pump(t, false);
	if (!t->over)
		touch(t);
	t->touch = false;
}

// A ring that the back end calls broken.
static bool rings_well(const struct talk *t)
{
	uint64_t n;
	for (unsigned i = 0; i < 2; i++)
		for (unsigned q = 0; q < t->lan.fe[i]->rings; q++)
			if (read(t->lan.fe[i]->ring[q].err, &n, sizeof(n)) == (ssize_t)sizeof(n))
				return false;
	return true;
}

void talk_run(struct talk *t)
{
	for (unsigned k = 0; !t->over && t->wrong == NULL; k++) {
		pump(t, true);
		touch_if_asked(t);
		if (k % 64 == 0 && !talk_connected(t))
			t->wrong = "a connection was lost";
		if (k % 64 == 32 && !rings_well(t))
			t->wrong = "a ring was called broken";
		if (t->messages && k % 256 == 0 && t->wrong == NULL && fe_barrier(t->lan.fe[1]) != FE_OK)
			t->wrong = t->lan.fe[1]->err_text;
	}
	t->over = true;
	uint64_t end = clock_boot_us() + 2000000;
	bool all = false;
	while (clock_boot_us() < end && t->wrong == NULL && !all) {
		pump(t, false);
		all = true;
		for (unsigned i = 0; i < 2 * t->conf.pairs; i++)
			all = all && t->way[i % 2][i / 2].next == t->way[i % 2][i / 2].sent;
	}
	for (unsigned k = 0; k < 2000 && t->wrong == NULL; k++) // what comes twice comes late
		pump(t, false);
	for (unsigned i = 0; i < 2 && t->wrong == NULL; i++)
		if (fe_barrier(t->lan.fe[i]) != FE_OK)
			t->wrong = t->lan.fe[i]->err_text;
}

void talk_mark(struct talk *t, pid_t old)
{
	t->since_us = 0;
	t->old = old;
	t->silent_us = t->frame_us = 0;
	t->since_us = clock_boot_us();
}

bool talk_moves(struct talk *t, unsigned timeout_ms)
{
	for (unsigned k = 0; k < 2 * timeout_ms && t->since_us && !t->over; k++) {
		struct timespec nap = {.tv_nsec = 500000};
		nanosleep(&nap, NULL);
	}
	return t->since_us == 0;
}

static int by_size(const void *a, const void *b)
{
	const struct talk_gap *x = a, *y = b;
	return (x->us > y->us) - (x->us < y->us);
}

// Of those of a kind, or of all (TALK_KINDS); by size.
static struct talk_gaps gaps_of(const struct talk *t, unsigned kind)
{
	struct talk_gaps g = { 0 };
	unsigned at = 0;
	for (unsigned i = 0; i < t->n_gaps; i++)
		g.n += kind == TALK_KINDS || t->gap[i].kind == kind;
	for (unsigned i = 0; i < t->n_gaps; i++) {
		if (kind != TALK_KINDS && t->gap[i].kind != kind)
			continue;
		g.p50 = at == g.n / 2 ? t->gap[i].us : g.p50;
		g.p99 = at == g.n * 99 / 100 ? t->gap[i].us : g.p99;
		g.longest = t->gap[i].us;
		at++;
	}
	return g;
}

void talk_sum(struct talk *t, struct talk_sum *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned to = 0; to < 2; to++)
		for (unsigned p = 0; p < t->conf.pairs; p++) {
			struct talk_way *w = &t->way[to][p];
			out->lost += w->lost + w->sent - w->next;
			out->repeated += w->repeated;
			out->most = w->repeated > out->most ? w->repeated : out->most;
			out->rows = w->runs > out->rows ? w->runs : out->rows;
			out->longest_row = w->longest > out->longest_row ? w->longest : out->longest_row;
		}
	qsort(t->gap, t->n_gaps, sizeof(t->gap[0]), by_size);
	out->all = gaps_of(t, TALK_KINDS);
	for (unsigned i = 0; i < TALK_KINDS; i++)
		out->kind[i] = gaps_of(t, i);
}

void talk_tell(const struct talk *t)
{
	for (unsigned i = 0; i < 2; i++)
		for (unsigned q = 0; t->lan.fe[i] != NULL && q < 2 * t->conf.pairs; q++) {
			const struct vq *v = &t->lan.fe[i]->ring[q].vq;
			const struct talk_way *w = &t->way[i][q / 2];
			printf("guest %u ring %u: %u out", i, q, vq_out(v));
			if (!v->packed)
				printf(", avail %u, used.idx %u, taken %u, avail_event %u, used.flags %u", v->avail[1], v->used[1],
				       v->last_used, *v->avail_event, v->used[0]);
			printf("; it was sent %llu, heard %llu\n", (unsigned long long)w->sent, (unsigned long long)w->next);
		}
}

bool talk_close(struct talk *t, bool tell)
{
	lan_close(&t->lan);
	bool well = daemon_stop(&t->bed.d, 5000);
	if (!well)
		printf("the daemon did not end by itself\n");
	if (tell || !well)
		daemon_tell(&t->bed.d);
	daemon_clean(&t->bed.d);
	return well;
}
