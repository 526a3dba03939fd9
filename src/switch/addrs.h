// Which IP addresses were seen behind which MAC of a net (ARP and ND snooped): what announcements speak of. Taken under a
// mutex by data threads, for ARP and ND frames only.
#ifndef SWITCH_ADDRS_H
#define SWITCH_ADDRS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/neigh.h"

#define ADDRS_PER_MAC 8
#define ADDRS_MAX_MACS 16384u

struct addrs_entry {
	uint64_t key; // fdb_key
	uint8_t n, next; // next: which one is replaced when all are taken (the oldest)
	struct ip_addr ip[ADDRS_PER_MAC];
};

struct addrs {
	pthread_mutex_t lock;
	struct addrs_entry *entry; // by key, ascending
	unsigned n, room;
};

void addrs_init(struct addrs *a);
void addrs_fini(struct addrs *a);
// True if this was news. Out of memory or over the limit: false, nothing is entered.
bool addrs_add(struct addrs *a, uint64_t key, const struct ip_addr *ip);
unsigned addrs_get(struct addrs *a, uint64_t key, struct ip_addr out[ADDRS_PER_MAC]);
void addrs_forget(struct addrs *a, uint64_t key);

#endif
