// Ethernet frames as bytes: addresses, tags. Everything works on a private copy of the header, never on guest memory.
#ifndef NET_ETH_H
#define NET_ETH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ETH_ALEN_ 6
#define ETH_HDR 14
#define ETH_HDR_VLAN 18
#define ETH_MIN 14 // a shorter frame has no destination, source and type: dropped
#define ETH_MAX 65593 // the longest that an IPv6 header can tell of (40 + 65535), under one tag

#define ETH_T_IPV4 0x0800
#define ETH_T_ARP 0x0806
#define ETH_T_RARP 0x8035
#define ETH_T_VLAN 0x8100
#define ETH_T_QINQ 0x88a8
#define ETH_T_IPV6 0x86dd

// A MAC as a number: byte 0 of the wire in bits 40-47. The multicast bit is bit 40.
static inline uint64_t mac_key(const uint8_t mac[6])
{
	return (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 | (uint64_t)mac[2] << 24 | (uint64_t)mac[3] << 16 |
	       (uint64_t)mac[4] << 8 | mac[5];
}

static inline void mac_of_key(uint8_t mac[6], uint64_t key)
{
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(key >> (40 - 8 * i));
}

static inline bool mac_key_multicast(uint64_t key)
{
	return (key >> 40) & 1u;
}

static inline bool mac_key_unicast(uint64_t key) // may be a source or a learned address
{
	return key != 0 && !mac_key_multicast(key);
}

struct eth_info {
	uint64_t dst, src; // mac_key
	uint16_t vlan; // VLAN id of the outer 802.1Q tag, 0: untagged or priority-tagged
	uint16_t type; // EtherType behind the tag
	uint8_t l3; // offset of what follows the EtherType
};

// Parse the first bytes of a frame, len of them given (of a frame that may be longer). False if it is too short for what its
// EtherType promises.
static inline bool eth_parse(const uint8_t *p, uint32_t len, struct eth_info *out)
{
	if (len < ETH_HDR)
		return false;
	out->dst = mac_key(p);
	out->src = mac_key(p + 6);
	out->type = (uint16_t)(p[12] << 8 | p[13]);
	out->vlan = 0;
	out->l3 = ETH_HDR;
	if (out->type == ETH_T_VLAN || out->type == ETH_T_QINQ) {
		if (len < ETH_HDR_VLAN)
			return false;
		out->vlan = (uint16_t)((p[14] << 8 | p[15]) & 0x0fff);
		out->type = (uint16_t)(p[16] << 8 | p[17]);
		out->l3 = ETH_HDR_VLAN;
	}
	return true;
}

// "52:54:00:12:34:56" to bytes; false if it is not that.
bool mac_parse(const char *text, uint8_t mac[6]);
// Into buf of at least 18 bytes; returns buf.
const char *mac_format(const uint8_t mac[6], char *buf);

#endif
