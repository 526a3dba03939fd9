#include "guest/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define LEDGER_MAGIC UINT64_C(0x3172656764656c76)
#define PAGE 4096u
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

struct block {
	struct pring_ledger ring[LEDGER_RINGS];
} __attribute__((aligned(PAGE)));

struct page { // whose block is whose lies together in front: to look for one touches no block
	uint64_t magic;
	_Atomic uint64_t epoch[LEDGER_BLOCKS]; // 0: free
	struct block block[LEDGER_BLOCKS];
};

struct ledgers {
	struct page *page;
	int fd; // a dup
};

void pring_forget(struct pring_ledger *l)
{
	if (l)
		atomic_store(&l->live, 0);
}

bool pring_told(const struct pring_ledger *l, uint32_t num, uint32_t *base)
{
	if (!l || num == 0 || atomic_load(&l->live) != num)
		return false;
	uint32_t half = atomic_load(&l->state) >> 16;
	*base = half * 0x10001u;
	return (half & 0x7fff) < num;
}

static struct page *map(int fd)
{
	void *p = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		madvise(p, sizeof(struct page), MADV_DONTDUMP); // a core would give memory to all of it
	return p == MAP_FAILED ? NULL : p;
}

enum err ledgers_make(int *out, struct why *why)
{
	int fd = memfd_create("vringd-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t magic = LEDGER_MAGIC;
	if (fd < 0 || ftruncate(fd, sizeof(struct page)) != 0 || pwrite(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		int error = errno;
		fd_reset(&fd);
		return ours(why, "ring ledgers: %s", strerror(error));
	}
	*out = fd;
	return OK;
}

enum err ledgers_open(struct ledgers **out, int fd, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size != sizeof(struct page) || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
		return refuse(why, "ring ledgers: the descriptor is none");
	struct ledgers *l = calloc(1, sizeof(*l));
	if (!l)
		return ours(why, "no memory for ring ledgers");
	l->page = map(fd);
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!l->page || l->fd < 0 || l->page->magic != LEDGER_MAGIC) {
		enum err e = l->page && l->fd >= 0 ? refuse(why, "ring ledgers: the descriptor is none") :
						     ours(why, "ring ledgers: %s", strerror(errno));
		ledgers_close(l);
		return e;
	}
	*out = l;
	return OK;
}

void ledgers_close(struct ledgers *l)
{
	if (!l)
		return;
	if (l->page)
		munmap(l->page, sizeof(struct page));
	fd_reset(&l->fd);
	free(l);
}

// Zeroes, and no memory.
static bool clear(struct ledgers *l, unsigned i)
{
	off_t at = (off_t)offsetof(struct page, block) + (off_t)(i * sizeof(struct block));
	return fallocate(l->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, sizeof(struct block)) == 0;
}

// LEDGER_BLOCKS: there is none.
static unsigned find(const struct ledgers *l, uint64_t epoch)
{
	unsigned i = 0;
	while (i < LEDGER_BLOCKS && atomic_load(&l->page->epoch[i]) != epoch)
		i++;
	return i;
}

struct pring_ledger *ledgers_of(struct ledgers *l, uint64_t epoch)
{
	if (!l || epoch == 0)
		return NULL;
	unsigned i = find(l, epoch);
	if (i == LEDGER_BLOCKS) {
		i = find(l, 0);
		if (i == LEDGER_BLOCKS || !clear(l, i)) // also if it was cleared: a worker may have died before it was
			return NULL;
		atomic_store(&l->page->epoch[i], epoch);
	}
	return l->page->block[i].ring;
}

static void drop(struct ledgers *l, unsigned i)
{
	atomic_store(&l->page->epoch[i], 0);
	clear(l, i); // for the memory's sake
}

void ledgers_drop(struct ledgers *l, uint64_t epoch)
{
	unsigned i = l && epoch != 0 ? find(l, epoch) : LEDGER_BLOCKS;
	if (i != LEDGER_BLOCKS)
		drop(l, i);
}

void ledgers_keep_only(struct ledgers *l, const uint64_t *epochs, unsigned n)
{
	for (unsigned i = 0; l && i < LEDGER_BLOCKS; i++) {
		uint64_t e = atomic_load(&l->page->epoch[i]);
		bool keep = false;
		for (unsigned k = 0; k < n; k++)
			keep = keep || epochs[k] == e;
		if (e != 0 && !keep)
			drop(l, i);
	}
}
