#include "net/vnet.h"

#include "net/eth.h"

// What a checksum may cover begins behind the smallest IP header. So no guest can use the checksum to change the addresses
// or the tag of a frame after they were looked at.
#define CSUM_START_MIN (ETH_HDR + 20)
#define UDP_CSUM_OFFSET 6 // also UDP-Lite, with the same rule, and DCCP, to which both zeros are equal

bool vnet_tx_sane(struct vnet_hdr *h, uint32_t frame_len, bool csum_ok, const char **why)
{
	h->flags &= VNET_F_NEEDS_CSUM; // DATA_VALID is not a transmitter's to set (virtio 1.2, 5.1.6.2.1)
	if (h->gso_type != VNET_GSO_NONE) {
		*why = "segmentation was not negotiated";
		return false;
	}
	h->hdr_len = 0;
	h->gso_size = 0;
	if (!(h->flags & VNET_F_NEEDS_CSUM)) {
		h->csum_start = 0;
		h->csum_offset = 0;
		return true;
	}
	if (!csum_ok) {
		*why = "checksum offload was not negotiated";
		return false;
	}
	if (h->csum_start < CSUM_START_MIN) {
		*why = "checksum starts before the transport header";
		return false;
	}
	if ((uint32_t)h->csum_start + h->csum_offset + 2 > frame_len) {
		*why = "checksum lies beyond the frame";
		return false;
	}
	return true;
}

void vnet_csum_complete(struct vnet_hdr *h, uint8_t *frame, uint32_t len)
{
	uint32_t start = h->csum_start, at = start + h->csum_offset;
	if (h->flags & VNET_F_NEEDS_CSUM && at + 2 <= len) {
		bool odd = false;
		uint16_t csum = csum_fold(csum_add(0, frame + start, len - start, &odd));
		if (csum == 0 && h->csum_offset == UDP_CSUM_OFFSET)
			csum = 0xffff; // the other zero: 0 says "no checksum" there
		frame[at] = (uint8_t)(csum >> 8);
		frame[at + 1] = (uint8_t)csum;
	}
	h->flags &= (uint8_t)~VNET_F_NEEDS_CSUM;
	h->csum_start = 0;
	h->csum_offset = 0;
}
