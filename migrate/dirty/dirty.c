#include "dirty/dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/guard.h"
#include "base/nudge.h"
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
	atomic_init(&log->doorbell, -1);
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

void dirty_mark_pages(struct dirty_log *log, uint64_t first, uint64_t last)
{
	uint64_t pages = log->n_bytes * 8, set = 0;
	if (last >= pages) { // the part inside is logged, the rest is counted and reported
		uint64_t outside = first < pages ? last - pages + 1 : last - first + 1;
		atomic_fetch_add_explicit(&log->missed, outside, memory_order_relaxed);
		if (first >= pages)
			return;
		last = pages - 1;
	}
	for (uint64_t w = first / 64; w <= last / 64; w++) {
		uint64_t bits = dirty_bits(w == first / 64 ? first % 64 : 0, w == last / 64 ? last % 64 : 63);
		// safe after a full fence only: otherwise this load may overtake the data's stores, the front end takes
		// the bit and the old page, and the write is lost
		uint64_t missing = bits & ~atomic_load_explicit(&log->words[w], memory_order_relaxed);
		if (!missing)
			continue;
		uint64_t was = atomic_fetch_or_explicit(&log->words[w], missing, memory_order_seq_cst);
		set += (unsigned)__builtin_popcountll(missing & ~was);
	}
	if (!set)
		return;
	atomic_fetch_add_explicit(&log->marked, set, memory_order_relaxed);
	int bell = atomic_load_explicit(&log->doorbell, memory_order_acquire);
	if (bell >= 0 && !nudge(bell))
		atomic_store(&log->doorbell, -1); // its owner makes us wait
}

void dirty_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	if (len == 0)
		return;
	dirty_mark_pages(log, gpa >> DIRTY_PAGE_SHIFT, (len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> DIRTY_PAGE_SHIFT);
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
	return (atomic_load_explicit(&log->words[page / 64], memory_order_relaxed) & dirty_bits(page % 64, page % 64)) != 0;
}
