// Memory for held frames, of all ports: chunks in one mapping, which may be a file that outlives the process (a memfd that
// somebody keeps). It takes memory as it is used, and gives it back.
#ifndef SWITCH_HELD_H
#define SWITCH_HELD_H

#include <stdint.h>

#include "base/err.h"

struct held;

// Make memory for total bytes of held frames (--hold-total), as a sealed memfd whose descriptor is the caller's.
enum err held_make(int *fd, uint64_t total, struct why *why);
// Map that of fd (borrowed), whatever its total was; -1: memory of this process, for total bytes. REFUSED: it is none, or
// another version's. For one dp at a time.
enum err held_open(struct held **out, int fd, uint64_t total, struct why *why);
void held_close(struct held *m); // the dp is freed; what is held stays in the file. NULL is fine

#endif
