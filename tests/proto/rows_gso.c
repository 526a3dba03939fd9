// TCP frames that a guest left whole (TSO), through the real daemon: whole to who takes them, as frames of their segment
// size to who does not, and headers that lie.
#include <string.h>

#include "../unit/net/tcpframe.h"
#include "proto/lan.h"
#include "proto/rows.h"

#define SENDS (FE_FEATURES | BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6) | \
	       BIT64(VIRTIO_NET_F_HOST_ECN))
#define TAKES_SUM (FE_FEATURES | BIT64(VIRTIO_NET_F_GUEST_CSUM))
#define TAKES_ALL (TAKES_SUM | BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6) | \
		   BIT64(VIRTIO_NET_F_GUEST_ECN))

static uint8_t whole[TCPFRAME_MAX], want[TCPFRAME_MAX];

struct gso_lan {
	struct lan l;
	struct fe_conf fc[3];
	struct net_conf nc[3];
};

// Guest 0 sends, the others take what is given.
static bool gso_open(struct gso_lan *g, struct bed *b, enum net_tx_layout tx, const uint64_t *takes,
		     const uint32_t *rx_bytes, unsigned n)
{
	const struct fe_conf *fcs[3] = {&g->fc[0], &g->fc[1], &g->fc[2]};
	const struct net_conf *ncs[3] = {&g->nc[0], &g->nc[1], &g->nc[2]};
	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i <= n; i++) {
		g->fc[i] = (struct fe_conf){.ring_size = 128, .features = i ? takes[i - 1] : SENDS,
					    .mem = {.region_bytes = 32 << 20}};
		g->nc[i] = (struct net_conf){.max_frame = i ? 0 : TCPFRAME_MAX, .tx = i ? NET_TX_ONE : tx,
					     .rx_bytes = i ? rx_bytes[i - 1] : 0, .rx_slots = 100};
	}
	if (!lan_open(&g->l, b, n + 1, fcs, ncs, 65500))
		return false;
	for (unsigned i = 0; i <= n; i++)
		if (g->fc[i].features & ~g->l.fe[i]->features)
			bed_fail(b, "guest %u: 0x%llx is offered of 0x%llx", i, (unsigned long long)g->l.fe[i]->features,
				 (unsigned long long)g->fc[i].features);
	return b->failed[0] == 0;
}

static uint32_t gso_build(const struct gso_lan *g, const struct tcpframe *t, uint8_t *out, unsigned to, struct net_hdr *h)
{
	uint32_t l4, hdr, len = tcpframe_build(t, out, &l4, &hdr);
	memcpy(out, g->l.mac[to], 6);
	memcpy(out + 6, g->l.mac[0], 6);
	*h = (struct net_hdr){.flags = 1, .gso_type = (uint8_t)((t->v6 ? 4 : 1) | (t->flags & 0x80)), .hdr_len = (uint16_t)hdr,
			      .gso_size = 1448, .csum_start = (uint16_t)l4, .csum_offset = 16};
	return len;
}

// The next frame of guest i that is none of the lan's own.
static bool gso_next(struct gso_lan *g, unsigned i, struct net_frame *f, unsigned timeout_ms)
{
	struct net *n = &g->l.net[i][0];
	struct frame_id id;
	while (net_rx_wait(n, f, timeout_ms)) {
		if (frame_check(f->data, f->len, &id) == frame_foreign)
			return true;
		net_rx_release(n);
		net_rx_post(n);
	}
	return false;
}

static void gso_done(struct gso_lan *g, unsigned i)
{
	net_rx_release(&g->l.net[i][0]);
	net_rx_post(&g->l.net[i][0]);
}

static void expect_whole(struct gso_lan *g, unsigned i, const struct net_hdr *h, uint32_t len)
{
	struct bed *b = g->l.b;
	struct net_frame f;
	const char *broken = g->l.net[i][0].broken;
	NEED(b, gso_next(g, i, &f, 2000), "guest %u: nothing came: %s", i, broken ? broken : "quiet");
	NEED(b, f.len == len && memcmp(f.data, whole, len) == 0, "guest %u: %u bytes of %u, or others", i, f.len, len);
	NEED(b, memcmp(f.hdr, h, 10) == 0, "guest %u: header: flags %u type %u size %u head %u sum %u+%u", i, f.hdr->flags,
	     f.hdr->gso_type, f.hdr->gso_size, f.hdr->hdr_len, f.hdr->csum_start, f.hdr->csum_offset);
	gso_done(g, i);
}

static void expect_parts(struct gso_lan *g, unsigned i, const struct tcpframe *t)
{
	struct bed *b = g->l.b;
	for (unsigned k = 0; k * 1448 < t->payload; k++) {
		struct tcpframe p = tcpframe_part(t, 1448, k);
		bool sums = g->fc[i].features & BIT64(VIRTIO_NET_F_GUEST_CSUM);
		struct net_frame f;
		struct net_hdr h;
		p.partial = sums; // the checksum is left to it
		uint32_t len = gso_build(g, &p, want, i, &h);
		memcpy(want, whole, 12);
		NEED(b, gso_next(g, i, &f, 2000), "guest %u: frame %u did not come", i, k);
		NEED(b, f.len == len && memcmp(f.data, want, len) == 0, "guest %u: frame %u: %u bytes of %u, or others", i, k,
		     f.len, len);
		NEED(b, f.hdr->gso_type == 0 && f.hdr->gso_size == 0 && f.hdr->flags == (sums ? 1 : 0),
		     "guest %u: header of frame %u", i, k);
		gso_done(g, i);
	}
}

static const struct tcpframe shapes[] = {
	{.payload = 65000, .flags = 0x18, .seq = 0xfffff000, .id = 0xfffc, .tcp_options = 3, .partial = true},
	{.payload = 60000, .flags = 0x19, .v6 = true, .partial = true},
	{.payload = 30000, .flags = 0x98, .tagged = true, .ip_options = 2, .partial = true},
};

static void run_whole(struct bed *b)
{
	static const uint32_t room[] = {1514, 2036, 66000};
	for (unsigned tx = NET_TX_ONE; tx <= NET_TX_INDIRECT; tx++)
		for (unsigned r = 0; r < ARRAY_LEN(room); r++) {
			static const uint64_t takes[] = {TAKES_ALL};
			struct gso_lan g;
			struct net_hdr h;
			if (!bed_case_begin(b, "whole, tx %u, buffers of %u", tx, room[r]))
				continue;
			if (gso_open(&g, b, (enum net_tx_layout)tx, takes, &room[r], 1))
				for (unsigned k = 0; k < 9; k++) {
					uint32_t len = gso_build(&g, &shapes[k % 3], whole, 1, &h);
					if (!net_send(&g.l.net[0][0], whole, len, &h, 1000))
						bed_fail(b, "can't send");
					expect_whole(&g, 1, &h, len);
				}
			lan_close(&g.l);
			bed_case_end(b);
		}
}

static void run_cut(struct bed *b)
{
	static const uint64_t takes[] = {FE_FEATURES, FE_FEATURES & ~BIT64(VIRTIO_NET_F_MRG_RXBUF), TAKES_SUM,
					 TAKES_ALL & ~BIT64(VIRTIO_NET_F_MRG_RXBUF)};
	for (unsigned tx = NET_TX_ONE; tx <= NET_TX_INDIRECT; tx++)
		for (unsigned r = 0; r < ARRAY_LEN(takes); r++) {
			static const uint32_t room = 2036;
			struct gso_lan g;
			struct net_hdr h;
			if (!bed_case_begin(b, "cut, tx %u, for 0x%llx", tx, (unsigned long long)takes[r]))
				continue;
			if (gso_open(&g, b, (enum net_tx_layout)tx, &takes[r], &room, 1))
				for (unsigned k = 0; k < 9 && b->failed[0] == 0; k++) {
					uint32_t len = gso_build(&g, &shapes[k % 3], whole, 1, &h);
					if (!net_send(&g.l.net[0][0], whole, len, &h, 1000))
						bed_fail(b, "can't send");
					expect_parts(&g, 1, &shapes[k % 3]);
				}
			lan_close(&g.l);
			bed_case_end(b);
		}
}

static void run_flood(struct bed *b)
{
	static const uint64_t takes[] = {TAKES_ALL, FE_FEATURES};
	static const uint32_t room[] = {2036, 2036};
	struct gso_lan g;
	struct net_hdr h;
	if (!bed_case_begin(b, "flooded to two, each in its form"))
		return;
	if (gso_open(&g, b, NET_TX_PIECES, takes, room, 2))
		for (unsigned k = 0; k < 3; k++) {
			uint32_t len = gso_build(&g, &shapes[k], whole, 1, &h);
			memset(whole, 0xff, 6);
			if (!net_send(&g.l.net[0][0], whole, len, &h, 1000))
				bed_fail(b, "can't send");
			expect_whole(&g, 1, &h, len);
			expect_parts(&g, 2, &shapes[k]);
		}
	lan_close(&g.l);
	bed_case_end(b);
}

// Every lie is dropped; the next honest frame passes.
static void run_lies(struct bed *b)
{
	static const struct net_hdr lie[] = {
		{.gso_size = 0xffff}, {.gso_size = 1}, {.gso_size = 31}, {.flags = 2}, {.gso_type = 3}, {.gso_type = 5},
		{.gso_type = 4}, {.gso_type = 0x80}, {.gso_type = 0x7f}, {.csum_start = 1}, {.csum_start = 0xffff},
		{.csum_offset = 1}, {.csum_offset = 0xffff},
	};
	static const uint64_t takes[] = {TAKES_ALL, FE_FEATURES};
	static const uint32_t room[] = {2036, 2036};
	struct gso_lan g;
	struct net_frame f;
	if (!bed_case_begin(b, "segmentation headers that lie"))
		return;
	if (gso_open(&g, b, NET_TX_INDIRECT, takes, room, 2))
		for (unsigned i = 0; i < ARRAY_LEN(lie) * 2 && b->failed[0] == 0; i++) {
			const struct net_hdr *l = &lie[i / 2];
			struct net_hdr h, honest;
			uint32_t len = gso_build(&g, &shapes[0], whole, 1 + i % 2, &honest);
			h = honest;
			h.flags = l->flags ? l->flags : h.flags;
			h.gso_type = l->gso_type ? l->gso_type : h.gso_type;
			h.gso_size = l->gso_size == 0xffff ? 0 : l->gso_size ? l->gso_size : h.gso_size;
			h.csum_start = l->csum_start ? l->csum_start : h.csum_start;
			h.csum_offset = l->csum_offset ? l->csum_offset : h.csum_offset;
			if (!net_send(&g.l.net[0][0], whole, len, &h, 1000) || !net_tx_drain(&g.l.net[0][0], 1000))
				bed_fail(b, "can't send");
			if (gso_next(&g, 1 + i % 2, &f, 5))
				bed_fail(b, "lie %u: %u bytes came", i / 2, f.len);
			if (b->failed[0] == 0 && !net_send(&g.l.net[0][0], whole, len, &honest, 1000))
				bed_fail(b, "can't send");
			if (i % 2 == 0)
				expect_whole(&g, 1, &honest, len);
			else
				expect_parts(&g, 2, &shapes[0]);
		}
	lan_close(&g.l);
	bed_case_end(b);
}

const struct bed_row rows_gso[] = {
	{"TSO to who takes it", run_whole},
	{"TSO to who does not", run_cut},
	{"TSO to all", run_flood},
	{"TSO that lies", run_lies},
	{NULL, NULL},
};
