// Neighbour discovery frames: which addresses a frame tells us about (snooping ARP and ND), and the frames that announce
// where a guest is now: RARP, gratuitous ARP, unsolicited neighbour advertisement. Pure: bytes in, bytes out.
#ifndef NET_NEIGH_H
#define NET_NEIGH_H

#include <stdbool.h>
#include <stdint.h>

#include "net/eth.h"

struct ip_addr {
	uint8_t family; // 4 or 6; 0: none
	uint8_t addr[16]; // 4 bytes used with family 4, the rest zero
	uint8_t router; // family 6: what its owner said of itself, one of these
#define IP_ROUTER_NOT_SAID 0
#define IP_ROUTER_NO 1
#define IP_ROUTER_YES 2
};

#define NEIGH_SNOOP_BYTES 512 // as much of a frame as snooping looks at: router advertisements have many options
#define NEIGH_FRAME_MAX 96

// Can this frame say anything about addresses? Cheap: it is ARP, or ICMPv6 of a type that neigh_snoop reads. p holds the first
// `have` bytes; what does not lie in them (behind extension headers, say) is not worth it.
static inline bool neigh_worth(const uint8_t *p, uint32_t have, const struct eth_info *e)
{
	if (e->type == ETH_T_ARP)
		return true;
	return e->type == ETH_T_IPV6 && have > e->l3 + 40u && p[e->l3 + 6] == 58 && p[e->l3 + 40] >= 134 && p[e->l3 + 40] <= 136;
}

// What address does the sender of this frame claim for its own MAC? From ARP (sender addresses, where sender MAC == the frame's
// source; not 0.0.0.0), from a neighbour advertisement (target, with target link-layer option or source MAC; it says, too, whether
// its sender is a router), from a neighbour solicitation (source address, not ::) and from a router advertisement (source address,
// link-local; a router). p holds min(len, NEIGH_SNOOP_BYTES) bytes, lengths are checked
// against it; ICMPv6 hop limit must be 255. Addresses that no host can have (loopback, multicast, broadcast) and messages
// that do not lie in p as a whole, options included, say nothing. False: nothing.
bool neigh_snoop(const uint8_t *p, uint32_t have, const struct eth_info *e, struct ip_addr *out);

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
// Into buf of at least 46 bytes; returns buf. Family 0 is "".
const char *ip_format(const struct ip_addr *ip, char *buf);
bool ip_parse(const char *text, struct ip_addr *out);

// Each writes a complete frame (padded to 60 bytes; with an 802.1Q tag if vlan is not 0) of at most NEIGH_FRAME_MAX bytes
// and returns its length; 0: ip is of another family. out has room for NEIGH_FRAME_MAX bytes, all of which may be written.
// RARP: broadcast, op 3, sender and target MAC = mac, addresses 0.
uint32_t neigh_build_rarp(uint8_t *out, const uint8_t mac[6], uint16_t vlan);
// Gratuitous ARP, request form: sender and target address = ip (family 4).
uint32_t neigh_build_garp(uint8_t *out, const uint8_t mac[6], uint16_t vlan, const struct ip_addr *ip);
// Unsolicited neighbour advertisement to ff02::1, override set, solicited clear, router as ip says (hosts take a router that says
// it is none out of their default routes: RFC 4861 7.2.5), target = ip (family 6), with target
// link-layer address option, hop limit 255, checksum done (RFC 4861 4.4, 7.2.6).
uint32_t neigh_build_na(uint8_t *out, const uint8_t mac[6], uint16_t vlan, const struct ip_addr *ip);

#endif
