// Frames between the two guests of a session: each must come, whole, and at most a batch of them again after a death.
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "points.h"

#define PATIENCE_US 8000000

static void nap(void)
{
	struct timespec ts = {.tv_nsec = 100000};
	nanosleep(&ts, NULL);
}

static bool put(struct points *p, unsigned to, unsigned pair)
{
	struct net *n = &p->lan.net[!to][pair];
	struct way *w = &p->way[to][pair];
	uint32_t slot, len = 60 + (uint32_t)(w->sent * 37 % 1400);
	net_tx_reap(n);
	uint8_t *at = net_tx_slot(n, &slot);
	if (at == NULL)
		return points_fail(p, "guest %u pair %u: no transmit buffer is free", !to, pair);
	frame_fill(at, len, p->lan.mac[to], p->lan.mac[!to], pair, w->sent++, true);
	net_tx_put(n, slot, len, NULL);
	return true;
}

static bool take(struct points *p, unsigned to, unsigned pair)
{
	struct frame_id id;
	const char *wrong = net_expect(&p->lan.net[to][pair], &id, NULL, 0);
	if (wrong == net_nothing)
		return false;
	if (wrong != NULL || id.flow >= POINTS_PAIRS)
		return points_fail(p, "guest %u pair %u: %s", to, pair, wrong != NULL ? wrong : "a frame of no flow");
	struct way *w = &p->way[to][id.flow];
	if (id.seq > w->next)
		points_fail(p, "guest %u: frame %llu of pair %u is missing", to, (unsigned long long)w->next, id.flow);
	if (id.seq < w->next) {
		w->repeated++;
		p->repeated++;
	} else {
		w->next = id.seq + 1;
	}
	p->frames++;
	return true;
}

bool frames_arrive(struct points *p)
{
	uint64_t end = clock_boot_us() + PATIENCE_US;
	for (;;) {
		bool all = true;
		for (unsigned to = 0; to < 2; to++)
			for (unsigned i = 0; i < p->conf.pairs; i++) {
				while (take(p, to, i))
					;
				const struct net *from = &p->lan.net[!to][i];
				net_tx_reap(&p->lan.net[!to][i]);
				all = all && p->way[to][i].next == p->way[to][i].sent && from->tx_n_free == from->tx_slots;
			}
		if (p->bed.failed[0])
			return false;
		if (all)
			return true;
		if (clock_boot_us() >= end)
			break;
		nap();
	}
	for (unsigned to = 0; to < 2; to++)
		for (unsigned i = 0; i < p->conf.pairs; i++) {
			const struct way *w = &p->way[to][i];
			const struct net *from = &p->lan.net[!to][i];
			if (w->next != w->sent || from->tx_n_free != from->tx_slots)
				points_fail(p, "to guest %u, pair %u: %llu frames sent, %llu heard, %u buffers did not come back", to, i,
					    (unsigned long long)w->sent, (unsigned long long)w->next,
					    from->tx_slots - from->tx_n_free);
		}
	return false;
}

bool frames_singly(struct points *p)
{
	for (unsigned to = 0; to < 2; to++)
		for (unsigned i = 0; i < p->conf.pairs; i++) {
			if (!put(p, to, i))
				return false;
			net_tx_flush(&p->lan.net[!to][i]);
			if (!frames_arrive(p))
				return false;
		}
	return true;
}

bool frames_burst(struct points *p, unsigned n)
{
	for (unsigned to = 0; to < 2; to++) {
		for (unsigned i = 0; i < p->conf.pairs; i++) {
			for (unsigned k = 0; k < n; k++)
				if (!put(p, to, i))
					return false;
			net_tx_flush(&p->lan.net[!to][i]);
		}
	}
	return frames_arrive(p);
}

void frames_silent(struct points *p)
{
	for (unsigned to = 0; to < 2; to++) {
		struct net *n = &p->lan.net[!to][0];
		int kick = n->tx->kick;
		if (!put(p, to, 0))
			return;
		n->tx->kick = -1;
		net_tx_flush(n);
		n->tx->kick = kick;
	}
	p->silent = true;
}
