// Chunks of held frames. What a successor needs is in the file: whose a chunk is and its order, from where to where it is
// full. All of it changes by single stores, each of which leaves something whole: see hold.c for their order.
#include "switch/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/eth.h"
#include "switch/dp.h"
#include "switch/hold.h"

#define HELD_MAGIC UINT64_C(0x31646c6568767200)
#define PAGE 4096u
#define MOST (1u << 20) // chunks
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

_Static_assert(sizeof(struct hold_rec) + ETH_MAX + 7 <= HOLD_REC_MAX && sizeof(struct hold_rec) % 8 == 0, "frames in chunks");

struct head {
	uint64_t magic;
	uint32_t n; // chunks
	_Atomic uint32_t high; // the first so many were used at some time
	struct hold_meta meta[];
};

struct held {
	struct head *head;
	uint64_t len;
	uint8_t *bytes; // of the first chunk
	int fd; // a dup; -1: no file
	struct hold_chunk *chunk;
	pthread_mutex_t lock; // of the two lists
	struct hold_chunk *freed, *left; // left: by an earlier process, and not taken over yet
};

static uint64_t bytes_at(uint32_t n)
{
	return (sizeof(struct head) + n * sizeof(struct hold_meta) + PAGE - 1) / PAGE * PAGE;
}

static uint64_t length(uint32_t n)
{
	return bytes_at(n) + (uint64_t)n * HOLD_CHUNK;
}

// A chunk's end may be too short for the next frame; each port may have begun one, and read half of another.
static uint32_t chunks_for(uint64_t total)
{
	uint64_t n = total / (HOLD_CHUNK - HOLD_REC_MAX) + 2 * DP_MAX_PORTS + 2;
	return n < MOST ? (uint32_t)n : MOST;
}

enum err held_make(int *out, uint64_t total, struct why *why)
{
	int fd = memfd_create("vringd-held", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct head head = { .magic = HELD_MAGIC, .n = chunks_for(total) };
	if (fd < 0 || ftruncate(fd, (off_t)length(head.n)) != 0 || pwrite(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		int error = errno;
		fd_reset(&fd);
		return ours(why, "memory for held frames: %s", strerror(error));
	}
	*out = fd;
	return OK;
}

// Chunks that an earlier process used.
static void find_left(struct held *m)
{
	uint32_t high = atomic_load(&m->head->high);
	for (uint32_t i = 0; i < high && i < m->head->n; i++) {
		struct hold_chunk *c = &m->chunk[i];
		struct hold_chunk **to = atomic_load(&m->head->meta[i].place) ? &m->left : &m->freed;
		c->next = *to;
		*to = c;
	}
}

static enum err map(struct held *m, int fd, uint64_t total, struct why *why)
{
	struct stat st = { 0 };
	struct head head = { .n = chunks_for(total) };
	if (fd >= 0 && (fstat(fd, &st) != 0 || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS ||
			pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.magic != HELD_MAGIC || head.n == 0 ||
			head.n > MOST || length(head.n) != (uint64_t)st.st_size))
		return refuse(why, "held frames: the descriptor is no memory of this version's");
	m->len = length(head.n);
	m->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	int flags = MAP_NORESERVE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	void *p = fd >= 0 && m->fd < 0 ? MAP_FAILED : mmap(NULL, m->len, PROT_READ | PROT_WRITE, flags, m->fd, 0);
	m->head = p == MAP_FAILED ? NULL : p;
	m->chunk = calloc(head.n, sizeof(*m->chunk));
	if (!m->head || !m->chunk)
		return ours(why, "no memory for held frames");
	madvise(m->head, m->len, MADV_DONTDUMP); // other people's frames, and hundreds of megabytes
	m->head->n = head.n;
	m->bytes = (uint8_t *)m->head + bytes_at(head.n);
	find_left(m);
	return OK;
}

enum err held_open(struct held **out, int fd, uint64_t total, struct why *why)
{
	struct held *m = calloc(1, sizeof(*m));
	if (!m)
		return ours(why, "no memory for held frames");
	m->fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	enum err e = map(m, fd, total, why);
	if (e == OK)
		*out = m;
	else
		held_close(m);
	return e;
}

void held_close(struct held *m)
{
	if (!m)
		return;
	if (m->head)
		munmap(m->head, m->len);
	fd_reset(&m->fd);
	pthread_mutex_destroy(&m->lock);
	free(m->chunk);
	free(m);
}

// -- for hold.c -----------------------------------------------------------------------------------------------------------

struct hold_meta *held_meta(struct held *m, const struct hold_chunk *c)
{
	return &m->head->meta[c - m->chunk];
}

uint8_t *held_bytes(struct held *m, const struct hold_chunk *c)
{
	return m->bytes + (uint64_t)(c - m->chunk) * HOLD_CHUNK;
}

static void give_back(struct held *m, struct hold_chunk *c)
{
	atomic_store(&held_meta(m, c)->place, 0);
	if (m->fd >= 0)
		fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, held_bytes(m, c) - (uint8_t *)m->head, HOLD_CHUNK);
	else
		madvise(held_bytes(m, c), HOLD_CHUNK, MADV_DONTNEED);
}

void held_free(struct held *m, struct hold_chunk *c)
{
	give_back(m, c);
	pthread_mutex_lock(&m->lock);
	c->next = m->freed;
	m->freed = c;
	pthread_mutex_unlock(&m->lock);
}

struct hold_chunk *held_new(struct held *m, uint64_t place)
{
	struct hold_chunk *c = NULL;
	pthread_mutex_lock(&m->lock);
	uint32_t high = atomic_load(&m->head->high);
	if (m->freed) {
		c = m->freed;
		m->freed = c->next;
	} else if (high < m->head->n) {
		c = &m->chunk[high];
		atomic_store(&m->head->high, high + 1);
	} else if (m->left) { // nobody has asked for it
		c = m->left;
		m->left = c->next;
		give_back(m, c);
	}
	pthread_mutex_unlock(&m->lock);
	if (!c)
		return NULL;
	c->next = NULL;
	c->read = 0;
	atomic_store(&held_meta(m, c)->read, 0);
	atomic_store(&held_meta(m, c)->write, 0);
	atomic_store(&held_meta(m, c)->place, place); // from here on it is found
	return c;
}

// Frames of a chunk that make sense; the first that does not ends it.
static void check(struct held *m, struct hold_chunk *c)
{
	struct hold_meta *meta = held_meta(m, c);
	uint32_t at = atomic_load(&meta->read), end = atomic_load(&meta->write);
	if (at % 8 != 0 || end > HOLD_CHUNK || at > end)
		at = end = 0;
	c->read = at;
	while (at < end) {
		const struct hold_rec *r = (const void *)(held_bytes(m, c) + at);
		if (end - at < sizeof(*r) || r->len < ETH_MIN || r->len > ETH_MAX || hold_rec_size(r->len) > end - at)
			break;
		at += hold_rec_size(r->len);
	}
	atomic_store(&meta->read, c->read);
	atomic_store(&meta->write, at);
}

struct hold_chunk *held_left(struct held *m, uint16_t owner)
{
	struct hold_chunk *mine = NULL;
	pthread_mutex_lock(&m->lock);
	for (struct hold_chunk **p = &m->left; *p;) {
		struct hold_chunk *c = *p;
		uint64_t place = atomic_load(&held_meta(m, c)->place);
		if (hold_owner(place) != owner) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		check(m, c);
		struct hold_chunk **to = &mine; // by their order
		while (*to && atomic_load(&held_meta(m, *to)->place) < place)
			to = &(*to)->next;
		c->next = *to;
		*to = c;
	}
	pthread_mutex_unlock(&m->lock);
	return mine;
}
