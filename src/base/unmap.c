#include "base/unmap.h"

#include <sys/mman.h>

#include "base/clock.h"

#define SHORT_US 50
#define LONG_US 200
#define MOST ((size_t)1 << 40)

void unmap_begin(struct unmap *u, void *at, size_t len)
{
	*u = (struct unmap){ .from = (uintptr_t)at, .to = (uintptr_t)at + len, .piece = UNMAP_FIRST };
}

size_t unmap_piece(size_t was, uint64_t took_us)
{
	if (took_us < SHORT_US && was < MOST)
		return 2 * was;
	return took_us > LONG_US && was > UNMAP_LEAST ? was / 2 : was;
}

bool unmap_next(struct unmap *u)
{
	size_t left = u->to - u->from, n = u->piece < left ? u->piece : left;
	if (left == 0)
		return false;
	uint64_t from = clock_boot_us();
	if (munmap((void *)u->from, n) != 0) {
		n = left;
		munmap((void *)u->from, n);
	}
	u->from += n;
	u->piece = unmap_piece(u->piece, clock_boot_us() - from);
	return u->from < u->to;
}
