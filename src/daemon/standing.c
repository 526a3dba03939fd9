#include "daemon/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define MAGIC UINT64_C(0x31676e69646e6174)
#define MOST 512u // connections at a time: 256 ports, two sessions each
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

struct page {
	uint64_t magic;
	struct standing of[MOST]; // epoch 0: free
};

struct standings {
	struct page *page;
};

enum err standings_make(int *out, struct why *why)
{
	int fd = memfd_create("vringd-standing", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t magic = MAGIC;
	if (fd < 0 || ftruncate(fd, sizeof(struct page)) != 0 || pwrite(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		int error = errno;
		fd_reset(&fd);
		return ours(why, "standings: %s", strerror(error));
	}
	*out = fd;
	return OK;
}

enum err standings_open(struct standings **out, int fd, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size != sizeof(struct page) || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
		return refuse(why, "standings: the descriptor is none of this version's");
	struct standings *s = calloc(1, sizeof(*s));
	void *p = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!s || p == MAP_FAILED) {
		free(s);
		return ours(why, "standings: no memory");
	}
	s->page = p;
	*out = s;
	return OK;
}

void standings_close(struct standings *s)
{
	if (s)
		munmap(s->page, sizeof(struct page));
	free(s);
}

static struct standing *find(struct standings *s, uint64_t epoch)
{
	for (unsigned i = 0; s && i < MOST; i++)
		if (s->page->of[i].epoch == epoch)
			return &s->page->of[i];
	return NULL;
}

struct standing *standings_of(struct standings *s, uint64_t epoch)
{
	struct standing *st = find(s, epoch);
	if (st)
		return st;
	st = find(s, 0);
	if (st)
		*st = (struct standing){ .epoch = epoch };
	return st;
}

void standings_drop(struct standings *s, uint64_t epoch)
{
	struct standing *st = epoch ? find(s, epoch) : NULL;
	if (st)
		st->epoch = 0;
}

void standings_keep_only(struct standings *s, const uint64_t *epochs, unsigned n)
{
	for (unsigned i = 0; s && i < MOST; i++) {
		bool keep = false;
		for (unsigned k = 0; k < n; k++)
			keep = keep || epochs[k] == s->page->of[i].epoch;
		if (!keep)
			s->page->of[i].epoch = 0;
	}
}
