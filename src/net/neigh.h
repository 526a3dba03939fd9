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
};

#define NEIGH_SNOOP_BYTES 128 // as much of a frame as snooping looks at
#define NEIGH_FRAME_MAX 96

// Can this frame say anything about addresses? Cheap: EtherType is ARP, or IPv6.
static inline bool neigh_worth(const struct eth_info *e)
{
	return e->type == ETH_T_ARP || e->type == ETH_T_IPV6;
}

// What address does the sender of this frame claim for its own MAC? From ARP (sender addresses, where sender MAC == the frame's
// source; not 0.0.0.0), from a neighbour advertisement (target, with target link-layer option or source MAC) and from a
// neighbour solicitation (source address, not ::). p holds min(len, NEIGH_SNOOP_BYTES) bytes, lengths are checked
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
// Unsolicited neighbour advertisement to ff02::1, override set, solicited clear, target = ip (family 6), with target
// link-layer address option, hop limit 255, checksum done (RFC 4861 4.4, 7.2.6).
uint32_t neigh_build_na(uint8_t *out, const uint8_t mac[6], uint16_t vlan, const struct ip_addr *ip);

#endif
