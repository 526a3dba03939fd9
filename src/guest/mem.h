// A guest's memory as the front end shared it: immutable once built, built aside, swapped under a quiesced datapath and
// freed after all data threads have passed (the owner, dev, does that).
#ifndef GUEST_MEM_H
#define GUEST_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MEM_MAX_REGIONS 8

struct mem_spec { // one region as SET_MEM_TABLE gives it: nothing of it is trusted
	uint64_t guest_addr, size, user_addr, mmap_offset;
};

struct mem_region {
	uint64_t gpa; // first guest-physical address
	uint64_t size;
	uint64_t uaddr; // the front end's virtual address of the first byte
	const uint8_t *host; // our address of the first byte; const for all but gwrite.c
	const void *map; // what munmap takes
	size_t map_len;
};

struct mem_map {
	unsigned n;
	struct mem_region region[MEM_MAX_REGIONS]; // by ascending gpa
	uint64_t bytes; // sum of sizes
	_Atomic bool broken; // a page of it went away (SIGBUS on a shrunken file): the port must be closed
};

// Map n regions; fds[i] belongs to spec[i] and stays the caller's (mapping keeps the file alive). Refused: n > 8, size 0 or
// any sum that wraps, overlap in guest or front-end addresses, a file that is shorter than offset + size, a file that is
// not memfd, tmpfs or hugetlbfs unless any_file. Nothing is populated: QEMU waits for the answer.
enum err mem_build(struct mem_map **out, const struct mem_spec *spec, const int *fds, unsigned n, bool any_file,
		   struct why *why);
// No data thread may use it any more. NULL is fine. The mappings go as letgo.h says.
void mem_free(struct mem_map *m);

// [gpa, gpa+len) as one host range, or NULL if any byte of it is outside one region. len 0 is refused.
static inline const uint8_t *mem_gpa(const struct mem_map *m, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->region[i];
		if (len != 0 && len <= r->size && gpa - r->gpa <= r->size - len)
			return r->host + (gpa - r->gpa);
	}
	return NULL;
}

// As much of [gpa, gpa+len) as lies in the region of its first byte: the host address, and that length in *part. NULL if the
// first byte is in no region. For buffers that straddle two regions.
const uint8_t *mem_gpa_part(const struct mem_map *m, uint64_t gpa, uint64_t len, uint64_t *part);
// [uaddr, uaddr+len) in front-end virtual addresses as one host range inside one region, or NULL; *gpa, if not NULL, is its
// guest-physical address.
const uint8_t *mem_uaddr(const struct mem_map *m, uint64_t uaddr, uint64_t len, uint64_t *gpa);

#endif
