// Frames that their sender left whole (GSO): told from others, cut for who can't take them. Part of dp_int.h, which includes
// it where its types are known.
#ifndef SWITCH_CUT_H
#define SWITCH_CUT_H

#define DP_CUT_FRAMES 256u // frames that cutting may make in one turn of a ring, and those of the frame in hand

struct worker;

static inline bool frame_whole(const struct frame *f)
{
	return f->hdr.gso_type != VNET_GSO_NONE;
}
// Is a whole frame honourable for a source that negotiated `may` (GSO_TSO4...)? Its head grows, and f->gso is filled; it may
// turn out to be none.
bool frame_gso(struct frame *f, unsigned may);
// May it pass, at rate bits/s? It counts as long as it, or what it stands for, is on a wire.
bool frame_rate(struct dp_bucket *b, const struct frame *f, uint64_t rate);
void frame_rate_back(struct dp_bucket *b, const struct frame *f, uint64_t rate); // it did not go, and comes again

// The driver of this ring can't take it whole.
bool cut_needed(const struct vring *to, const struct frame *f);
// Frame i of those that f stands for, in w->part until the next call; i is f->cut_done, then one more each time.
struct frame *cut_part(struct worker *w, const struct frame *f, unsigned i);
// Some of its parts may be delivered when it has to wait, at place `at` of its ring (ring_mark); when that place is looked
// at again it goes on from there.
void cut_leave(struct dp_queue *q, const struct frame *f, uint16_t at, const struct dp_port *dst);
void cut_resume(struct dp_queue *q, struct frame *f, uint16_t at, const struct dp_port *dst);

#endif
