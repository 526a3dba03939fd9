// The jobs stay in their slots. A heap of slot numbers orders them by (due, order of arrival), chains of slot numbers find
// them by (port, MAC): so many thousand jobs that are due at one moment cost no more than the sending of their frames.
#include "announce/announce.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct slot {
	char port[ANNOUNCE_PORT_MAX]; // "": free
	uint8_t mac[6];
	uint32_t done; // rounds that are sent, below ANNOUNCE_ROUNDS
	uint32_t heap_at;
	uint32_t next; // in its chain, or in the chain of free slots
	uint64_t due_us;
	uint64_t order; // equal due times go round about: first come, first served
};

struct announce {
	uint32_t n, max;
	uint32_t chain_mask;
	uint32_t first_free;
	uint64_t orders;
	struct slot *slot; // max
	uint32_t *heap; // max, n in use
	uint32_t *chain; // chain_mask + 1
};

struct announce *announce_new(unsigned max_jobs)
{
	if (max_jobs > UINT32_MAX / 4)
		return NULL;
	struct announce *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	uint32_t chains = 1;
	while (chains < max_jobs)
		chains *= 2;
	a->max = max_jobs;
	a->chain_mask = chains - 1;
	a->slot = calloc((size_t)max_jobs + 1, sizeof(a->slot[0]));
	a->heap = calloc((size_t)max_jobs + 1, sizeof(a->heap[0]));
	a->chain = calloc(chains, sizeof(a->chain[0]));
	if (!a->slot || !a->heap || !a->chain) {
		announce_free(a);
		return NULL;
	}
	for (uint32_t i = 0; i < chains; i++)
		a->chain[i] = NONE;
	for (uint32_t i = 0; i < max_jobs; i++)
		a->slot[i].next = i + 1 < max_jobs ? i + 1 : NONE;
	a->first_free = max_jobs ? 0 : NONE;
	return a;
}

void announce_free(struct announce *a)
{
	if (!a)
		return;
	free(a->chain);
	free(a->heap);
	free(a->slot);
	free(a);
}

// -- the heap ----------------------------------------------------------------------------------------------------------

static bool heap_before(const struct announce *a, uint32_t x, uint32_t y)
{
	const struct slot *s = &a->slot[x], *t = &a->slot[y];
	return s->due_us != t->due_us ? s->due_us < t->due_us : s->order < t->order;
}

static void heap_put(struct announce *a, uint32_t at, uint32_t slot)
{
	a->heap[at] = slot;
	a->slot[slot].heap_at = at;
}

// Move what stands at `at` to where it belongs.
static void heap_settle(struct announce *a, uint32_t at)
{
	uint32_t slot = a->heap[at];
	while (at > 0 && heap_before(a, slot, a->heap[(at - 1) / 2])) {
		heap_put(a, at, a->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (uint32_t child = 2 * at + 1; child < a->n; child = 2 * at + 1) {
		if (child + 1 < a->n && heap_before(a, a->heap[child + 1], a->heap[child]))
			child++;
		if (!heap_before(a, a->heap[child], slot))
			break;
		heap_put(a, at, a->heap[child]);
		at = child;
	}
	heap_put(a, at, slot);
}

// -- the chains --------------------------------------------------------------------------------------------------------

static uint32_t *chain_of(const struct announce *a, const char *port, const uint8_t mac[6])
{
	uint32_t h = 2166136261u; // FNV-1a
	for (; *port; port++)
		h = (h ^ (uint8_t)*port) * 16777619u;
	for (int i = 0; i < 6; i++)
		h = (h ^ mac[i]) * 16777619u;
	return &a->chain[(h ^ h >> 16) & a->chain_mask];
}

static struct slot *slot_find(const struct announce *a, const char *port, const uint8_t mac[6])
{
	for (uint32_t i = *chain_of(a, port, mac); i != NONE; i = a->slot[i].next)
		if (memcmp(a->slot[i].mac, mac, 6) == 0 && strcmp(a->slot[i].port, port) == 0)
			return &a->slot[i];
	return NULL;
}

static void slot_end(struct announce *a, struct slot *s)
{
	uint32_t index = (uint32_t)(s - a->slot), at = s->heap_at;
	uint32_t *link = chain_of(a, s->port, s->mac);
	while (*link != index)
		link = &a->slot[*link].next;
	*link = s->next;
	s->port[0] = '\0';
	s->next = a->first_free;
	a->first_free = index;
	if (at != --a->n) { // the last of the heap takes its place
		heap_put(a, at, a->heap[a->n]);
		heap_settle(a, at);
	}
}

// -- schedules ---------------------------------------------------------------------------------------------------------

static bool announce_add(struct announce *a, const char *port, const uint8_t mac[6], uint32_t done, uint64_t due_us,
			 bool *full)
{
	size_t len = strlen(port);
	if (full)
		*full = false;
	if (len == 0 || len >= ANNOUNCE_PORT_MAX || done >= ANNOUNCE_ROUNDS || slot_find(a, port, mac))
		return false;
	if (a->n == a->max) {
		if (full)
			*full = true;
		return false;
	}
	uint32_t index = a->first_free;
	struct slot *s = &a->slot[index];
	uint32_t *chain = chain_of(a, port, mac);
	a->first_free = s->next;
	*s = (struct slot){ .done = done, .next = *chain, .due_us = due_us, .order = a->orders++ };
	memcpy(s->port, port, len + 1);
	memcpy(s->mac, mac, sizeof(s->mac));
	*chain = index;
	heap_put(a, a->n, index);
	heap_settle(a, a->n++);
	return true;
}

bool announce_start(struct announce *a, const char *port, const uint8_t mac[6], uint64_t now_us, bool *full)
{
	return announce_add(a, port, mac, 0, now_us, full);
}

bool announce_resume(struct announce *a, const char *port, const uint8_t mac[6], uint32_t rounds_done, uint64_t due_us)
{
	return announce_add(a, port, mac, rounds_done, due_us, NULL);
}

void announce_cancel(struct announce *a, const char *port, const uint8_t *mac_or_null)
{
	if (mac_or_null) {
		struct slot *s = slot_find(a, port, mac_or_null);
		if (s)
			slot_end(a, s);
		return;
	}
	for (uint32_t i = 0; i < a->max; i++)
		if (a->slot[i].port[0] && strcmp(a->slot[i].port, port) == 0)
			slot_end(a, &a->slot[i]);
}

uint64_t announce_next_due(const struct announce *a)
{
	if (a->n == 0)
		return 0;
	uint64_t due = a->slot[a->heap[0]].due_us;
	return due ? due : 1; // 0 says "nothing"
}

// When the round after `done` rounds is due, the last one of them having been due at due_us and taken at now_us.
static uint64_t due_after(uint32_t done, uint64_t due_us, uint64_t now_us)
{
	uint64_t interval = ANNOUNCE_INITIAL_US + (uint64_t)(done - 1) * ANNOUNCE_STEP_US;
	if (interval > ANNOUNCE_MAX_US)
		interval = ANNOUNCE_MAX_US;
	// A little late shifts nothing. So late that the next one is overdue, too: what is owed must not go out as one burst.
	uint64_t due = due_us + interval;
	return due > now_us ? due : now_us + ANNOUNCE_INITIAL_US;
}

bool announce_take_due(struct announce *a, uint64_t now_us, struct announce_job *job)
{
	if (a->n == 0 || a->slot[a->heap[0]].due_us > now_us)
		return false;
	struct slot *s = &a->slot[a->heap[0]];
	s->done++;
	*job = (struct announce_job){ .round = s->done, .rounds = ANNOUNCE_ROUNDS };
	memcpy(job->port, s->port, sizeof(job->port));
	memcpy(job->mac, s->mac, sizeof(job->mac));
	if (s->done == ANNOUNCE_ROUNDS) {
		slot_end(a, s);
		return true;
	}
	s->due_us = job->next_due_us = due_after(s->done, s->due_us, now_us);
	s->order = a->orders++;
	heap_settle(a, 0);
	return true;
}

bool announce_running(const struct announce *a, const char *port, const uint8_t mac[6])
{
	return slot_find(a, port, mac) != NULL;
}
