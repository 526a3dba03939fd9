// Building and searching the memory map. Everything in a mem_spec comes from the front end: checked here, once, before
// anything is mapped.
#include "guest/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/guard.h"
#include "base/shmfile.h"
#include "guest/letgo.h"

static bool overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

static enum err check_spec(const struct mem_spec *spec, unsigned n, struct why *why)
{
	if (n > MEM_MAX_REGIONS)
		return refuse(why, "%u regions, at most %u are possible", n, MEM_MAX_REGIONS);
	for (unsigned i = 0; i < n; i++) {
		const struct mem_spec *s = &spec[i];
		if (s->size == 0 || !sum_fits(s->guest_addr, s->size, UINT64_MAX) || !sum_fits(s->user_addr, s->size, UINT64_MAX))
			return refuse(why, "region %u: size %llu at guest address 0x%llx wraps or is empty", i,
				      (unsigned long long)s->size, (unsigned long long)s->guest_addr);
		for (unsigned k = 0; k < i; k++) {
			if (overlap(s->guest_addr, s->size, spec[k].guest_addr, spec[k].size))
				return refuse(why, "regions %u and %u overlap in guest addresses", k, i);
			if (overlap(s->user_addr, s->size, spec[k].user_addr, spec[k].size))
				return refuse(why, "regions %u and %u overlap in front-end addresses", k, i);
		}
	}
	return OK;
}

static enum err map_region(struct mem_map *m, const struct mem_spec *s, int fd, unsigned i, bool any_file, struct why *why)
{
	char what[24];
	snprintf(what, sizeof(what), "region %u", i);
	uint64_t page;
	enum err e = shmfile_check(fd, s->mmap_offset, s->size, any_file, what, &page, why);
	if (e != OK)
		return e;
	// the mapping starts and ends on the file system's pages (hugetlbfs insists); the region may start inside one
	uint64_t skip = s->mmap_offset % page;
	uint64_t len = (s->size + skip + page - 1) / page * page;
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(s->mmap_offset - skip));
	if (map == MAP_FAILED)
		return ours(why, "region %u: mapping %llu bytes: %s", i, (unsigned long long)len, strerror(errno));
	if (!guard_add(map, len, page, &m->broken)) {
		munmap(map, len);
		return ours(why, "region %u: too many guarded mappings in this process", i);
	}
	madvise(map, len, MADV_DONTDUMP); // a core dump of ours must not hold, or wait for, a guest's memory
	madvise(map, len, MADV_DONTFORK);
	m->region[m->n++] = (struct mem_region){
		.gpa = s->guest_addr, .size = s->size, .uaddr = s->user_addr, .host = (uint8_t *)map + skip, .map = map, .map_len = len,
	};
	m->bytes += s->size;
	return OK;
}

static int by_gpa(const void *a, const void *b)
{
	const struct mem_region *x = a, *y = b;
	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

enum err mem_build(struct mem_map **out, const struct mem_spec *spec, const int *fds, unsigned n, bool any_file,
		   struct why *why)
{
	enum err e = check_spec(spec, n, why);
	if (e != OK)
		return e;
	struct mem_map *m = calloc(1, sizeof(*m));
	if (!m)
		return ours(why, "no memory for the region table");
	for (unsigned i = 0; i < n; i++) {
		e = map_region(m, &spec[i], fds[i], i, any_file, why);
		if (e != OK) {
			mem_free(m);
			return e;
		}
	}
	qsort(m->region, m->n, sizeof(m->region[0]), by_gpa);
	*out = m;
	return OK;
}

void mem_free(struct mem_map *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->n; i++) {
		void *map = (void *)(uintptr_t)m->region[i].map;
		guard_del(map);
		letgo(map, m->region[i].map_len);
	}
	free(m);
}

const uint8_t *mem_gpa_part(const struct mem_map *m, uint64_t gpa, uint64_t len, uint64_t *part)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->region[i];
		uint64_t at = gpa - r->gpa;
		if (at < r->size) {
			*part = len < r->size - at ? len : r->size - at;
			return r->host + at;
		}
	}
	return NULL;
}

const uint8_t *mem_uaddr(const struct mem_map *m, uint64_t uaddr, uint64_t len, uint64_t *gpa)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->region[i];
		uint64_t at = uaddr - r->uaddr;
		if (len != 0 && len <= r->size && at <= r->size - len) {
			if (gpa)
				*gpa = r->gpa + at;
			return r->host + at;
		}
	}
	return NULL;
}
