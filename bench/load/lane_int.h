// What both ring formats of a lane share. Each function of a format is the one of lane.h that has its name.
#ifndef LOAD_LANE_INT_H
#define LOAD_LANE_INT_H

#include <string.h>

#include "driver/frame.h"
#include "load/lane.h"

#define LANE_SAMPLE_EVERY 61u // shares no factor with anything that goes by batches or thousands
#define LANE_TABLE_BYTES 32u // an indirect table of two descriptors, in both formats

void lane_split_post_all(struct lane *l);
unsigned lane_split_reap(struct lane *l);
void lane_split_send(struct lane *l, unsigned n);
unsigned lane_split_receive(struct lane *l, unsigned max, lane_check *check, void *arg);
void lane_packed_post_all(struct lane *l);
unsigned lane_packed_reap(struct lane *l);
void lane_packed_send(struct lane *l, unsigned n);
unsigned lane_packed_receive(struct lane *l, unsigned max, lane_check *check, void *arg);

static inline uint32_t lane_next_buffer(struct lane *l)
{
	uint32_t b = l->cursor;
	l->cursor = b + 1 == l->n_bufs ? 0 : b + 1;
	return b;
}

// The buffer that a descriptor that came back is offered with again.
static inline uint32_t lane_again(struct lane *l, uint16_t id)
{
	return l->n_bufs <= l->q->size ? l->buf[id] : lane_next_buffer(l);
}

static inline uint64_t lane_gpa(const struct lane *l, uint32_t buf)
{
	return l->gpa + (uint64_t)buf * l->stride + 64 - l->hdr_len;
}

// The i-th id that nobody has, from the next one on.
static inline uint16_t *lane_free_id(struct lane *l, unsigned i)
{
	unsigned at = l->free_at + i;
	return &l->free[at >= l->q->size ? at - l->q->size : at];
}

static inline void lane_free_taken(struct lane *l, unsigned n)
{
	unsigned at = l->free_at + n;
	l->free_at = (uint16_t)(at >= l->q->size ? at - l->q->size : at);
	l->n_free = (uint16_t)(l->n_free - n);
}

// What a format puts one descriptor into its ring with. The two below are written out for each.
typedef void lane_offer(struct lane *l, uint16_t id, uint64_t gpa, uint32_t len, uint16_t flags);

static inline __attribute__((always_inline)) void lane_post_with(struct lane *l, lane_offer *offer)
{
	for (uint32_t n = lane_depth(l) - lane_out(l); n; n--) {
		uint16_t id = *lane_free_id(l, 0);
		l->buf[id] = lane_next_buffer(l);
		offer(l, id, lane_gpa(l, l->buf[id]), l->room, VQ_WRITE);
		lane_free_taken(l, 1);
	}
}

static inline __attribute__((always_inline)) void lane_send_with(struct lane *l, unsigned n, lane_offer *offer)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t id = *lane_free_id(l, i);
		uint32_t buf = lane_next_buffer(l), len = l->len[buf];
		frame_stamp(lane_frame(l, buf) + l->lead, len - l->lead, l->seq++);
		if (l->table)
			offer(l, id, l->table_gpa + (uint64_t)buf * LANE_TABLE_BYTES, LANE_TABLE_BYTES, VQ_INDIRECT);
		else
			offer(l, id, lane_gpa(l, buf), len + l->hdr_len, 0);
	}
	lane_free_taken(l, n);
}

struct intake { // of one look
	unsigned frames, rest; // rest: buffers that still belong to the frame in hand
	bool gathers; // it is to be looked at and lies in several
	uint32_t len; // gathered so far
};

// A buffer of a frame that is gathered: the buffers go back to the device before it is complete.
static inline bool lane_gather(struct lane *l, struct intake *in, const uint8_t *from, uint32_t len, lane_check *check,
			       void *arg)
{
	if (len > l->whole_size - in->len) {
		l->broken = "a frame longer than any that was sent";
		return false;
	}
	memcpy(l->whole + l->hdr_len + in->len, from, len);
	in->len += len;
	if (in->rest == 0) {
		in->gathers = false;
		check(arg, l->whole, l->whole + l->hdr_len, in->len);
	}
	return true;
}

// A used receive buffer. False: broken is set.
static inline bool lane_take_in(struct lane *l, struct intake *in, uint32_t buf, uint32_t len, lane_check *check, void *arg)
{
	const uint8_t *header = lane_header(l, buf);
	bool first = in->rest == 0;
	if (len > l->room || (first && len < l->hdr_len)) {
		l->broken = len > l->room ? "used length beyond the buffer" : "used length below the header's";
		return false;
	}
	l->bytes += len;
	if (first) {
		uint16_t buffers = 1;
		if (l->hdr_len >= 12)
			memcpy(&buffers, header + 10, sizeof(buffers));
		in->rest = buffers == 0 ? 1 : buffers;
		in->frames++;
		l->bytes -= l->hdr_len;
		if (check && (l->frames + in->frames) % LANE_SAMPLE_EVERY == 0) {
			in->gathers = in->rest > 1;
			in->len = 0;
			if (in->gathers)
				memcpy(l->whole, header, l->hdr_len);
			else
				check(arg, header, header + l->hdr_len, len - l->hdr_len);
		}
	}
	in->rest--;
	uint32_t skip = first ? l->hdr_len : 0;
	return !in->gathers || lane_gather(l, in, header + skip, len - skip, check, arg);
}

// The look is over. How many frames.
static inline unsigned lane_taken_in(struct lane *l, const struct intake *in)
{
	if (in->rest != 0 && !l->broken)
		l->broken = "num_buffers beyond what is used";
	l->frames += in->frames;
	l->looks += in->frames != 0;
	return in->frames;
}

#endif
