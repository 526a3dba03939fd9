// The dirty log: a bitmap over guest-physical pages of 4 KiB, shared with the front end, which exchanges its 64-bit words
// with zero while we set bits. Byte page/8, bit page%8, from guest-physical address 0 (vhost-user, "Migration").
// One object is one mapping, immutable once published; it is swapped under a quiesced datapath and freed after all data
// threads have passed.
#ifndef DIRTY_DIRTY_H
#define DIRTY_DIRTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DIRTY_PAGE_SHIFT 12

struct dirty_log {
	_Atomic uint64_t *words; // at the log's first byte (the offset is applied once, here)
	uint64_t n_bytes; // of the bitmap; a page beyond it cannot be logged
	void *map; // what munmap takes
	uint64_t map_len;
	_Atomic bool broken; // a page of the file went away: what is marked there is lost, the session must be given up
	_Atomic uint64_t marked; // bits that we set and were not set yet: pages logged
	_Atomic int doorbell; // an eventfd that is rung when bits are set (SET_LOG_FD), borrowed; -1: none
	_Atomic uint64_t missed; // pages outside the bitmap: each is a page that the front end may lose
};

// Map the log: size bytes at offset in fd (borrowed). Checks: size > 0, offset + size does not wrap and lies inside the
// file, offset and size multiples of 8. The kind of file must be memfd/tmpfs/hugetlbfs unless any_file.
enum err dirty_open(struct dirty_log **out, int fd, uint64_t size, uint64_t offset, bool any_file, struct why *why);
// No data thread may use it any more. NULL is fine.
void dirty_free(struct dirty_log *log);

// Log every page of [gpa, gpa+len). The caller has written the data and issued one full fence since (dirty_fence); then
// the pre-test "already set, skip" is safe. Pages outside the bitmap are counted in missed, the ones inside are logged.
void dirty_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);
// Ones for every page of [gpa, gpa+len), as far as the log goes: the front end takes them again. For giving up a port while it
// logs, over its memory: bits that name no page of a guest say nothing, and a log may be of any size.
void dirty_fill(struct dirty_log *log, uint64_t gpa, uint64_t len);
bool dirty_test(const struct dirty_log *log, uint64_t gpa);

// The same for pages [first, last], by number.
void dirty_mark_pages(struct dirty_log *log, uint64_t first, uint64_t last);

// The bits of pages [from, to] of one word (0..63). The words are little-endian bytes in the specification; on a big-endian host
// the byte order inside a word differs.
static inline uint64_t dirty_bits(unsigned from, unsigned to)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (~UINT64_C(0) << from) & (~UINT64_C(0) >> (63 - to));
#else
	uint64_t bits = 0;
	for (unsigned page = from; page <= to; page++)
		bits |= UINT64_C(1) << ((7 - page / 8) * 8 + page % 8);
	return bits;
#endif
}

// Are pages [first, last] in the log already, as mostly? False also where that takes a longer look. The caller has fenced since it
// wrote them, as for dirty_mark, and asks each time: the front end may have taken the bits since.
static inline bool dirty_marked(const struct dirty_log *log, uint64_t first, uint64_t last)
{
	if (first / 64 != last / 64 || last / 8 >= log->n_bytes)
		return false;
	return !(dirty_bits(first % 64, last % 64) & ~atomic_load_explicit(&log->words[first / 64], memory_order_relaxed));
}

static inline void dirty_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

#endif
