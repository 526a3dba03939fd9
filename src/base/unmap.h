// Taking a mapping down in pieces. What was touched costs the kernel some 50 us a MiB, in one go: whoever waits for the calling thread, and on a kernel
// that is not preempted inside (PREEMPT_NONE; for most tasks PREEMPT_LAZY) for its CPU until the next tick, waits as long. One piece takes
// about 100 us; where nothing was touched pieces grow, so that a sparse terabyte is no work.
#ifndef BASE_UNMAP_H
#define BASE_UNMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNMAP_FIRST (size_t)(1u << 20)
#define UNMAP_LEAST (size_t)(256u << 10)
#define UNMAP_LARGE (size_t)(16u << 20) // what is smaller is not worth pieces

struct unmap {
	uintptr_t from, to; // of pages
	size_t piece; // of the next one, bytes
};

// [at, at + len): what munmap would take. The memory is the caller's to unmap, and nobody's to use.
void unmap_begin(struct unmap *u, void *at, size_t len);
// One piece, or all that is left where it can't be cut (huge pages). False: nothing is left.
bool unmap_next(struct unmap *u);
// Of the next piece, after one of `was` bytes took that long.
size_t unmap_piece(size_t was, uint64_t took_us);

#endif
