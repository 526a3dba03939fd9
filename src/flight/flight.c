#include "flight/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#define FLIGHT_MAGIC UINT64_C(0x31746867696c6676)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

static struct flight_page own; // without a keeper
static struct flight_page *page = &own;
static int bell = -1;

enum err flight_share(int *fd, const char *name, uint64_t magic, size_t bytes, void **map, struct why *why)
{
	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0 || ftruncate(*fd, (off_t)bytes) != 0 || fcntl(*fd, F_ADD_SEALS, SEALS) != 0 ||
	    pwrite(*fd, &magic, sizeof(magic), 0) != (ssize_t)sizeof(magic)) {
		fd_reset(fd);
		return ours(why, "%s: %s", name, strerror(errno));
	}
	enum err e = flight_map(*fd, magic, bytes, true, map, why);
	if (e != OK)
		fd_reset(fd);
	return e;
}

enum err flight_map(int fd, uint64_t magic, size_t bytes, bool writable, void **map, struct why *why)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || (size_t)st.st_size != bytes || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
		return refuse(why, "a shared page of another kind");
	void *p = mmap(NULL, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return ours(why, "mapping a shared page: %s", strerror(errno));
	if (*(const uint64_t *)p != magic) {
		munmap(p, bytes);
		return refuse(why, "a shared page of another kind");
	}
	*map = p;
	return OK;
}

enum err flight_make(int *fd, struct flight_page **out, struct why *why)
{
	void *map;
	enum err e = flight_share(fd, "vringd-flight", FLIGHT_MAGIC, sizeof(struct flight_page), &map, why);
	if (e == OK)
		*out = map;
	return e;
}

enum err flight_keep(int have, int *fd, struct flight_page **out, struct why *why)
{
	void *map;
	*fd = -1;
	if (flight_map(have, FLIGHT_MAGIC, sizeof(struct flight_page), true, &map, why) != OK)
		return flight_make(fd, out, why);
	*out = map;
	return OK;
}

void flight_reset(struct flight_page *p)
{
	uint32_t told = atomic_load(&p->parks_told);
	memset((char *)p + sizeof(p->magic), 0, sizeof(*p) - sizeof(p->magic));
	atomic_store(&p->parks_told, told);
}

enum err flight_use(int fd, int bell_fd, struct why *why)
{
	void *map;
	enum err e = flight_map(fd, FLIGHT_MAGIC, sizeof(struct flight_page), true, &map, why);
	if (e != OK)
		return e;
	page = map;
	bell = bell_fd;
	return OK;
}

struct flight_page *flight_page(void)
{
	return page;
}

void flight_take(enum flight_doing doing, uint64_t conn, uint64_t seq, const char *port)
{
	struct flight_hand *h = &page->hand;
	strncpy(h->port, port, sizeof(h->port) - 1);
	atomic_store_explicit(&h->conn, conn, memory_order_relaxed);
	atomic_store_explicit(&h->seq, seq, memory_order_relaxed);
	atomic_store_explicit(&h->doing, doing, memory_order_release);
	atomic_fetch_add_explicit(&page->thread[FLIGHT_CONTROL].beat, 1, memory_order_relaxed);
}

void flight_done(void)
{
	atomic_store_explicit(&page->hand.doing, FLIGHT_NOTHING, memory_order_release);
}

void flight_port(unsigned index, const char *id)
{
	if (index < FLIGHT_PORTS)
		strncpy(page->port[index], id, FLIGHT_NAME_MAX - 1);
}

void flight_awake(struct flight_thread *t)
{
	uint64_t one = 1;
	atomic_store(&t->awake, 1); // before the look at watched: whoever stops watching looks at awake after that
	if (bell < 0 || atomic_load(&page->watched) || atomic_exchange(&page->watched, 1))
		return;
	ssize_t ignored = write(bell, &one, sizeof(one));
	(void)ignored;
}
