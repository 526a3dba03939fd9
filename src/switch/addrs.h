// Which IP addresses were seen behind which MAC of a net (ARP and ND snooped): what announcements speak of. An address of a VLAN
// belongs to one MAC, the last one that claimed it. Taken under a mutex by data threads, for frames that claim an address only;
// nothing is allocated after addrs_init.
#ifndef SWITCH_ADDRS_H
#define SWITCH_ADDRS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/neigh.h"

#define ADDRS_PER_MAC 8u
#define ADDRS_PER_PORT 4096u
#define ADDRS_MAX 32768u // of a net
#define ADDRS_PORTS 256u

struct addrs_rec;

struct addrs {
	pthread_mutex_t lock;
	struct addrs_rec *rec; // ADDRS_MAX; pages that are not used are not there
	uint32_t *by_ip, *by_mac; // chains
	uint32_t free, ever; // chain of free records; how many were ever used
	uint64_t orders, seed;
	uint16_t of_port[ADDRS_PORTS];
	uint32_t swept_s; // when it looked for room last
	_Atomic bool want_sweep; // no room: the control thread should call addrs_settle
};

bool addrs_init(struct addrs *a); // false: no memory
void addrs_fini(struct addrs *a);
// key (an fdb_key) behind port claims ip. Whoever had it before, in the key's VLAN, has it no more; of a MAC with
// ADDRS_PER_MAC of them the oldest goes. What ip says of routers is kept, if it says anything. True if this was news. No
// room (of the port, or at all): nothing is entered.
bool addrs_add(struct addrs *a, uint64_t key, uint16_t port, const struct ip_addr *ip, uint32_t now_s);
// The claim of somebody who is not known to the database: only takes it from another MAC. True if it did.
bool addrs_disown(struct addrs *a, uint64_t key, const struct ip_addr *ip);
unsigned addrs_get(struct addrs *a, uint64_t key, struct ip_addr out[ADDRS_PER_MAC]); // oldest first
void addrs_move(struct addrs *a, uint64_t key, uint16_t to); // the MAC is behind another port, which they count for now
// After changes of the database: where(arg, key) says behind which port a key is. Addresses count for that port; those of a
// key that is nowhere are dropped if they counted for `gone`, or all of them with ADDRS_ANY (a guest that is silent for long
// keeps its own until their room is needed). Under the lock for slices only.
#define ADDRS_NOWHERE 0xffffu
#define ADDRS_ANY 0xfffeu
typedef uint16_t addrs_where_fn(void *arg, uint64_t key);
void addrs_settle(struct addrs *a, addrs_where_fn *where, void *arg, uint16_t gone, uint32_t now_s);

#endif
