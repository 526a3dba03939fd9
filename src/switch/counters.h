// What is counted of ports and their rings, by port id, in memory that may outlive the process (a memfd that somebody
// keeps): the worker after this one goes on counting. Data threads write their own lines of it as they would write their
// own memory.
#ifndef SWITCH_COUNTERS_H
#define SWITCH_COUNTERS_H

#include "base/err.h"

struct counters;

// Make an empty page of counters, as a sealed memfd whose descriptor is the caller's; it takes memory as it is used.
enum err counters_make(int *fd, struct why *why);
// Map that of fd (borrowed); -1: memory of this process. REFUSED: it is none, or another version's. For one dp at a time.
enum err counters_open(struct counters **out, int fd, struct why *why);
void counters_close(struct counters *c); // the dp is freed; NULL is fine
// This process leaves in order and another goes on: from now on a port that is deleted leaves its counters (and what is
// held for it) behind.
void counters_leave(struct counters *c);

#endif
