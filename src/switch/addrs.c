#include "switch/addrs.h"

#include <stdlib.h>
#include <string.h>

void addrs_init(struct addrs *a)
{
	memset(a, 0, sizeof(*a));
	pthread_mutex_init(&a->lock, NULL);
}

void addrs_fini(struct addrs *a)
{
	free(a->entry);
	pthread_mutex_destroy(&a->lock);
}

static unsigned lower_bound(const struct addrs *a, uint64_t key)
{
	unsigned lo = 0, hi = a->n;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		if (a->entry[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct addrs_entry *find(struct addrs *a, uint64_t key)
{
	unsigned i = lower_bound(a, key);
	return i < a->n && a->entry[i].key == key ? &a->entry[i] : NULL;
}

static struct addrs_entry *insert(struct addrs *a, uint64_t key)
{
	if (a->n == a->room) {
		unsigned room = a->room ? 2 * a->room : 16;
		if (room > ADDRS_MAX_MACS)
			return NULL;
		struct addrs_entry *e = realloc(a->entry, room * sizeof(*e));
		if (!e)
			return NULL;
		a->entry = e;
		a->room = room;
	}
	unsigned i = lower_bound(a, key);
	memmove(&a->entry[i + 1], &a->entry[i], (a->n - i) * sizeof(a->entry[0]));
	a->n++;
	a->entry[i] = (struct addrs_entry){ .key = key };
	return &a->entry[i];
}

static bool add_locked(struct addrs *a, uint64_t key, const struct ip_addr *ip)
{
	struct addrs_entry *e = find(a, key);
	if (!e)
		e = insert(a, key);
	if (!e)
		return false;
	for (unsigned i = 0; i < e->n; i++)
		if (ip_equal(&e->ip[i], ip))
			return false;
	if (e->n < ADDRS_PER_MAC) {
		e->ip[e->n++] = *ip;
	} else {
		e->ip[e->next] = *ip;
		e->next = (uint8_t)((e->next + 1) % ADDRS_PER_MAC);
	}
	return true;
}

bool addrs_add(struct addrs *a, uint64_t key, const struct ip_addr *ip)
{
	pthread_mutex_lock(&a->lock);
	bool news = add_locked(a, key, ip);
	pthread_mutex_unlock(&a->lock);
	return news;
}

unsigned addrs_get(struct addrs *a, uint64_t key, struct ip_addr out[ADDRS_PER_MAC])
{
	pthread_mutex_lock(&a->lock);
	const struct addrs_entry *e = find(a, key);
	unsigned n = e ? e->n : 0;
	for (unsigned i = 0; i < n; i++)
		out[i] = e->ip[i];
	pthread_mutex_unlock(&a->lock);
	return n;
}

void addrs_forget(struct addrs *a, uint64_t key)
{
	pthread_mutex_lock(&a->lock);
	struct addrs_entry *e = find(a, key);
	if (e) {
		unsigned i = (unsigned)(e - a->entry);
		memmove(e, e + 1, (a->n - i - 1) * sizeof(*e));
		a->n--;
	}
	pthread_mutex_unlock(&a->lock);
}
