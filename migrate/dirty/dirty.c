#include "dirty/dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/guard.h"
#include "base/shmfile.h"

enum err dirty_open(struct dirty_log **out, int fd, uint64_t size, uint64_t offset, bool any_file, struct why *why)
{
	uint64_t page;
	enum err e = shmfile_check(fd, offset, size, any_file, "log", &page, why);
	if (e != OK)
		return e;
	if (size % 8 != 0 || offset % 8 != 0)
		return refuse(why, "log size %llu, offset %llu: must be multiples of 8", (unsigned long long)size,
			      (unsigned long long)offset);
	uint64_t skip = offset % page;
	struct dirty_log *log = calloc(1, sizeof(*log));
	if (!log)
		return ours(why, "no memory for the log object");
	log->map_len = (size + skip + page - 1) / page * page;
	log->map = mmap(NULL, log->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset - skip));
	if (log->map == MAP_FAILED) {
		e = ours(why, "mapping the log: %s", strerror(errno));
		free(log);
		return e;
	}
	if (!guard_add(log->map, log->map_len, page, &log->broken)) {
		munmap(log->map, log->map_len);
		free(log);
		return ours(why, "too many guarded mappings in this process");
	}
	madvise(log->map, log->map_len, MADV_DONTDUMP);
	madvise(log->map, log->map_len, MADV_DONTFORK);
	log->words = (_Atomic uint64_t *)((uint8_t *)log->map + skip);
	log->n_bytes = size;
	*out = log;
	return OK;
}

void dirty_free(struct dirty_log *log)
{
	if (!log)
		return;
	guard_del(log->map);
	munmap(log->map, log->map_len);
	free(log);
}

// The words are little-endian bytes in the specification; on a big-endian host the byte order inside a word differs.
static inline uint64_t page_bit(uint64_t page)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return BIT64(page % 64);
#else
	return BIT64((7 - (page / 8) % 8) * 8 + page % 8);
#endif
}

void dirty_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	if (len == 0)
		return;
	uint64_t first = gpa >> DIRTY_PAGE_SHIFT;
	uint64_t last = (len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> DIRTY_PAGE_SHIFT;
	uint64_t pages = log->n_bytes * 8;
	uint64_t set = 0;
	for (uint64_t page = first; page <= last; page++) {
		if (page >= pages) { // the part inside is logged, the rest is counted and reported
			atomic_fetch_add_explicit(&log->missed, last - page + 1, memory_order_relaxed);
			break;
		}
		_Atomic uint64_t *word = &log->words[page / 64];
		uint64_t bit = page_bit(page);
		// safe after a full fence only: otherwise this load may overtake the data's stores, the front end takes
		// the bit and the old page, and the write is lost
		if (atomic_load_explicit(word, memory_order_relaxed) & bit)
			continue;
		atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
		set++;
	}
	if (set)
		atomic_fetch_add_explicit(&log->marked, set, memory_order_relaxed);
}

void dirty_fill(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	if (len == 0)
		return;
	uint64_t first = gpa >> DIRTY_PAGE_SHIFT;
	uint64_t last = (len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> DIRTY_PAGE_SHIFT;
	uint64_t words = log->n_bytes / 8;
	for (uint64_t i = first / 64; i <= last / 64 && i < words; i++)
		atomic_store_explicit(&log->words[i], UINT64_MAX, memory_order_relaxed);
	dirty_fence();
}

bool dirty_test(const struct dirty_log *log, uint64_t gpa)
{
	uint64_t page = gpa >> DIRTY_PAGE_SHIFT;
	if (page >= log->n_bytes * 8)
		return false;
	return (atomic_load_explicit(&log->words[page / 64], memory_order_relaxed) & page_bit(page)) != 0;
}
