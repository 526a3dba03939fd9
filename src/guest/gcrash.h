// The crash points of gwrite.c, for builds that have some (base/crash.h): they count for a destination only, which is told
// from a source by its first used element's length.
#ifndef GUEST_GCRASH_H
#define GUEST_GCRASH_H

#include <string.h>

#include "base/crash.h"
#include "guest/pring.h"
#include "guest/vlayout.h"

#ifdef VRINGD_CRASH_POINTS
// Of a ring of which something is written and not shown.
static inline bool gcrash_fills(const struct vring *r)
{
	uint32_t len;
	if (r->packed)
		return (uint32_t)pring_of_const(r)->first != 0;
	memcpy(&len, r->used + VUSED_ELEM(r->last_used & r->mask) + sizeof(len), sizeof(len));
	return len != 0;
}
static inline void gcrash(bool fills, enum crash_point p)
{
	if (fills)
		crash_here(p);
}
#else
static inline bool gcrash_fills(const struct vring *r)
{
	(void)r;
	return false;
}
static inline void gcrash(bool fills, enum crash_point p)
{
	(void)fills;
	(void)p;
}
#endif

#endif
