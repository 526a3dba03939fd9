// The dirty log as a migration source has it: on and off on running rings, each word exchanged with zero now and then.
#include <sys/mman.h>
#include <unistd.h>

#include "load/inner.h"

static bool open_log(struct load_harvest *h, const struct fe *fe, char why[LOAD_WHY])
{
	h->bytes = (gmem_end(fe->mem) / GMEM_PAGE / 64 + 1) * 8;
	h->fd = memfd_create("log", MFD_CLOEXEC);
	if (h->fd < 0 || ftruncate(h->fd, (off_t)h->bytes) != 0)
		return load_fail(why, "no memory for a log: %m");
	h->words = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	if (h->words != MAP_FAILED)
		return true;
	h->words = NULL;
	return load_fail(why, "no memory for a log: %m");
}

bool load_log(struct load *l, bool on, char why[LOAD_WHY])
{
	for (unsigned s = 0; s < l->n_sides; s++) {
		struct load_harvest *h = &l->log[s];
		struct fe *fe = l->side[s].fe;
		if (on == h->on)
			continue;
		if (on && h->fd < 0 && !open_log(h, fe, why))
			return false;
		if ((on ? fe_log_start(fe, h->fd, h->bytes, 0) : fe_log_stop(fe)) != FE_OK)
			return load_fail(why, "logging: %.150s", fe->err_text);
		h->on = on;
	}
	return true;
}

void load_harvest_run(struct load *l, uint64_t now_us)
{
	for (unsigned s = 0; s < l->n_sides; s++) {
		struct load_harvest *h = &l->log[s];
		if (!h->on || now_us < h->next_us)
			continue;
		h->next_us = now_us + l->conf.harvest_ms * UINT64_C(1000);
		// guest memory begins at 4 GiB: what lies below has no bits
		for (uint64_t i = l->side[s].fe->mem->region[0].gpa / GMEM_PAGE / 64; i < h->bytes / 8; i++)
			if (__atomic_load_n(&h->words[i], __ATOMIC_RELAXED))
				h->pages += (unsigned)__builtin_popcountll(__atomic_exchange_n(&h->words[i], 0, __ATOMIC_SEQ_CST));
	}
}
