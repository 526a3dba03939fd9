#include "base/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define LEASE_MAGIC UINT64_C(0x3165736165727676)
#define LEASE_BYTES 4096u
#define LOOK_US 5000u
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

struct lease_page {
	uint64_t magic;
	struct {
		pthread_mutex_t lock;
		_Atomic int pid; // of who took it last: for telling only
	} slot[LEASE_SLOTS];
};
_Static_assert(sizeof(struct lease_page) <= LEASE_BYTES, "one page");

static void *map(int fd)
{
	void *p = mmap(NULL, LEASE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static bool init(struct lease_page *page)
{
	pthread_mutexattr_t a;
	bool ok = pthread_mutexattr_init(&a) == 0;
	ok = ok && pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED) == 0 &&
	     pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) == 0 &&
	     pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK) == 0;
	for (unsigned i = 0; ok && i < LEASE_SLOTS; i++)
		ok = pthread_mutex_init(&page->slot[i].lock, &a) == 0;
	page->magic = LEASE_MAGIC;
	return ok;
}

enum err lease_make(int *out, struct why *why)
{
	int fd = memfd_create("vringd-lease", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct lease_page *page = fd >= 0 && ftruncate(fd, LEASE_BYTES) == 0 ? map(fd) : NULL;
	bool ok = page && init(page) && fcntl(fd, F_ADD_SEALS, SEALS) == 0;
	int error = errno;
	if (page)
		munmap(page, LEASE_BYTES);
	if (!ok) {
		fd_reset(&fd);
		return ours(why, "lease page: %s", strerror(error));
	}
	*out = fd;
	return OK;
}

enum err lease_open(struct lease **out, int fd, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size != LEASE_BYTES || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
		return refuse(why, "lease: the descriptor is no lease page");
	struct lease *l = calloc(1, sizeof(*l));
	if (!l)
		return ours(why, "no memory for the lease");
	l->page = map(fd);
	if (!l->page || l->page->magic != LEASE_MAGIC) {
		enum err e = l->page ? refuse(why, "lease: the descriptor is no lease page") :
				       ours(why, "lease page: %s", strerror(errno));
		if (l->page)
			munmap(l->page, LEASE_BYTES);
		free(l);
		return e;
	}
	*out = l;
	return OK;
}

void lease_close(struct lease *l)
{
	if (!l)
		return;
	if (atomic_load(&l->mine[LEASE_CONTROL]))
		lease_give(l, LEASE_CONTROL);
	munmap(l->page, LEASE_BYTES);
	free(l);
}

// What a lock function said. EOWNERDEAD: the holder died, and the slot is ours; there is nothing to repair, what it did to
// a ring is found out at the ring.
static bool got(struct lease *l, unsigned slot, int said)
{
	return said == 0 || (said == EOWNERDEAD && pthread_mutex_consistent(&l->page->slot[slot].lock) == 0);
}

static void hold(struct lease *l, unsigned slot)
{
	atomic_store(&l->page->slot[slot].pid, (int)getpid());
	atomic_store(&l->mine[slot], true);
}

static void nap(unsigned us)
{
	struct timespec t = { 0, (long)us * 1000 };
	nanosleep(&t, NULL);
}

bool lease_take(struct lease *l, unsigned slot, const _Atomic bool *stop)
{
	// looked at again and again instead of waited for: the wait would need a deadline as well, and is as good as never needed
	unsigned us = 100;
	while (!stop || !atomic_load(stop)) {
		int said = pthread_mutex_trylock(&l->page->slot[slot].lock);
		if (got(l, slot, said)) {
			hold(l, slot);
			return true;
		}
		if (said != EBUSY)
			return false;
		nap(us);
		us = us < LOOK_US ? us * 2 : LOOK_US;
	}
	return false;
}

void lease_give(struct lease *l, unsigned slot)
{
	atomic_store(&l->mine[slot], false);
	pthread_mutex_unlock(&l->page->slot[slot].lock);
}

// Does another process hold it? The control thread's own slot is kept.
static bool held(struct lease *l, unsigned slot)
{
	if (atomic_load(&l->mine[slot]))
		return false;
	if (!got(l, slot, pthread_mutex_trylock(&l->page->slot[slot].lock)))
		return !atomic_load(&l->mine[slot]); // may have become ours meanwhile
	if (slot == LEASE_CONTROL)
		hold(l, slot);
	else
		pthread_mutex_unlock(&l->page->slot[slot].lock);
	return false;
}

static void who(const struct lease *l, const bool left[LEASE_SLOTS], char *text, size_t room)
{
	size_t n = 0;
	for (unsigned i = 0; i < LEASE_SLOTS && n < room; i++) {
		char name[24];
		if (!left[i])
			continue;
		snprintf(name, sizeof(name), i == LEASE_CONTROL ? "the control thread" : "data thread %u", i);
		int m = snprintf(text + n, room - n, "%s%s of pid %d", n ? ", " : "", name, atomic_load(&l->page->slot[i].pid));
		n += m > 0 ? (size_t)m : room;
	}
}

enum err lease_await_all(struct lease *l, unsigned deadline_ms, struct why *why)
{
	bool left[LEASE_SLOTS];
	uint64_t end = clock_boot_us() + (uint64_t)deadline_ms * 1000;
	for (;;) {
		bool any = false;
		for (unsigned i = 0; i < LEASE_SLOTS; i++) {
			left[i] = held(l, i);
			any = any || left[i];
		}
		if (!any)
			return OK;
		if (clock_boot_us() >= end)
			break;
		nap(500);
	}
	char text[WHY_MAX - 40];
	who(l, left, text, sizeof(text));
	return ours(why, "rings are still held by %s", text);
}
