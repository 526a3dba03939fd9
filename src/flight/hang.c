#include "flight/hang.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef VRINGD_MUTANT_WATCHING // seeded bug
#define QUIET 1000000u
#else
#define QUIET 6u // looks: a thread that wakes again within a second finds us watching
#endif

void hang_reset(struct hang *h)
{
	memset(h, 0, sizeof(*h));
	h->slot = -1;
}

void hang_wake(struct hang *h, uint64_t now_us)
{
	h->watching = true;
	h->quiet = 0;
	h->looked_us = now_us;
}

void hang_hurry(struct hang *h)
{
	h->hurry = HANG_HURRY_FOR;
}

uint64_t hang_due(const struct hang *h, uint64_t since_us)
{
	if (!h->watching && !since_us)
		return 0;
	return (h->looked_us > since_us || h->watching ? h->looked_us : since_us) + HANG_LOOK_US;
}

// Of a thread: its state as /proc has it ('?': it is gone, or can't be seen), and the CPU time that it has used.
static char state_of(pid_t pid, int tid, uint64_t *ran_ns)
{
	char path[64], text[512], *p;
	ssize_t n = -1;
	*ran_ns = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n <= 0)
		return '?';
	text[n] = '\0';
	*ran_ns = strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')');
	return p && p[1] == ' ' && p[2] ? p[2] : '?';
}

// What changes while a thread gets on; 0: it has nothing to do.
static uint64_t key_of(const struct flight_page *f, unsigned slot, uint64_t since_us)
{
	const struct flight_thread *t = &f->thread[slot];
	uint64_t beat = atomic_load(&t->beat);
	if (slot == FLIGHT_CONTROL)
		return since_us ? since_us : atomic_load(&f->hand.doing) == FLIGHT_ADOPTION ? beat | UINT64_C(1) << 63 : 0;
	return atomic_load(&t->awake) ? (atomic_load(&t->at) * UINT64_C(0x9e3779b97f4a7c15) ^ beat) | 1 : 0;
}

bool hang_look(struct hang *h, struct flight_page *f, pid_t pid, uint64_t since_us, uint64_t now_us)
{
	char state[FLIGHT_SLOTS];
	uint64_t ran[FLIGHT_SLOTS];
	bool awake = false, starved = false;
	h->looked_us = now_us;
	h->slot = -1;
	if (atomic_load(&f->dying))
		return ++h->dying >= HANG_DYING_LOOKS;
	for (unsigned i = 0; i < FLIGHT_SLOTS; i++) {
		uint64_t key = key_of(f, i, since_us);
		awake |= key && i != FLIGHT_CONTROL;
		state[i] = ' ';
		if (!key || key != h->thread[i].key) {
			h->thread[i].key = key;
			h->thread[i].looks = 0;
			continue;
		}
		state[i] = state_of(pid, i == FLIGHT_CONTROL ? (int)pid : atomic_load(&f->thread[i].tid), &ran[i]);
		if (h->thread[i].looks++ == 0)
			h->thread[i].ran_ns = ran[i];
		ran[i] -= h->thread[i].ran_ns;
		// it can run and gets less than a fifth of a CPU
		starved |= state[i] == 'R' && ran[i] / 1000 < h->thread[i].looks * HANG_LOOK_US / 5;
	}
	// Others may be waiting for the one that is to blame: it is rather one that runs than one that sleeps, and rather a data thread
	// than the control thread.
	unsigned most = 0, enough = h->hurry ? HANG_HURRY_LOOKS : HANG_LOOKS;
	h->hurry -= h->hurry > 0;
	for (unsigned i = 0; i < FLIGHT_SLOTS; i++) {
		unsigned looks = h->thread[i].looks, rank = 0;
		if (state[i] == 'R' && looks >= enough && ran[i] >= HANG_RAN_MS * UINT64_C(1000000))
			rank = atomic_load(&f->thread[i].awake) == FLIGHT_WAITS ? 1 : 3;
		else if (state[i] != 'R' && state[i] != ' ' && looks >= (state[i] == 'D' ? 5 : 1) * enough && !starved)
			rank = 2;
		if (rank > most) {
			most = rank;
			h->slot = (int)i;
		}
	}
	h->quiet = awake ? 0 : h->quiet + 1;
	if (h->watching && h->quiet >= QUIET) {
		h->watching = false;
		atomic_store(&f->watched, 0);
		for (unsigned i = 0; i < FLIGHT_THREADS; i++) // one that woke before it saw that
			if (atomic_load(&f->thread[i].awake) && !atomic_exchange(&f->watched, 1))
				hang_wake(h, now_us);
	}
	return h->slot >= 0;
}
