// One ring of the driver in the hands of the load loop: the same split ring that vq.h has (its memory, its indices), but only
// one descriptor a buffer and nothing per frame that a network card's driver would not do: a descriptor, an avail entry, a used
// element. Buffers lie as a DPDK guest has them: the virtio-net header right in front of a frame that begins on a cache line.
#ifndef LOAD_LANE_H
#define LOAD_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/fe.h"

struct lane {
	struct vq *q;
	uint64_t gpa;   // of buffer 0
	uint8_t *host;
	uint32_t stride, n_bufs;
	uint32_t hdr_len;
	uint32_t room;  // receive: bytes of a buffer, with the header
	uint32_t cursor; // the buffer that is used next, where there are more than the ring has entries
	uint32_t *len;  // transmit: of the frame that is in each buffer
	uint32_t *buf;  // by descriptor: the buffer that it has
	uint16_t *free; // ring of descriptors that nobody has
	uint16_t free_at, n_free;
	uint64_t seq;
	// counters of the loop
	uint64_t frames, bytes, looks; // looks that found something
	const char *broken; // the device broke a rule: what
};

// Lay out buffers for frames of up to max_frame bytes; n_bufs at least the ring's size. False: no memory.
bool lane_init(struct lane *l, struct fe *fe, unsigned ring, uint32_t max_frame, uint32_t n_bufs);
void lane_fini(struct lane *l);
static inline uint8_t *lane_frame(const struct lane *l, uint32_t buf)
{
	return l->host + (uint64_t)buf * l->stride + 64;
}
// The device gets all receive buffers.
void lane_post_all(struct lane *l);
// Take back what was sent. How many.
unsigned lane_reap(struct lane *l);
// Offer up to max frames of those that lie in the buffers, and show them; a kick only if the device wants one.
unsigned lane_send(struct lane *l, unsigned max);
// Take up to max frames in and give their buffers back. check (may be NULL) is shown one frame in 61 whose buffer is whole.
typedef void lane_check(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len);
unsigned lane_receive(struct lane *l, unsigned max, lane_check *check, void *arg);

#endif
