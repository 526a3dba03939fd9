// Storing into guest memory. This is the only file that does, so it is the only place where a dirty page can be forgotten: each
// store appends its range to the ring's pending list, and the publish functions, the only ones that make anything visible to
// the guest, log that list first.
//
// Order (design: log before publish): payload and header -> used elements -> one full fence -> their log bits -> used.idx ->
// fence -> the log bit of used.idx's page. After a kill at any instruction, every page written but not logged is one of a head
// between used.idx and avail.idx, or of the used ring itself.
#ifndef GUEST_GWRITE_H
#define GUEST_GWRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/gseg.h"
#include "guest/vring.h"

struct gwrite_used { // one used element, as it lies in a split ring
	uint32_t id; // packed: see gwrite_packed_id
	uint32_t len; // bytes written into the buffer; 0 for transmit
};

// Copy len bytes from src into the pieces, starting `from` bytes in. The pieces are long enough (the caller reserved them).
// Returns where the next byte goes, so that copies can follow each other.
struct gwrite_at {
	unsigned seg;
	uint32_t off;
};
struct gwrite_at gwrite_payload(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src, uint32_t len);
// The virtio-net header: hdr_len bytes (10 or 12) from hdr; with 12, bytes 10 and 11 are num_buffers.
struct gwrite_at gwrite_header(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *hdr, uint32_t hdr_len);

// Log what is pending, write n used elements behind last_used, log, publish used.idx, log. In ring order; n <= num. From here
// down all is for split rings (packed ones: gwrite_packed.h), but for gwrite_unlogged, gwrite_fence and gwrite_frames.
void gwrite_publish_used(struct vring *r, const struct gwrite_used *elems, unsigned n);

// The same in steps, for a batch that publishes several rings and fences for all of them at once: stage writes the elements; if
// any of the rings has something to log (gwrite_unlogged), one gwrite_fence; show logs what is pending and publishes
// used.idx; one gwrite_fence; settle logs the page of used.idx.
void gwrite_stage_used(struct vring *r, const struct gwrite_used *elems, unsigned n);
static inline bool gwrite_unlogged(const struct vring *r)
{
	return r->n_pending != 0;
}
void gwrite_show(struct vring *r, unsigned n);
void gwrite_settle(struct vring *r);
void gwrite_fence(void);
// vring_wants_call for a caller that has fenced since it published.
bool vring_wants_call_fenced(struct vring *r);

// Many frames that go into one buffer each: n of them, which the caller has checked against their buffers. The header is
// written only where it differs from what lies there; its num_buffers is 1. The first 16 bytes of the frame come from `first`
// (they were looked at; the guest may have changed its own since), the others from src.
struct gwrite_frame {
	const uint8_t *host; // of the buffer
	uint64_t gpa;
	const uint8_t *src; // the frame's first byte, in memory that may change under us
	uint32_t len; // of the frame, at least GWRITE_FRAME_MIN
	uint64_t first[2];
	uint64_t hdr[2]; // virtio-net header, zero behind its end
};
#define GWRITE_FRAME_MIN 32u
void gwrite_frames(struct vring *r, const struct gwrite_frame *f, unsigned n);

// Ask the driver not to kick (on = false) or to kick for the next entry that it adds (on = true). After switching on the caller
// must look at vring_pending once more: a full fence lies between.
void gwrite_notify(struct vring *r, bool on);

// Does the driver want a call for what was published since the last decision? To be asked once per batch, after publishing.
// A full fence is inside.
bool vring_wants_call(struct vring *r);

#endif
