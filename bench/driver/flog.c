#include "driver/flog.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "driver/vq.h"

struct flog_thread {
	pthread_t id;
	struct flog *log;
	unsigned pause_us;
	_Bool stop;
};

static bool flog_open(struct flog *l)
{
	l->fd = memfd_create("log", MFD_CLOEXEC);
	l->map_len = l->file_offset + l->bytes;
	if (l->fd < 0 || ftruncate(l->fd, (off_t)l->map_len) != 0)
		return false;
	l->map = mmap(NULL, l->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
	if (l->map == MAP_FAILED) {
		l->map = NULL;
		return false;
	}
	l->words = (uint64_t *)(void *)((uint8_t *)l->map + l->file_offset);
	for (unsigned i = 0; i < l->mem->n; i++) {
		l->mirror[i] = calloc(1, l->mem->region[i].size);
		if (l->mirror[i] == NULL)
			return false;
	}
	return true;
}

struct flog *flog_new(const struct gmem *mem, uint64_t file_offset)
{
	struct flog *l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	uint64_t pages = (gmem_end(mem) + VU_LOG_PAGE - 1) / VU_LOG_PAGE;
	l->mem = mem;
	l->fd = -1;
	l->file_offset = file_offset;
	l->bytes = (pages + 63) / 64 * 8;
	if (!flog_open(l)) {
		flog_free(l);
		return NULL;
	}
	return l;
}

void flog_free(struct flog *l)
{
	if (l == NULL)
		return;
	flog_thread_stop(l);
	for (unsigned i = 0; i < VU_MAX_REGIONS; i++)
		free(l->mirror[i]);
	if (l->map != NULL)
		munmap(l->map, l->map_len);
	fd_reset(&l->fd);
	free(l);
}

void flog_copy_all(struct flog *l)
{
	for (unsigned i = 0; i < l->mem->n; i++)
		memcpy(l->mirror[i], l->mem->region[i].host, l->mem->region[i].size);
}

static void flog_copy_page(struct flog *l, uint64_t gpa)
{
	for (unsigned i = 0; i < l->mem->n; i++) {
		const struct gmem_region *r = &l->mem->region[i];
		if (gpa - r->gpa >= r->size)
			continue;
		memcpy(l->mirror[i] + (gpa - r->gpa), r->host + (gpa - r->gpa), GMEM_PAGE);
		l->pages++;
		return;
	}
	l->stray++;
}

uint64_t flog_harvest(struct flog *l)
{
	uint64_t before = l->pages;
	for (uint64_t w = 0; w < l->bytes / 8; w++) {
		if (__atomic_load_n(&l->words[w], __ATOMIC_RELAXED) == 0)
			continue;
		uint64_t bits = __atomic_exchange_n(&l->words[w], 0, __ATOMIC_SEQ_CST);
		while (bits != 0) {
			unsigned b = (unsigned)__builtin_ctzll(bits);
			bits &= bits - 1;
			flog_copy_page(l, (w * 64 + b) * VU_LOG_PAGE);
		}
	}
	l->rounds++;
	return l->pages - before;
}

static void *flog_thread_main(void *arg)
{
	struct flog_thread *t = arg;
	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		flog_harvest(t->log);
		if (t->pause_us > 0) {
			struct timespec ts = {.tv_nsec = (long)t->pause_us * 1000};
			nanosleep(&ts, NULL);
		}
	}
	return NULL;
}

bool flog_thread_start(struct flog *l, unsigned pause_us)
{
	struct flog_thread *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return false;
	t->log = l;
	t->pause_us = pause_us;
	if (pthread_create(&t->id, NULL, flog_thread_main, t) != 0) {
		free(t);
		return false;
	}
	l->thread = t;
	return true;
}

void flog_thread_stop(struct flog *l)
{
	struct flog_thread *t = l->thread;
	if (t == NULL)
		return;
	__atomic_store_n(&t->stop, true, __ATOMIC_RELEASE);
	pthread_join(t->id, NULL);
	l->thread = NULL;
	free(t);
}

// Compare n bytes at offset `at` of a region; the first difference of all goes into diff.
static bool flog_same(const struct flog *l, unsigned region, uint64_t at, uint64_t n, struct flog_diff *diff)
{
	const struct gmem_region *r = &l->mem->region[region];
	const uint8_t *memory = r->host + at, *mirror = l->mirror[region] + at;
	if (memcmp(memory, mirror, n) == 0)
		return true;
	for (uint64_t b = 0; diff->pages == 0 && diff->gpa == 0 && b < n; b++)
		if (memory[b] != mirror[b])
			*diff = (struct flog_diff){.gpa = r->gpa + at + b, .memory = memory[b], .mirror = mirror[b]};
	return false;
}

// Of a packed ring, the descriptors that the device wrote last: the driver, whose writes no back end logs, leaves the two
// bits different.
static bool flog_same_ring(const struct flog *l, unsigned region, uint64_t page, struct flog_diff *diff)
{
	bool same = true;
	for (uint64_t at = page; at < page + GMEM_PAGE; at += sizeof(struct vq_pdesc)) {
		struct vq_pdesc d;
		memcpy(&d, l->mem->region[region].host + at, sizeof(d));
		if (!(d.flags & VQ_AVAIL) == !(d.flags & VQ_USED))
			same = flog_same(l, region, at, sizeof(d), diff) && same;
	}
	return same;
}

bool flog_equal(const struct flog *l, struct flog_diff *diff)
{
	memset(diff, 0, sizeof(*diff));
	for (unsigned i = 0; i < l->mem->n; i++) {
		const struct gmem_region *r = &l->mem->region[i];
		for (uint64_t at = 0; at < r->size; at += GMEM_PAGE) {
			uint8_t owner = r->owner[at / GMEM_PAGE];
			if ((owner == GMEM_DEVICE && !flog_same(l, i, at, GMEM_PAGE, diff)) ||
			    (owner == GMEM_PACKED_RING && !flog_same_ring(l, i, at, diff)))
				diff->pages++;
		}
	}
	return diff->pages == 0;
}

bool flog_bit(const struct flog *l, uint64_t gpa)
{
	uint64_t page = gpa / VU_LOG_PAGE;
	return page / 64 < l->bytes / 8 && (__atomic_load_n(&l->words[page / 64], __ATOMIC_SEQ_CST) >> (page % 64)) & 1;
}
