// Reading neighbour frames. Everything here was written by a guest or by the network: each length is checked against what is
// there, and a frame with any part that breaks RFC 826 or RFC 4861 tells nothing at all.
#include "net/neigh.h"

#include "net/neigh_wire.h"

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

// Could a host have this address? Not 0.0.0.0/8, loopback, multicast, broadcast.
static bool ip4_of_host(const uint8_t a[4])
{
	static const uint8_t broadcast[4] = { 255, 255, 255, 255 };
	bool multicast = (a[0] & 0xf0) == 0xe0;
	return a[0] != 0 && a[0] != 127 && !multicast && memcmp(a, broadcast, 4) != 0;
}

// Not ::, not ::1, not multicast.
static bool ip6_of_host(const uint8_t a[16])
{
	static const uint8_t zero[15];
	return a[0] != 0xff && !(memcmp(a, zero, 15) == 0 && a[15] <= 1);
}

static bool snoop_arp(const uint8_t *arp, uint32_t len, uint64_t src, struct ip_addr *out)
{
	static const uint8_t ethernet_ipv4[6] = { 0, 1, 0x08, 0x00, 6, 4 };
	if (len < ARP_SIZE || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return false;
	uint16_t op = load_be16(arp + ARP_OP);
	if (op != ARP_OP_REQUEST && op != ARP_OP_REPLY)
		return false;
	if (mac_key(arp + ARP_SHA) != src || !ip4_of_host(arp + ARP_SPA))
		return false;
	*out = (struct ip_addr){ .family = 4 };
	memcpy(out->addr, arp + ARP_SPA, 4);
	return true;
}

// Walk all options: false if one is malformed, or if a link-layer address of the given type is not the sender's own.
static bool nd_options_fit(const uint8_t *p, uint32_t len, uint8_t ll_type, uint64_t src)
{
	while (len) {
		if (len < 2)
			return false;
		uint32_t size = (uint32_t)p[1] * 8;
		if (size == 0 || size > len) // RFC 4861, 4.6: the whole packet is to be discarded
			return false;
		if (p[0] == ll_type && (size != 8 || mac_key(p + 2) != src))
			return false;
		p += size;
		len -= size;
	}
	return true;
}

struct claim {
	const uint8_t *ip;
	uint8_t ll_type; // of the option that holds its MAC
	uint8_t router;
	uint32_t options; // where they begin
};

// What the message claims, of its fixed part. False: nothing.
static bool nd_claim(const uint8_t *ip, const uint8_t *nd, struct claim *c)
{
	switch (nd[ND_TYPE]) {
	case ND_TYPE_RA:
		*c = (struct claim){ ip + IP6_SRC, ND_OPT_SOURCE_LL, IP_ROUTER_YES, RA_OPTIONS };
		return c->ip[0] == 0xfe && (c->ip[1] & 0xc0) == 0x80; // link-local, or it is to be discarded
	case ND_TYPE_NS:
		*c = (struct claim){ ip + IP6_SRC, ND_OPT_SOURCE_LL, IP_ROUTER_NOT_SAID, ND_OPTIONS };
		return nd[ND_TARGET] != 0xff;
	case ND_TYPE_NA:
		*c = (struct claim){ nd + ND_TARGET, ND_OPT_TARGET_LL, IP_ROUTER_NO, ND_OPTIONS };
		if (nd[ND_FLAGS] & ND_FLAG_ROUTER)
			c->router = IP_ROUTER_YES;
		return nd[ND_TARGET] != 0xff && !(nd[ND_FLAGS] & ND_FLAG_SOLICITED && ip[IP6_DST] == 0xff);
	default:
		return false;
	}
}

static bool snoop_nd(const uint8_t *ip, uint32_t len, uint64_t src, struct ip_addr *out)
{
	if (len < IP6_SIZE + RA_OPTIONS || ip[0] >> 4 != 6)
		return false;
	// 255 says that no router forwarded it: the sender is on this network
	if (ip[IP6_NEXT] != IP6_NEXT_ICMP || ip[IP6_HOP_LIMIT] != 255)
		return false;
	uint32_t payload = load_be16(ip + IP6_PAYLOAD_LEN);
	const uint8_t *nd = ip + IP6_SIZE;
	uint32_t fixed = nd[ND_TYPE] == ND_TYPE_RA ? RA_OPTIONS : ND_OPTIONS;
	if (payload < fixed || payload > len - IP6_SIZE || nd[ND_CODE] != 0)
		return false;
	struct claim c;
	if (!nd_claim(ip, nd, &c) || !ip6_of_host(c.ip) || !nd_options_fit(nd + c.options, payload - c.options, c.ll_type, src))
		return false;
	*out = (struct ip_addr){ .family = 6, .router = c.router };
	memcpy(out->addr, c.ip, 16);
	return true;
}

bool neigh_snoop(const uint8_t *p, uint32_t have, const struct eth_info *e, struct ip_addr *out)
{
	if (have < e->l3 || !mac_key_unicast(e->src))
		return false;
	if (e->type == ETH_T_ARP)
		return snoop_arp(p + e->l3, have - e->l3, e->src, out);
	if (e->type == ETH_T_IPV6)
		return snoop_nd(p + e->l3, have - e->l3, e->src, out);
	return false;
}
