// Byte layouts that the reader (neigh.c) and the writer (neigh_build.c) of neighbour frames share: offsets into an ARP
// packet (RFC 826), an IPv6 header (RFC 8200) and a neighbour message (RFC 4861, 4.3, 4.4, 4.6.1).
#ifndef NET_NEIGH_WIRE_H
#define NET_NEIGH_WIRE_H

enum {
	ARP_HTYPE = 0,
	ARP_PTYPE = 2,
	ARP_HLEN = 4,
	ARP_PLEN = 5,
	ARP_OP = 6,
	ARP_SHA = 8,
	ARP_SPA = 14,
	ARP_THA = 18,
	ARP_TPA = 24,
	ARP_SIZE = 28,
};

enum { ARP_OP_REQUEST = 1, ARP_OP_REPLY = 2, RARP_OP_REQUEST = 3 };

enum {
	IP6_PAYLOAD_LEN = 4,
	IP6_NEXT = 6,
	IP6_HOP_LIMIT = 7,
	IP6_SRC = 8,
	IP6_DST = 24,
	IP6_SIZE = 40,
};

#define IP6_NEXT_ICMP 58

enum { // NS and NA have one shape
	ND_TYPE = 0,
	ND_CODE = 1,
	ND_CSUM = 2,
	ND_FLAGS = 4, // NA only
	ND_TARGET = 8,
	ND_OPTIONS = 24,
};

enum { RA_OPTIONS = 16 }; // of a router advertisement (4.2)

enum { ND_TYPE_RA = 134, ND_TYPE_NS = 135, ND_TYPE_NA = 136 };
enum { ND_FLAG_ROUTER = 0x80, ND_FLAG_SOLICITED = 0x40, ND_FLAG_OVERRIDE = 0x20 };
enum { ND_OPT_SOURCE_LL = 1, ND_OPT_TARGET_LL = 2 };

#endif
