// Records in an array, in two chains each: of its address (with the VLAN) and of its key. Numbers of records are kept plus one, so
// that 0 says "none" and a fresh page of zeros is right.
#include "switch/addrs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CHAINS 32768u
#define SLICE 1024u

struct addrs_rec {
	uint64_t key; // 0: free
	uint64_t order; // of its claim
	uint32_t next_ip, next_mac; // free records: next_ip
	uint16_t port;
	struct ip_addr ip;
};

bool addrs_init(struct addrs *a)
{
	memset(a, 0, sizeof(*a));
	a->rec = calloc(ADDRS_MAX, sizeof(*a->rec));
	a->by_ip = calloc(CHAINS, sizeof(*a->by_ip));
	a->by_mac = calloc(CHAINS, sizeof(*a->by_mac));
	if (getrandom(&a->seed, sizeof(a->seed), GRND_NONBLOCK) != (ssize_t)sizeof(a->seed))
		a->seed = (uint64_t)(uintptr_t)a->rec; // chains that a guest can guess are long ones at worst
	pthread_mutex_init(&a->lock, NULL);
	if (a->rec && a->by_ip && a->by_mac)
		return true;
	addrs_fini(a);
	return false;
}

void addrs_fini(struct addrs *a)
{
	free(a->by_mac);
	free(a->by_ip);
	free(a->rec);
	pthread_mutex_destroy(&a->lock);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static uint32_t *ip_chain(const struct addrs *a, uint64_t key, const struct ip_addr *ip)
{
	uint64_t half[2];
	memcpy(half, ip->addr, sizeof(half));
	uint64_t h = mix(mix(mix(a->seed, half[0]), half[1]), (key & 0xfff) << 8 | ip->family);
	return &a->by_ip[h >> 40 & (CHAINS - 1)];
}

static uint32_t *mac_chain(const struct addrs *a, uint64_t key)
{
	return &a->by_mac[mix(mix(a->seed, key), 1) >> 40 & (CHAINS - 1)];
}

static struct addrs_rec *at(const struct addrs *a, uint32_t number)
{
	return number ? &a->rec[number - 1] : NULL;
}

static struct addrs_rec *find(const struct addrs *a, uint64_t key, const struct ip_addr *ip)
{
	struct addrs_rec *r = at(a, *ip_chain(a, key, ip));
	while (r && !((r->key & 0xfff) == (key & 0xfff) && ip_equal(&r->ip, ip)))
		r = at(a, r->next_ip);
	return r;
}

static struct addrs_rec *next_of(const struct addrs *a, uint64_t key, const struct addrs_rec *after)
{
	struct addrs_rec *r = at(a, after ? after->next_mac : *mac_chain(a, key));
	while (r && r->key != key)
		r = at(a, r->next_mac);
	return r;
}

static void drop(struct addrs *a, struct addrs_rec *r)
{
	uint32_t number = (uint32_t)(r - a->rec) + 1, *link = ip_chain(a, r->key, &r->ip);
	while (*link != number)
		link = &at(a, *link)->next_ip;
	*link = r->next_ip;
	link = mac_chain(a, r->key);
	while (*link != number)
		link = &at(a, *link)->next_mac;
	*link = r->next_mac;
	a->of_port[r->port]--;
	r->key = 0;
	r->next_ip = a->free;
	a->free = number;
}

static void set_port(struct addrs *a, struct addrs_rec *r, uint16_t port)
{
	a->of_port[r->port]--;
	a->of_port[port]++;
	r->port = port;
}

static bool insert(struct addrs *a, uint64_t key, uint16_t port, const struct ip_addr *ip)
{
	uint32_t number = a->free ? a->free : a->ever < ADDRS_MAX ? a->ever + 1 : 0;
	if (!number || a->of_port[port] >= ADDRS_PER_PORT)
		return false;
	struct addrs_rec *r = at(a, number);
	uint32_t *ips = ip_chain(a, key, ip), *macs = mac_chain(a, key);
	if (number == a->free)
		a->free = r->next_ip;
	else
		a->ever++;
	*r = (struct addrs_rec){ .key = key, .order = ++a->orders, .next_ip = *ips, .next_mac = *macs, .port = port, .ip = *ip };
	*ips = *macs = number;
	a->of_port[port]++;
	return true;
}

// Room for one more of this MAC.
static void make_room(struct addrs *a, uint64_t key)
{
	unsigned n = 0;
	struct addrs_rec *oldest = NULL;
	for (struct addrs_rec *r = next_of(a, key, NULL); r; r = next_of(a, key, r), n++)
		oldest = !oldest || r->order < oldest->order ? r : oldest;
	if (n >= ADDRS_PER_MAC)
		drop(a, oldest);
}

static bool add_locked(struct addrs *a, uint64_t key, uint16_t port, const struct ip_addr *ip, uint32_t now_s)
{
	struct addrs_rec *r = find(a, key, ip);
	if (r && r->key == key) {
		bool news = ip->router != IP_ROUTER_NOT_SAID && ip->router != r->ip.router;
		if (news)
			r->ip.router = ip->router;
		set_port(a, r, port);
		return news;
	}
	bool taken = r != NULL;
	if (r)
		drop(a, r); // the later claim is the true one
	make_room(a, key);
	if (insert(a, key, port, ip))
		return true;
	if (a->swept_s != now_s)
		atomic_store(&a->want_sweep, true);
	return taken;
}

bool addrs_add(struct addrs *a, uint64_t key, uint16_t port, const struct ip_addr *ip, uint32_t now_s)
{
	pthread_mutex_lock(&a->lock);
	bool news = add_locked(a, key, port, ip, now_s);
	pthread_mutex_unlock(&a->lock);
	return news;
}

bool addrs_disown(struct addrs *a, uint64_t key, const struct ip_addr *ip)
{
	pthread_mutex_lock(&a->lock);
	struct addrs_rec *r = find(a, key, ip);
	bool taken = r && r->key != key;
	if (taken)
		drop(a, r);
	pthread_mutex_unlock(&a->lock);
	return taken;
}

unsigned addrs_get(struct addrs *a, uint64_t key, struct ip_addr out[ADDRS_PER_MAC])
{
	unsigned n = 0;
	pthread_mutex_lock(&a->lock);
	for (struct addrs_rec *r = next_of(a, key, NULL); r && n < ADDRS_PER_MAC; r = next_of(a, key, r)) {
		memmove(&out[1], &out[0], n++ * sizeof(out[0])); // a chain begins with the newest
		out[0] = r->ip;
	}
	pthread_mutex_unlock(&a->lock);
	return n;
}

void addrs_move(struct addrs *a, uint64_t key, uint16_t to)
{
	pthread_mutex_lock(&a->lock);
	for (struct addrs_rec *r = next_of(a, key, NULL); r; r = next_of(a, key, r))
		set_port(a, r, to);
	pthread_mutex_unlock(&a->lock);
}

static void settle_one(struct addrs *a, struct addrs_rec *r, uint16_t port, uint16_t gone)
{
	if (port < ADDRS_PORTS)
		set_port(a, r, port);
	else if (gone == ADDRS_ANY || gone == r->port)
		drop(a, r);
}

void addrs_settle(struct addrs *a, addrs_where_fn *where, void *arg, uint16_t gone, uint32_t now_s)
{
	uint32_t end = ADDRS_MAX;
	for (uint32_t i = 0; i < end;) {
		pthread_mutex_lock(&a->lock);
		end = a->ever;
		for (uint32_t stop = i + SLICE; i < end && i < stop; i++)
			if (a->rec[i].key)
				settle_one(a, &a->rec[i], where(arg, a->rec[i].key), gone);
		if (i >= end && gone == ADDRS_ANY) {
			a->swept_s = now_s;
			atomic_store(&a->want_sweep, false);
		}
		pthread_mutex_unlock(&a->lock);
	}
}
