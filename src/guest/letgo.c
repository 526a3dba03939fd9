#include "guest/letgo.h"

#include <sys/mman.h>

#include "base/unmap.h"

#define MOST 64 // mappings; a front end that has more of them on their way waits for them itself

static struct {
	struct unmap of[MOST];
	unsigned first, n;
	letgo_fn *ask;
	void *arg;
} out;

void letgo_ask(letgo_fn *fn, void *arg)
{
	out.ask = fn;
	out.arg = arg;
}

void letgo(void *at, size_t len)
{
	if (!out.ask || len < UNMAP_LARGE || out.n == MOST) {
		munmap(at, len);
		return;
	}
	unmap_begin(&out.of[(out.first + out.n++) % MOST], at, len);
	if (out.n == 1)
		out.ask(out.arg);
}

bool letgo_some(void)
{
	if (out.n && !unmap_next(&out.of[out.first])) {
		out.first = (out.first + 1) % MOST;
		out.n--;
	}
	return out.n != 0;
}
