#include "switch/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "switch/dp_int.h"

#define COUNTERS_MAGIC UINT64_C(0x31737265746e7563)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

struct page { // whose counters are whose lies together in front
	uint64_t magic;
	struct {
		_Atomic uint32_t live; // the id is there; 0: free
		char id[DP_NAME_MAX];
	} port[DP_MAX_PORTS];
	struct port_counters of[DP_MAX_PORTS];
};

struct counters {
	struct page *page;
	bool used[DP_MAX_PORTS]; // by a port of this process; what is live and not used was left by an earlier one
	bool leaving;
};

enum err counters_make(int *out, struct why *why)
{
	int fd = memfd_create("vringd-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t magic = COUNTERS_MAGIC;
	if (fd < 0 || ftruncate(fd, sizeof(struct page)) != 0 || pwrite(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		int error = errno;
		fd_reset(&fd);
		return ours(why, "counters: %s", strerror(error));
	}
	*out = fd;
	return OK;
}

static struct page *map(int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	void *p = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p != MAP_FAILED)
		madvise(p, sizeof(struct page), MADV_DONTDUMP); // a core would give memory to all of it
	return p == MAP_FAILED ? NULL : p;
}

enum err counters_open(struct counters **out, int fd, struct why *why)
{
	struct stat st;
	if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_size != sizeof(struct page) || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS))
		return refuse(why, "counters: the descriptor is no page of this version's");
	struct counters *c = calloc(1, sizeof(*c));
	if (c)
		c->page = map(fd);
	if (!c || !c->page) {
		free(c);
		return ours(why, "no memory for counters");
	}
	if (fd >= 0 && c->page->magic != COUNTERS_MAGIC) {
		counters_close(c);
		return refuse(why, "counters: the descriptor is no page of this version's");
	}
	*out = c;
	return OK;
}

void counters_close(struct counters *c)
{
	if (!c)
		return;
	munmap(c->page, sizeof(struct page));
	free(c);
}

void counters_leave(struct counters *c)
{
	c->leaving = true;
}

static bool is_of(const struct counters *c, unsigned i, const char *id)
{
	return atomic_load(&c->page->port[i].live) && strncmp(c->page->port[i].id, id, DP_NAME_MAX) == 0;
}

// The best place for a port that has none: a free one, else one that an earlier process left to nobody.
static unsigned vacant(const struct counters *c)
{
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		if (!c->used[i] && !atomic_load(&c->page->port[i].live))
			return i;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		if (!c->used[i])
			return i;
	return DP_MAX_PORTS;
}

struct port_counters *counters_take(struct counters *c, const char *id, uint16_t *number, bool *went_on)
{
	unsigned i = 0;
	while (i < DP_MAX_PORTS && !(is_of(c, i, id) && !c->used[i]))
		i++;
	*went_on = i != DP_MAX_PORTS;
	if (i == DP_MAX_PORTS) {
		i = vacant(c);
		if (i == DP_MAX_PORTS)
			return NULL;
		atomic_store(&c->page->port[i].live, 0);
		memset(&c->page->of[i], 0, sizeof(c->page->of[i]));
		memset(c->page->port[i].id, 0, DP_NAME_MAX);
		strncpy(c->page->port[i].id, id, DP_NAME_MAX - 1);
		atomic_store(&c->page->port[i].live, 1);
	}
	c->used[i] = true;
	*number = (uint16_t)i;
	return &c->page->of[i];
}

void counters_drop(struct counters *c, unsigned number)
{
	if (!c->leaving)
		atomic_store(&c->page->port[number].live, 0);
	c->used[number] = false;
}

bool counters_left(const struct counters *c)
{
	return c->leaving;
}
