// The guest's memory as this front end owns it: shared memory files, one per region, with guest-physical, front-end
// virtual and host addresses that are all different, so that nothing that confuses them works by chance.
//
// Areas are handed out from it page by page. Each area belongs to the driver (descriptors, avail ring, transmit buffers)
// or to the device (used ring, receive buffers); the two never share a page, so a page of the device has one writer and
// its log bit can't be had for free from somebody else's write. A packed ring is written by both: of its pages, what the
// device wrote last is told by each descriptor.
#ifndef DRIVER_GMEM_H
#define DRIVER_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/vu_spec.h"

#define GMEM_PAGE 4096u // what areas are made of, also on hugepages
#define GMEM_HUGE_PAGE (UINT64_C(2) << 20)

enum gmem_owner { GMEM_DRIVER, GMEM_DEVICE, GMEM_PACKED_RING };

struct gmem_conf {
	unsigned regions;      // 1..8; 0: 1
	uint64_t region_bytes; // of each, a multiple of a page; 0: 16 MiB
	uint64_t first_gpa;    // 0: 1 MiB
	uint64_t gap;          // between regions in guest-physical space, a multiple of a page
	uint64_t file_offset;  // where each region starts in its file, a multiple of a page
	bool one_file;         // all regions lie one behind the other in one memfd, of which each has a descriptor of its own, as QEMU's do
	bool huge;             // on hugepages of 2 MiB; region_bytes and file_offset are rounded up to them
};

struct gmem_region {
	uint64_t gpa, size, uaddr, offset;
	int fd;
	uint8_t *host;         // of the region's first byte
	uint64_t used;         // handed out
	uint8_t *owner;        // of each page, an enum gmem_owner
};

struct gmem {
	unsigned n;
	struct gmem_region region[VU_MAX_REGIONS];
};

// NULL with errno: no memory; with huge also: not enough free hugepages (all are reserved here, so none is missing later).
struct gmem *gmem_new(const struct gmem_conf *conf);
void gmem_free(struct gmem *m); // NULL is fine
// An area of whole pages of its own; the area starts skew (< 4096) bytes into the first. Returns its guest-physical
// address, 0 if no region has room. Regions are filled in order, from prefer on.
uint64_t gmem_area(struct gmem *m, unsigned prefer, enum gmem_owner owner, uint64_t bytes, uint32_t skew);
// Host address of a byte that is known to be inside, NULL if it is not.
uint8_t *gmem_at(const struct gmem *m, uint64_t gpa);
// Front-end virtual address of it; 0 if it is not inside.
uint64_t gmem_uaddr(const struct gmem *m, uint64_t gpa);
// The SET_MEM_TABLE payload; returns its size. fds gets n descriptors, still gmem's.
uint32_t gmem_table(const struct gmem *m, struct vu_memory *table, int fds[VU_MAX_FDS]);
uint64_t gmem_end(const struct gmem *m); // first guest-physical address above all regions

#endif
