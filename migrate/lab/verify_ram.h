// The oracle of the dirty log: with source and destination paused, all guest memory of both is the same, page by page.
#ifndef LAB_VERIFY_RAM_H
#define LAB_VERIFY_RAM_H

#include "lab/qemu.h"
#include "lab/result.h"

#define RAM_PAGE 4096

struct ram_diff {
	uint64_t pages, differ;
	uint64_t first[16]; // guest addresses of the first that differ
};

// Compare two dumps of the memory from `base` on, adding to d. OURS if a file can't be read or their sizes differ.
enum err ram_compare(const char *a, const char *b, uint64_t base, struct ram_diff *d, struct why *why);
// Dump and compare both QEMUs, which are paused; fills the round's fields.
enum err verify_ram(struct vm *src, struct vm *dst, uint64_t memory_bytes, struct round *r, struct why *why);

#endif
