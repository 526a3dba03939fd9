#include "net/gso.h"

#include <string.h>

#include "net/eth.h"

#define IP4_HDR 20u
#define IP6_HDR 40u
#define IP6_EXTENSIONS 8u // as many in front of TCP
#define TCP_HDR 20u
#define TCP_CSUM 16u
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80
#define PROTO_HOP_BY_HOP 0
#define PROTO_TCP 6
#define PROTO_ROUTING 43
#define PROTO_DEST_OPTIONS 60

static bool bad(const char **why, const char *what)
{
	*why = what;
	return false;
}

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

// Folded, not complemented.
static uint16_t sum_of(uint32_t sum, const uint8_t *p, uint32_t len)
{
	bool odd = false;
	return (uint16_t)~csum_fold(csum_add(sum, p, len, &odd));
}

// have: bytes of head. Sets l4, and pseudo but for the protocol.
static bool parse_ip4(const uint8_t *head, uint32_t have, uint32_t frame_len, struct gso *g, const char **why)
{
	const uint8_t *ip = head + g->l3;
	if (have < g->l3 + IP4_HDR || ip[0] >> 4 != 4)
		return bad(why, "segmentation of TCPv4 in a frame that is not IPv4");
	uint32_t ihl = (ip[0] & 15u) * 4u;
	if (ihl < IP4_HDR)
		return bad(why, "IPv4 header length of a frame to be cut");
	if (ip[9] != PROTO_TCP)
		return bad(why, "segmentation of TCPv4 in a frame that is not TCP");
	if (be16(ip + 6) & 0x3fff)
		return bad(why, "segmentation of an IPv4 fragment");
	if (be16(ip + 2) != frame_len - g->l3)
		return bad(why, "IPv4 length of a frame to be cut is not the frame's");
	g->l4 = (uint8_t)(g->l3 + ihl);
	g->pseudo = sum_of(PROTO_TCP, ip + 12, 8);
	return true;
}

// Extension headers change what the pseudo header holds (a home address, say), and the sender knows what: its sum is taken,
// with the length that it counted taken out again.
static bool parse_ip6(const uint8_t *head, uint32_t have, uint32_t frame_len, struct gso *g, const char **why)
{
	const uint8_t *ip = head + g->l3;
	if (have < g->l3 + IP6_HDR || ip[0] >> 4 != 6)
		return bad(why, "segmentation of TCPv6 in a frame that is not IPv6");
	if (be16(ip + 4) != frame_len - g->l3 - IP6_HDR)
		return bad(why, "IPv6 length of a frame to be cut is not the frame's");
	uint32_t at = g->l3 + IP6_HDR;
	uint8_t next = ip[6];
	unsigned extensions = 0;
	for (; next != PROTO_TCP; extensions++) {
		if (extensions == IP6_EXTENSIONS || have < at + 8)
			return bad(why, "extension headers of a frame to be cut");
		if (next != PROTO_DEST_OPTIONS && next != PROTO_ROUTING && !(next == PROTO_HOP_BY_HOP && extensions == 0))
			return bad(why, "segmentation of TCPv6 in a frame that is not TCP");
		if (next == PROTO_ROUTING && head[at + 3] != 0)
			return bad(why, "segmentation in front of an unfinished routing header");
		next = head[at];
		at += (head[at + 1] + 1u) * 8u;
	}
	if (have < at + TCP_HDR) // so at is below GSO_HEAD_MAX
		return bad(why, "headers of a frame to be cut are too long");
	g->l4 = (uint8_t)at;
	if (extensions == 0)
		g->pseudo = sum_of(PROTO_TCP, ip + 8, 32);
	else
		g->pseudo = sum_of(0xffff - ((frame_len - at) & 0xffff), head + at + TCP_CSUM, 2);
	return true;
}

static bool parse_tcp(const uint8_t *head, uint32_t have, uint32_t frame_len, struct gso *g, const char **why)
{
	if (have < g->l4 + TCP_HDR)
		return bad(why, "headers of a frame to be cut are too long");
	uint32_t doff = (head[g->l4 + 12] >> 4) * 4u;
	if (doff < TCP_HDR || have < g->l4 + doff)
		return bad(why, "TCP header length of a frame to be cut");
	g->hdr_len = (uint16_t)(g->l4 + doff);
	g->payload = frame_len - g->hdr_len;
	return true;
}

// What the header says apart from the frame.
static bool parse_wish(const struct vnet_hdr *h, unsigned may, struct gso *g, const char **why)
{
	uint8_t type = h->gso_type & (uint8_t)~VNET_GSO_ECN;
	memset(g, 0, sizeof(*g));
	if (type != VNET_GSO_TCPV4 && type != VNET_GSO_TCPV6)
		return bad(why, "segmentation of a type that was not negotiated");
	g->v6 = type == VNET_GSO_TCPV6;
	g->need = (uint8_t)((g->v6 ? GSO_TSO6 : GSO_TSO4) | (h->gso_type & VNET_GSO_ECN ? GSO_ECN : 0));
	if (g->need & ~may)
		return bad(why, "segmentation was not negotiated");
	if (!(h->flags & VNET_F_NEEDS_CSUM))
		return bad(why, "segmentation without a checksum to complete");
	if (h->gso_size == 0)
		return bad(why, "segments of 0 bytes");
	g->size = h->gso_size;
	return true;
}

bool gso_parse(struct vnet_hdr *h, const uint8_t *head, uint32_t frame_len, unsigned may, struct gso *out, const char **why)
{
	uint32_t have = frame_len < GSO_HEAD_MAX ? frame_len : GSO_HEAD_MAX;
	struct eth_info eth;
	struct gso g;
	if (!parse_wish(h, may, &g, why))
		return false;
	if (!eth_parse(head, have, &eth) || eth.type != (g.v6 ? ETH_T_IPV6 : ETH_T_IPV4))
		return bad(why, "segmentation of a type that is not the frame's");
	g.l3 = eth.l3;
	if (!(g.v6 ? parse_ip6 : parse_ip4)(head, have, frame_len, &g, why) || !parse_tcp(head, have, frame_len, &g, why))
		return false;
	if (h->csum_start != g.l4 || h->csum_offset != TCP_CSUM)
		return bad(why, "checksum of a frame to be cut is not TCP's");
	uint32_t n = (g.payload + g.size - 1) / g.size;
	if (n > GSO_MAX_FRAMES)
		return bad(why, "segments are too small: one frame makes too many");
	g.n = (uint16_t)n;
	h->flags = VNET_F_NEEDS_CSUM;
	h->hdr_len = g.hdr_len;
	if (n < 2) {
		h->gso_type = VNET_GSO_NONE;
		h->gso_size = 0;
		h->hdr_len = 0;
	} else {
		*out = g;
	}
	return true;
}

static void head_ip4(const struct gso *g, uint8_t *ip, unsigned i, uint32_t len)
{
	uint32_t ihl = g->l4 - g->l3;
	put16(ip + 2, ihl + len);
	put16(ip + 4, be16(ip + 4) + i);
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~sum_of(0, ip, ihl));
}

void gso_head(const struct gso *g, const uint8_t *head, unsigned i, uint8_t *out, struct vnet_hdr *h, uint32_t *len)
{
	uint32_t from = i * (uint32_t)g->size, tcp_hdr = g->hdr_len - g->l4;
	bool last = i + 1u >= g->n;
	*len = last ? g->payload - from : g->size;
	memcpy(out, head, g->hdr_len);
	if (g->v6)
		put16(out + g->l3 + 4, g->l4 - g->l3 - IP6_HDR + tcp_hdr + *len);
	else
		head_ip4(g, out + g->l3, i, tcp_hdr + *len);
	uint8_t *tcp = out + g->l4;
	put32(tcp + 4, be32(tcp + 4) + from);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (i != 0)
		tcp[13] &= (uint8_t)~TCP_CWR;
	put16(tcp + TCP_CSUM, sum_of(g->pseudo + tcp_hdr + *len, tcp, 0));
	*h = (struct vnet_hdr){ .flags = VNET_F_NEEDS_CSUM, .csum_start = g->l4, .csum_offset = TCP_CSUM };
}
