// The forwarding database of one net: (VLAN, MAC) -> port. Looked up by data threads without a lock; entered, moved and removed
// under a mutex, which is taken for new facts only, and by the control thread for FDB_SLICE entries at a time. Ageing is lazy:
// an entry that was not seen for FDB_AGE_S counts as absent, and nobody wakes up for it.
#ifndef SWITCH_FDB_H
#define SWITCH_FDB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FDB_AGE_S 300u
#define FDB_FIRST_SIZE 256u // grows by doubling up to FDB_MAX_SIZE
#define FDB_MAX_SIZE 65536u
#define FDB_NO_PORT 0xffffu
#define FDB_SLICE 1024u

// How an entry came to be; a stronger one is not overwritten by learning.
// FDB_OVER is only for fdb_enter: learned, but taking over a configured entry, whose port has no guest now.
enum fdb_source { FDB_LEARNED = 0, FDB_CONFIG = 1, FDB_CLAIMED = 2, FDB_OVER = 3 };

struct fdb_table;

struct fdb {
	_Atomic(struct fdb_table *) table; // readers load it once per look-up; replaced by fdb_grow
	pthread_mutex_t lock;
	_Atomic uint32_t used; // keys ever entered into the present table
	_Atomic bool want_grow; // set by a writer that found it half full
	_Atomic uint32_t moves; // changes whenever an entry goes to another port: memos of look-ups are void then
};

struct fdb_hit {
	uint16_t port; // FDB_NO_PORT: absent or too old
	uint8_t source;
	uint32_t seen_s;
};

bool fdb_init(struct fdb *f);
void fdb_fini(struct fdb *f);

static inline uint64_t fdb_key(uint64_t mac, uint16_t vlan)
{
	return mac << 12 | vlan;
}

struct fdb_hit fdb_find(const struct fdb *f, uint64_t key, uint32_t now_s);

enum fdb_entered {
	FDB_SAME, // was there already with this port: its age is renewed
	FDB_NEW,
	FDB_MOVED, // *old_port had it
	FDB_KEPT, // a stronger entry of another port stays
	FDB_FULL,
};
// Enter key -> port. limit: how many learned entries the port may have (its count is *count, kept by the database).
enum fdb_entered fdb_enter(struct fdb *f, uint64_t key, uint16_t port, enum fdb_source source, uint32_t now_s,
			   uint16_t *old_port);
// Renew the age of an entry that fdb_find returned for this port, if it is older than a second. No lock.
void fdb_touch(struct fdb *f, uint64_t key, uint16_t port, uint32_t now_s);
// The key is in nobody's mac= any more: a configured entry of `port` is removed, one of another port (the guest runs there)
// is from now on as good as learned.
void fdb_unconfigure(struct fdb *f, uint64_t key, uint16_t port, uint32_t now_s);
// Remove all entries of port, or point them to `to` if that is not FDB_NO_PORT. Returns how many.
unsigned fdb_move_port(struct fdb *f, uint16_t port, uint16_t to, uint32_t now_s);

typedef void fdb_each_fn(void *arg, uint64_t key, const struct fdb_hit *hit);
// Live entries only. Without the lock, so nobody waits for it: an entry that changes meanwhile is seen as it was or as it is.
// The caller must be a thread for which dp_sync waits, or the control thread.
void fdb_each(const struct fdb *f, uint32_t now_s, fdb_each_fn *fn, void *arg);
unsigned fdb_count_port(const struct fdb *f, uint16_t port, uint32_t now_s);

// Control thread: build a table of twice the size without the dead entries and publish it. Returns the old one, to be
// freed with fdb_table_free after all data threads have passed; NULL if nothing was done.
struct fdb_table *fdb_grow(struct fdb *f, uint32_t now_s);
void fdb_table_free(struct fdb_table *t);

#endif
