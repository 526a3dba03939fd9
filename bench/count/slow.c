// Seeded slowness for the negative controls of vringbench compare and of the instruction counts: each frame is copied
// through a bounce buffer and fenced. Linked with --wrap, so that the datapath knows nothing of it.
#include <stdatomic.h>
#include <string.h>

#include "guest/gwrite.h"

#define BOUNCE 65536u

void __real_gwrite_frames(struct vring *r, const struct gwrite_frame *f, unsigned n);
void __wrap_gwrite_frames(struct vring *r, const struct gwrite_frame *f, unsigned n);
struct gwrite_at __real_gwrite_payload(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src,
				       uint32_t len);
struct gwrite_at __wrap_gwrite_payload(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src,
				       uint32_t len);

static _Thread_local uint8_t bounce[BOUNCE];

void __wrap_gwrite_frames(struct vring *r, const struct gwrite_frame *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct gwrite_frame one = f[i];
		if (one.len <= BOUNCE) {
			memcpy(bounce, one.src, one.len);
			one.src = bounce;
		}
		__real_gwrite_frames(r, &one, 1);
		atomic_thread_fence(memory_order_seq_cst);
	}
}

struct gwrite_at __wrap_gwrite_payload(struct vring *r, const struct gseg *segs, struct gwrite_at at, const void *src,
				       uint32_t len)
{
	if (len <= BOUNCE) {
		memcpy(bounce, src, len);
		src = bounce;
	}
	at = __real_gwrite_payload(r, segs, at, src, len);
	atomic_thread_fence(memory_order_seq_cst);
	return at;
}
