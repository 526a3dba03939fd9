// The front end's side of the dirty log: a bitmap that is harvested the way QEMU does it (each 64-bit word exchanged with
// zero while the back end sets bits), and a mirror of all guest memory that is fed ONLY by the pages that the harvest
// names. If the back end misses one page, or sets a bit before the data is there, mirror and memory differ in the end.
//
// The driver's own pages are left out of the comparison; gmem keeps the kinds apart. Of a packed ring the descriptors count
// that the device wrote last.
#ifndef DRIVER_FLOG_H
#define DRIVER_FLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/gmem.h"

struct flog {
	const struct gmem *mem; // borrowed
	int fd;                 // to be sent with SET_LOG_BASE
	uint64_t bytes;         // of the bitmap
	uint64_t file_offset;   // where it begins in the file
	uint64_t *words;
	void *map;
	uint64_t map_len;
	uint8_t *mirror[VU_MAX_REGIONS];
	uint64_t rounds, pages; // harvested
	uint64_t stray;         // bits that name no page of the guest
	struct flog_thread *thread;
};

struct flog_diff {
	uint64_t pages;         // that differ
	uint64_t gpa;           // of the first byte that differs
	uint8_t memory, mirror; // what is there
};

// A log big enough for mem, at file_offset (a multiple of a page) in its file. The mirror is empty until flog_copy_all.
struct flog *flog_new(const struct gmem *mem, uint64_t file_offset); // NULL: no memory
void flog_free(struct flog *l);                                      // NULL is fine; stops the thread
// The first pass: copy everything. After the back end has acknowledged that it logs, as a migration does it.
void flog_copy_all(struct flog *l);
// One round; returns how many pages it copied.
uint64_t flog_harvest(struct flog *l);
// Harvest without end in a thread of its own, pausing pause_us between rounds (0: not at all).
bool flog_thread_start(struct flog *l, unsigned pause_us);
void flog_thread_stop(struct flog *l);
// Compare all pages of the device. False: they differ; diff says where.
bool flog_equal(const struct flog *l, struct flog_diff *diff);
bool flog_bit(const struct flog *l, uint64_t gpa); // set now?

#endif
