// The pages that the frames of a batch touch, where a look at all of them at once tells.
#ifndef GUEST_GFRAMES_H
#define GUEST_GFRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "dirty/dirty.h"
#include "guest/gwrite.h"

// n frames (1 or more) from f on; tail: bytes of a header, less one; last: the page of the last one's last byte. True: what they touch is the
// pages from the first one's first to this one, no other, since each buffer begins at most a page behind the one before, and none ends in a
// later page than the last. False: they may be, all the same.
static inline bool gframes_in_a_row(const struct gwrite_frame *f, unsigned n, uint64_t tail, uint64_t last)
{
	uint64_t gpa = f->gpa, steps = 0;
	uint32_t longest = f->len; // or more: all bits that any of them has
#pragma GCC unroll 4
	for (unsigned i = 1; i < n; i++) {
		steps |= (f[i].gpa - 1 - gpa) >> DIRTY_PAGE_SHIFT;
		longest |= f[i].len;
		gpa = f[i].gpa;
	}
	return steps == 0 && (gpa + longest + tail) >> DIRTY_PAGE_SHIFT == last;
}

#endif
