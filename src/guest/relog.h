// After the death of a process that had a ring in its datapath, while the front end logs dirty pages: what it may have
// written and not logged any more.
//
// We log before we publish, and complete in ring order. So at a kill, wherever it comes, a page that was written and is
// not logged belongs to a buffer that was not returned, or to the ring. Those pages are logged again, before anything
// else is written.
#ifndef GUEST_RELOG_H
#define GUEST_RELOG_H

#include <stdbool.h>

#include "guest/vring.h"

// Log them: the device-writable pages of all buffers that the driver gave and that were not returned, and the ring's own
// pages. The ring is at its position, and in no datapath. sure: the position is certain (of a split ring it is). False:
// something there is not as a driver leaves it, or can't be told: then anything may be missing, and the caller fills the
// whole log. Does nothing for a ring that does not log.
bool ring_relog(struct vring *r, bool sure);

#endif
