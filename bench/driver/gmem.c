#include "driver/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

// Far from any guest-physical address, and not where mmap puts things.
#define GMEM_UADDR_FIRST UINT64_C(0x5a0000000000)
#define GMEM_UADDR_STEP UINT64_C(0x001000000000)

static uint64_t gmem_round_huge(uint64_t n)
{
	return (n + GMEM_HUGE_PAGE - 1) / GMEM_HUGE_PAGE * GMEM_HUGE_PAGE;
}

// with: whose file it shares; NULL: it has its own.
static bool gmem_region_open(struct gmem_region *r, const struct gmem_region *with, bool huge)
{
	if (with != NULL)
		r->fd = fcntl(with->fd, F_DUPFD_CLOEXEC, 3);
	else
		r->fd = memfd_create("guest", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (r->fd < 0 || ftruncate(r->fd, (off_t)(r->offset + r->size)) != 0)
		return false;
	void *p = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)r->offset);
	if (p == MAP_FAILED)
		return false;
	r->host = p;
	r->owner = calloc(r->size / GMEM_PAGE, 1);
	return r->owner != NULL;
}

struct gmem *gmem_new(const struct gmem_conf *conf)
{
	struct gmem *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	unsigned n = conf->regions != 0 ? conf->regions : 1;
	uint64_t bytes = conf->region_bytes != 0 ? conf->region_bytes : UINT64_C(16) << 20;
	uint64_t gpa = conf->first_gpa != 0 ? conf->first_gpa : UINT64_C(1) << 20, offset = conf->file_offset;
	if (conf->huge) {
		bytes = gmem_round_huge(bytes);
		offset = gmem_round_huge(offset);
	}
	for (unsigned i = 0; i < n && i < VU_MAX_REGIONS; i++) {
		struct gmem_region *r = &m->region[i];
		r->gpa = gpa;
		r->size = bytes;
		r->uaddr = GMEM_UADDR_FIRST + (VU_MAX_REGIONS - i) * GMEM_UADDR_STEP; // descending: not the order of gpa
		r->offset = offset;
		m->n++;
		if (!gmem_region_open(r, conf->one_file && i > 0 ? &m->region[0] : NULL, conf->huge)) {
			int why = errno;
			gmem_free(m);
			errno = why;
			return NULL;
		}
		gpa += bytes + conf->gap;
		offset += conf->one_file ? bytes : 0;
	}
	return m;
}

void gmem_free(struct gmem *m)
{
	if (m == NULL)
		return;
	for (unsigned i = 0; i < m->n; i++) {
		struct gmem_region *r = &m->region[i];
		if (r->host != NULL)
			munmap(r->host, r->size);
		fd_reset(&r->fd);
		free(r->owner);
	}
	free(m);
}

uint64_t gmem_area(struct gmem *m, unsigned prefer, enum gmem_owner owner, uint64_t bytes, uint32_t skew)
{
	uint64_t need = (bytes + skew + GMEM_PAGE - 1) / GMEM_PAGE * GMEM_PAGE;
	for (unsigned i = prefer; i < m->n; i++) {
		struct gmem_region *r = &m->region[i];
		if (need > r->size - r->used)
			continue;
		uint64_t at = r->used;
		r->used += need;
		memset(r->owner + at / GMEM_PAGE, owner, need / GMEM_PAGE);
		return r->gpa + at + skew;
	}
	return 0;
}

static const struct gmem_region *gmem_region_of(const struct gmem *m, uint64_t gpa)
{
	for (unsigned i = 0; i < m->n; i++)
		if (gpa - m->region[i].gpa < m->region[i].size)
			return &m->region[i];
	return NULL;
}

uint8_t *gmem_at(const struct gmem *m, uint64_t gpa)
{
	const struct gmem_region *r = gmem_region_of(m, gpa);
	return r != NULL ? r->host + (gpa - r->gpa) : NULL;
}

uint64_t gmem_uaddr(const struct gmem *m, uint64_t gpa)
{
	const struct gmem_region *r = gmem_region_of(m, gpa);
	return r != NULL ? r->uaddr + (gpa - r->gpa) : 0;
}

uint32_t gmem_table(const struct gmem *m, struct vu_memory *table, int fds[VU_MAX_FDS])
{
	memset(table, 0, sizeof(*table));
	table->n = m->n;
	for (unsigned i = 0; i < m->n; i++) {
		const struct gmem_region *r = &m->region[i];
		table->region[i] = (struct vu_region){
			.guest_addr = r->gpa, .size = r->size, .user_addr = r->uaddr, .mmap_offset = r->offset};
		fds[i] = r->fd;
	}
	return 8 + m->n * (uint32_t)sizeof(struct vu_region);
}

uint64_t gmem_end(const struct gmem *m)
{
	uint64_t end = 0;
	for (unsigned i = 0; i < m->n; i++)
		if (m->region[i].gpa + m->region[i].size > end)
			end = m->region[i].gpa + m->region[i].size;
	return end;
}
