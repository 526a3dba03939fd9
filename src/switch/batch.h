// What a data thread has in hand during one batch: the frame, and the receive rings that it fills. Part of dp_int.h, which
// includes it where its types are known.
#ifndef SWITCH_BATCH_H
#define SWITCH_BATCH_H

#include "net/gso.h"

struct frame { // one frame on its way; the pieces may be guest memory, the head is our copy
	const struct gseg *segs;
	unsigned n_segs;
	uint32_t skip; // bytes of virtio-net header in front, in segs
	uint32_t len; // of the Ethernet frame
	uint32_t head_len; // min(len, DP_HEAD); of a frame that its sender left whole, min(len, GSO_HEAD_MAX)
	struct vnet_hdr hdr;
	struct eth_info eth;
	struct dp_port *src;
	unsigned src_pair;
	struct gso gso; // if hdr.gso_type is not none
	uint16_t cut_done; // frames of it that its receiver has already: where cutting goes on
	uint8_t head[GSO_HEAD_MAX];
};

#define RXS_ELEMS 256u
struct rxsess { // a receive ring while a batch is delivered to it
	struct dp_port *port;
	struct dp_queue *q;
	struct vring *ring;
	unsigned pair;
	unsigned n;
	uint16_t seen; // places with buffers that were there when one was refused for want of them
	uint64_t frames, bytes;
	struct gwrite_used elem[RXS_ELEMS];
};
#define RXS_MAX 8u

#endif
