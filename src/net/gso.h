// A TCP frame that its sender left whole (TSO): is what its header asks for honourable, and how it is cut into frames of its
// segment size. The sender is not trusted: nothing that it says about lengths is used before the frame's own headers said
// the same. Works on a private copy of the frame's first bytes, and never looks at the payload.
//
// What is cut: TCP over IPv4 without fragmentation, TCP over IPv6 with hop-by-hop, destination and finished routing headers
// in front, under one VLAN tag or none. Everything else is refused: UDP (USO and UFO are not offered), tunnels, fragments.
#ifndef NET_GSO_H
#define NET_GSO_H

#include <stdbool.h>
#include <stdint.h>

#include "net/vnet.h"

#define GSO_HEAD_MAX 256u // bytes of a frame that its headers may take
#define GSO_MAX_FRAMES 2048u // one frame is cut into that many at most: what one buffer of a guest may cost us

enum { // what was negotiated for a direction
	GSO_TSO4 = 1,
	GSO_TSO6 = 2,
	GSO_ECN = 4, // frames whose TCP header has CWR
	GSO_ALL = 7,
};

struct gso {
	uint16_t hdr_len; // Ethernet, IP and TCP headers together
	uint16_t size; // TCP payload of each frame but the last, at least 1
	uint16_t n; // frames that it makes, 2..GSO_MAX_FRAMES
	uint8_t need; // GSO_ bits that a receiver must have to take it whole
	uint8_t l3, l4; // where IP and TCP begin
	bool v6;
	uint32_t payload; // bytes behind the headers
	uint16_t pseudo; // sum of the pseudo header but for the length, folded
};

// Is a frame with h->gso_type other than none honourable, for a sender that negotiated `may`? head: the first min(frame_len,
// GSO_HEAD_MAX) bytes. On false *why is a static reason and the frame must be dropped. On true *h holds what may be passed
// on: flags NEEDS_CSUM alone, hdr_len as the frame has it, num_buffers untouched. A frame that is no longer than one segment
// is no GSO frame any more: gso_type is none then, and *out is not filled.
bool gso_parse(struct vnet_hdr *h, const uint8_t *head, uint32_t frame_len, unsigned may, struct gso *out, const char **why);

// The headers of frame i (0..n-1): hdr_len bytes to out, from the same head that was parsed. Lengths, the IPv4 id (one more
// each), sequence number and flags (FIN, PSH: last; CWR: first) are the frame's own; the IPv4 header's checksum is right,
// the TCP checksum's place holds the sum of the pseudo header, and *h asks for its completion. Its payload are the *len
// bytes at i * size behind the headers.
void gso_head(const struct gso *g, const uint8_t *head, unsigned i, uint8_t *out, struct vnet_hdr *h, uint32_t *len);

#endif
