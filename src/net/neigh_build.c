#include "net/neigh.h"

#include "net/neigh_wire.h"
#include "net/vnet.h"

#define FRAME_MIN 60 // without the frame check sequence

static_assert(ETH_HDR_VLAN + IP6_SIZE + ND_OPTIONS + 8 <= NEIGH_FRAME_MAX, "the longest frame fits");

static const uint8_t mac_broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t mac_all_nodes[6] = { 0x33, 0x33, 0, 0, 0, 1 };
static const uint8_t ip6_all_nodes[16] = { 0xff, 0x02, [15] = 1 };

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

// Clears the frame and writes its Ethernet header; returns where the rest begins.
static uint32_t build_eth(uint8_t *out, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan, uint16_t type)
{
	uint32_t at = 12;
	memset(out, 0, NEIGH_FRAME_MAX);
	memcpy(out, dst, 6);
	memcpy(out + 6, src, 6);
	vlan &= 0x0fff;
	if (vlan) {
		store_be16(out + at, ETH_T_VLAN);
		store_be16(out + at + 2, vlan);
		at += 4;
	}
	store_be16(out + at, type);
	return at + 2;
}

// ARP and RARP packets for Ethernet and IPv4; addresses that are NULL stay zero.
static uint32_t build_arp(uint8_t *out, uint32_t at, uint16_t op, const uint8_t *sha, const uint8_t *tha, const uint8_t *ip4)
{
	uint8_t *arp = out + at;
	store_be16(arp + ARP_HTYPE, 1);
	store_be16(arp + ARP_PTYPE, ETH_T_IPV4);
	arp[ARP_HLEN] = 6;
	arp[ARP_PLEN] = 4;
	store_be16(arp + ARP_OP, op);
	memcpy(arp + ARP_SHA, sha, 6);
	if (tha)
		memcpy(arp + ARP_THA, tha, 6);
	if (ip4) {
		memcpy(arp + ARP_SPA, ip4, 4);
		memcpy(arp + ARP_TPA, ip4, 4);
	}
	return at + ARP_SIZE < FRAME_MIN ? FRAME_MIN : at + ARP_SIZE;
}

uint32_t neigh_build_rarp(uint8_t *out, const uint8_t mac[6], uint16_t vlan)
{
	uint32_t at = build_eth(out, mac_broadcast, mac, vlan, ETH_T_RARP);
	return build_arp(out, at, RARP_OP_REQUEST, mac, mac, NULL);
}

uint32_t neigh_build_garp(uint8_t *out, const uint8_t mac[6], uint16_t vlan, const struct ip_addr *ip)
{
	if (ip->family != 4)
		return 0;
	uint32_t at = build_eth(out, mac_broadcast, mac, vlan, ETH_T_ARP);
	return build_arp(out, at, ARP_OP_REQUEST, mac, NULL, ip->addr);
}

uint32_t neigh_build_na(uint8_t *out, const uint8_t mac[6], uint16_t vlan, const struct ip_addr *ip)
{
	enum { ND_SIZE = ND_OPTIONS + 8 };
	if (ip->family != 6)
		return 0;
	uint32_t at = build_eth(out, mac_all_nodes, mac, vlan, ETH_T_IPV6);
	uint8_t *ip6 = out + at, *nd = ip6 + IP6_SIZE;
	ip6[0] = 6 << 4;
	store_be16(ip6 + IP6_PAYLOAD_LEN, ND_SIZE);
	ip6[IP6_NEXT] = IP6_NEXT_ICMP;
	ip6[IP6_HOP_LIMIT] = 255;
	memcpy(ip6 + IP6_SRC, ip->addr, 16);
	memcpy(ip6 + IP6_DST, ip6_all_nodes, 16);
	nd[ND_TYPE] = ND_TYPE_NA;
	nd[ND_FLAGS] = ND_FLAG_OVERRIDE | (ip->router == IP_ROUTER_YES ? ND_FLAG_ROUTER : 0);
	memcpy(nd + ND_TARGET, ip->addr, 16);
	nd[ND_OPTIONS] = ND_OPT_TARGET_LL;
	nd[ND_OPTIONS + 1] = 1; // in units of 8 bytes
	memcpy(nd + ND_OPTIONS + 2, mac, 6);

	bool odd = false;
	uint32_t sum = csum_add(IP6_NEXT_ICMP + ND_SIZE, ip6 + IP6_SRC, 32, &odd); // pseudo header, RFC 8200 8.1
	store_be16(nd + ND_CSUM, csum_fold(csum_add(sum, nd, ND_SIZE, &odd)));
	return at + IP6_SIZE + ND_SIZE;
}
