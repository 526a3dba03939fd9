// One ring of the driver in the hands of the load loop: the same ring that vq.h has (its memory, its places), but nothing per
// frame that a network card's driver would not do: a descriptor (or an indirect table that was filled once), its place in the
// ring, a used element. Buffers lie as a DPDK guest has them: the virtio-net header right in front of a frame that begins on
// a cache line. One face over two formats: lane_split.c, lane_packed.c.
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
	uint32_t room;  // bytes of a buffer, with the header
	uint32_t lead;  // bytes of a frame before its numbered part
	uint32_t cursor; // the buffer that is used next
	uint32_t *len;  // transmit: of the frame that is in each buffer
	uint32_t *buf;  // by descriptor id: the buffer that it has
	uint16_t *free; // ring of ids that nobody has
	uint16_t free_at, n_free;
	uint64_t table_gpa; // transmit: indirect tables, two entries a buffer; 0: frames go in direct descriptors
	uint8_t *table;
	uint64_t seq;
	uint8_t *whole; // receive: a frame of several buffers that is looked at
	uint32_t whole_size;
	// counters of the loop
	uint64_t frames, bytes, looks; // looks that found something
	const char *broken; // the device broke a rule: what
};

struct lane_conf {
	uint32_t room; // frame bytes that a buffer takes
	uint32_t n_bufs; // more than the ring has entries: cycled through; fewer: only so many are out at once
	uint32_t longest; // receive: bytes of the longest frame, which may need several buffers
	bool indirect; // transmit: through tables of two, header and frame apart
};

// Lay out the buffers of a ring of fe. False: no memory.
bool lane_init(struct lane *l, struct fe *fe, unsigned ring, const struct lane_conf *conf);
void lane_fini(struct lane *l);
// Guest memory that it takes, without the ring; for a ring of `entries`.
uint64_t lane_memory(const struct lane_conf *conf);
static inline uint8_t *lane_frame(const struct lane *l, uint32_t buf)
{
	return l->host + (uint64_t)buf * l->stride + 64;
}
static inline uint8_t *lane_header(const struct lane *l, uint32_t buf)
{
	return lane_frame(l, buf) - l->hdr_len;
}
// The frame that lies in transmit buffer buf has len bytes (at most the room).
void lane_fill(struct lane *l, uint32_t buf, uint32_t len);
// Frames that can be on their way in this ring.
static inline uint32_t lane_depth(const struct lane *l)
{
	return l->n_bufs < l->q->size ? l->n_bufs : l->q->size;
}
static inline uint32_t lane_out(const struct lane *l) // descriptors that the device has
{
	return (uint32_t)(l->q->size - l->n_free);
}
// The device gets all receive buffers.
void lane_post_all(struct lane *l);
// Take back what was sent. How many.
unsigned lane_reap(struct lane *l);
// Offer up to max frames of those that lie in the buffers, and show them; a kick only if the device wants one.
unsigned lane_send(struct lane *l, unsigned max);
// Take up to max frames in and give their buffers back. check (may be NULL) is shown one frame in 61, gathered if it lies in
// several buffers.
typedef void lane_check(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len);
unsigned lane_receive(struct lane *l, unsigned max, lane_check *check, void *arg);

#endif
