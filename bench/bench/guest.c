#include "bench/guest.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define RING 64
#define REGION (2u << 20)

static bool say(const struct guest *g, char *why, unsigned size, const char *what)
{
	snprintf(why, size, "%s: %s", what, g->fe ? g->fe->err_text : "no memory");
	return false;
}

bool guest_open(struct guest *g, const char *path, unsigned number, char *why, unsigned size)
{
	return guest_open_with(g, path, number, 0, why, size);
}

bool guest_open_with(struct guest *g, const char *path, unsigned number, uint64_t memory_bytes, char *why, unsigned size)
{
	struct fe_conf conf = { .pairs = 1,
				.ring_size = RING,
				.style = FE_QEMU10,
				.kick_count = 1,
				.mem = { .region_bytes = memory_bytes ? memory_bytes : REGION } };
	struct net_conf net = { .max_frame = 1518 };
	memset(g, 0, sizeof(*g));
	g->fe = fe_new(&conf);
	frame_mac(g->mac, number);
	if (!g->fe || !fe_connect(g->fe, path))
		return say(g, why, size, "connect");
	if (fe_negotiate(g->fe) != FE_OK)
		return say(g, why, size, "negotiate");
	fe_driver_reset(g->fe, 0);
	g->laid_out = net_init(&g->net, g->fe, 0, &net);
	if (!g->laid_out || fe_start(g->fe) != FE_OK || fe_barrier(g->fe) != FE_OK)
		return say(g, why, size, "start");
	return true;
}

bool guest_again(struct guest *g, const char *path, char *why, unsigned size)
{
	fe_disconnect(g->fe);
	fe_bases_from_memory(g->fe);
	if (!fe_connect(g->fe, path) || fe_negotiate(g->fe) != FE_OK || fe_start(g->fe) != FE_OK ||
	    fe_barrier(g->fe) != FE_OK)
		return say(g, why, size, "again");
	return true;
}

static void throw_away(struct guest *g)
{
	struct net_frame f;
	while (net_rx(&g->net, &f))
		net_rx_release(&g->net);
	net_rx_post(&g->net);
}

// The net's transmit buffers are lent other places for the while: one in each TOUCH bytes, since a fault maps what lies around it, too.
#define TOUCH 16384u

bool guest_touch_all(struct guest *g, struct guest *sink)
{
	struct net *n = &g->net;
	struct gmem_region *r = &g->fe->mem->region[0];
	uint64_t gpa = n->tx_gpa, end = r->gpa + r->size;
	uint8_t *host = n->tx_host, frame[64];
	uint32_t stride = n->tx_stride;
	bool ok = net_tx_drain(n, 2000);
	frame_fill(frame, sizeof(frame), sink->mac, g->mac, 1, 0, true);
	for (uint64_t i = r->used; i < r->size; i += GMEM_PAGE)
		((volatile uint8_t *)r->host)[i] = 1; // the guest has written everywhere
	n->tx_stride = TOUCH;
	for (uint64_t at = r->gpa + r->used; ok && at + (uint64_t)n->tx_slots * TOUCH <= end; at += (uint64_t)n->tx_slots * TOUCH) {
		n->tx_gpa = at;
		n->tx_host = gmem_at(g->fe->mem, at);
		for (unsigned i = 0; i < n->tx_slots; i++) {
			uint32_t slot;
			uint8_t *to = net_tx_slot(n, &slot);
			if (!to)
				break;
			memcpy(to, frame, sizeof(frame));
			net_tx_put(n, slot, sizeof(frame), NULL);
		}
		net_tx_flush(n);
		ok = net_tx_drain(n, 2000);
		throw_away(sink);
	}
	n->tx_gpa = gpa;
	n->tx_host = host;
	n->tx_stride = stride;
	return ok;
}

void guest_close(struct guest *g)
{
	if (g->fe)
		fe_disconnect(g->fe);
	if (g->laid_out)
		net_fini(&g->net);
	fe_free(g->fe);
	memset(g, 0, sizeof(*g));
}

bool guest_reaches(struct guest *a, struct guest *b, unsigned timeout_ms)
{
	static uint64_t number;
	uint64_t first = ++number, end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	do {
		net_send_numbered(&a->net, b->mac, a->mac, 1, number++, 64);
		for (unsigned tries = 0; tries < 50; tries++) {
			struct net_frame f;
			struct frame_id id;
			while (net_rx(&b->net, &f)) {
				bool ours = frame_check(f.data, f.len, &id) == NULL && id.seq >= first;
				net_rx_release(&b->net);
				net_rx_post(&b->net);
				if (ours)
					return true;
			}
			usleep(2);
		}
		net_tx_reap(&a->net);
	} while (clock_boot_us() < end);
	return false;
}
