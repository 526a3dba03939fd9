// The virtio-net header (virtio 1.2, 5.1.6) and what it asks of us. Works on private copies.
#ifndef NET_VNET_H
#define NET_VNET_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VNET_F_NEEDS_CSUM 1
#define VNET_F_DATA_VALID 2
#define VNET_GSO_NONE 0
#define VNET_GSO_TCPV4 1
#define VNET_GSO_TCPV6 4
#define VNET_GSO_ECN 0x80 // a bit beside the type

struct vnet_hdr { // little endian on the wire; x86-64 and arm64 hosts are
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers; // absent (10 bytes) without VERSION_1 and MRG_RXBUF
};
static_assert(sizeof(struct vnet_hdr) == 12, "virtio-net header");

// Is what a guest put into its transmit header honourable for a frame of frame_len bytes, given what it negotiated (csum_ok:
// VIRTIO_NET_F_CSUM)? On false *why is a static reason and the frame must be dropped. Unknown flags are cleared in *h, and
// DATA_VALID, which is not a transmitter's; without NEEDS_CSUM the csum fields are zeroed. gso_type must be none (the others
// are gso.h's), and hdr_len and gso_size are zeroed. A checksum must begin behind Ethernet and the smallest IP header (34).
bool vnet_tx_sane(struct vnet_hdr *h, uint32_t frame_len, bool csum_ok, const char **why);

// Sum of 16-bit words (RFC 1071), to be folded; start with 0, continue across pieces: odd tells whether an odd number of
// bytes came before and is updated. The words are numbers in network byte order, so a pseudo header's fields may be added
// to the sum as numbers; a sum that comes back is at most 0xffff, unless the piece was empty.
uint32_t csum_add(uint32_t sum, const void *data, size_t len, bool *odd);
// Fold and complement: the checksum, as a number (its high byte goes first on the wire).
uint16_t csum_fold(uint32_t sum);

// Complete the checksum that h asks for in a linear frame: sum over [csum_start, len), folded and stored at
// csum_start + csum_offset (0 becomes 0xffff where the protocol is UDP and a zero would mean "none"). h must be sane for
// len. Clears NEEDS_CSUM and the csum fields.
void vnet_csum_complete(struct vnet_hdr *h, uint8_t *frame, uint32_t len);

#endif
