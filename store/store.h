// What must outlive the process, in sqlite: the only folder that knows sqlite. One connection, in one process, ever. Every
// call is made on the control thread; none is made per frame. Results are enum err, never sqlite codes.
//
// What a row is worth: rows of a connection (snap, seq, reply) carry the boot id and the keeper epoch and are worthless
// after either changed; rows of a device (features pinned, generation), of a port (its SPEC), owed announcements, learned
// addresses, migrations and events live on.
//
// What is read back is hostile input: a row that is damaged, out of range or for newer readers only is dropped, and only
// that (of a connection: only the connection). A read that met one goes on and returns OK; why then holds the first such
// finding, and "" otherwise. OURS is a failure of the disk or of memory, with the cause in why: nothing was changed, and
// the next call is tried afresh; only after a failed fsync with STORE_HOST every later write is refused.
// fn of a store_each_ function may call the store, except the same store_each_ function.
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snap/snap.h"

struct store;

enum store_durability {
	STORE_PROCESS, // survives the death of our processes: WAL, synchronous=NORMAL, no checkpoint on a reply path
	STORE_HOST, // survives the death of the host, too: synchronous=FULL
};

// What open did with an unusable file: it is renamed to state.db.bad-N (with its -wal and -shm), never deleted.
struct store_opened {
	bool fresh; // there was no database
	bool set_aside; // there was one, and it was unusable
	char aside_path[256];
	struct why aside_why; // "not a database", "of another program", "schema 9 is newer than this version reads"...
	uint64_t keeper_epoch; // of this life: higher than that of any before it
	bool resumed; // it is the life that was asked for: its connections are there
	bool same_boot; // the last open was in this boot
};

// Open DIR/state.db, creating DIR (0700) and the file (0600). Takes DIR/lock (flock) first: REFUSED with the holder's pid in
// why if another daemon has it.
enum err store_open(struct store **out, const char *dir, enum store_durability dur, struct store_opened *how, struct why *why);
void store_close(struct store *s); // truncates the WAL; NULL is fine
void store_leave(struct store *s); // to a successor who waits: the WAL stays as it is, nothing is synced

// A life that several processes have, one after the other, and a custodian that outlives them (a keeper): its connections
// go on.
struct store_life {
	uint64_t life; // go on with this one, the keeper_epoch of the first of them; 0: a new one
	int lock_fd; // a duplicate of what store_lock_fd gave; -1: DIR/lock is taken
	int pid; // whom the lock's file names to others; 0: this process
};
// The same as store_open, which is {0, -1, 0}. Asked for a life, how->resumed says whether the database knows it as the
// last one of this boot. If so, nothing of it is dropped. If not (it was lost, set aside, or another daemon was there),
// this is a new life with a higher number, and none of those connections can be gone on with. lock_fd is owned by the
// store, whatever is returned. REFUSED also: lock_fd is not DIR/lock of today.
enum err store_open_as(struct store **out, const char *dir, enum store_durability dur, const struct store_life *as,
		       struct store_opened *how, struct why *why);
// What a life that goes on leaves for later (how->resumed; else it is done already): to see whether the file is whole, which takes the longer the more is in it,
// and to prepare what was not needed yet. Once. REFUSED: it is damaged (why), rows may be missing, and the next new life will set it aside.
enum err store_settle(struct store *s, struct why *why);
// DIR/lock, held: borrowed. The lock belongs to the open file: as long as anybody has a duplicate, no other daemon can
// take it.
int store_lock_fd(const struct store *s);

// Before store_open: use once what it will use, so that it is in memory. Nothing is opened.
void store_warm(void);

// -- transitions of a connection ------------------------------------------------------------------------------------
// Epochs of connections: who numbers them outside the store gives life << 32 | n, n from 1 on; those of store_next_epoch
// are never of that form, for a life that was.
#define STORE_EPOCH(life, n) ((uint64_t)(life) << 32 | (uint32_t)(n))
// A fresh epoch, unique in this state directory over all lives.
enum err store_next_epoch(struct store *s, uint64_t *epoch, struct why *why);
// One transaction: the rows of next that `what` names, and (epoch, seq, reply). Durable when it returns OK. REFUSED, with
// nothing changed: next does not pass snap_check, the reply is over STORE_REPLY_MAX bytes, or seq is not above the last
// one that was committed for this epoch.
enum err store_commit(struct store *s, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
		      size_t reply_len, struct why *why);
// The same, and an announcement that is owed from now on (NULL: none), in one transaction.
struct store_owed;
enum err store_commit_owed(struct store *s, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
			   size_t reply_len, const struct store_owed *owed, struct why *why);
// The connection is over: its rows go, the device row (features acked, last bases) stays.
enum err store_connection_end(struct store *s, const char *port, uint64_t epoch, struct why *why);
// The connections of the last life of this boot (of this one, if it was resumed), as snap_check accepts them; bad rows
// are dropped and reported by why.
typedef void store_snap_fn(void *arg, const struct snap *snap, uint64_t seq);
enum err store_each_connection(struct store *s, store_snap_fn *fn, void *arg, struct why *why);
// The same, with the reply to the last message.
#define STORE_REPLY_MAX 512
struct store_connection {
	struct snap snap;
	uint64_t seq; // of the last message that was committed
	uint32_t reply_len;
	uint8_t reply[STORE_REPLY_MAX];
};
typedef void store_connection_fn(void *arg, const struct store_connection *c);
enum err store_each_adoptable(struct store *s, store_connection_fn *fn, void *arg, struct why *why);

// -- devices: what a front end may count on across our restarts -----------------------------------------------------------
struct store_device {
	char port[SNAP_PORT_MAX];
	uint64_t features_offered, features_acked; // of the last connection that acknowledged
	uint64_t protocol_features;
	uint32_t compat; // level pinned at the first connect; 0: none
	uint64_t generation; // counts the takings of the rings by a front end
	bool pinned; // this boot's front end acknowledged: the offer must stay a superset until unpin, port del or a new boot
	uint32_t last_base[SNAP_MAX_RINGS]; // what the last GET_VRING_BASE answered
	uint32_t last_base_set; // bit q: last_base[q] is known
};
enum err store_device_get(struct store *s, const char *port, struct store_device *dev, bool *found, struct why *why);
typedef void store_device_fn(void *arg, const struct store_device *dev);
enum err store_each_device(struct store *s, store_device_fn *fn, void *arg, struct why *why);
enum err store_device_put(struct store *s, const struct store_device *dev, struct why *why);
enum err store_device_unpin(struct store *s, const char *port, struct why *why);

// -- ports added at run time ----------------------------------------------------------------------------------------------
enum err store_port_put(struct store *s, const char *id, const char *spec, struct why *why);
enum err store_port_del(struct store *s, const char *id, struct why *why); // its device, announcements, addresses, too
enum err store_port_forget(struct store *s, const char *id, struct why *why); // its row alone: the port is the configuration's
typedef void store_port_fn(void *arg, const char *id, const char *spec);
enum err store_each_port(struct store *s, store_port_fn *fn, void *arg, struct why *why);

// -- announcements owed --------------------------------------------------------------------------------------------------------
struct store_owed {
	char port[SNAP_PORT_MAX];
	uint8_t mac[6];
	uint32_t rounds_done, rounds; // rounds_done < rounds
	uint64_t next_due_us; // CLOCK_BOOTTIME; of another boot: due now
};
enum err store_owed_put(struct store *s, const struct store_owed *owed, struct why *why); // one row per (port, mac)
enum err store_owed_done(struct store *s, const char *port, const uint8_t mac[6], struct why *why);
typedef void store_owed_fn(void *arg, const struct store_owed *owed);
enum err store_each_owed(struct store *s, store_owed_fn *fn, void *arg, struct why *why);

// -- learned addresses -----------------------------------------------------------------------------------------------------
#define STORE_MAX_IPS 8
struct store_mac {
	char net[SNAP_PORT_MAX];
	char port[SNAP_PORT_MAX];
	uint8_t mac[6];
	uint16_t vlan; // 0: untagged
	uint8_t source; // 0 learned, 1 configured (mac=), 2 claimed by SEND_RARP
	uint64_t seen_us; // wall time
	uint8_t n_ips;
	struct {
		uint8_t family; // 4 or 6
		uint8_t addr[16]; // 4 bytes used with family 4
	} ip[STORE_MAX_IPS];
};
// Replace the whole table of learned addresses in one transaction (called at most once a second).
enum err store_macs_replace(struct store *s, const struct store_mac *macs, size_t n, struct why *why);
typedef void store_mac_fn(void *arg, const struct store_mac *mac);
enum err store_each_mac(struct store *s, store_mac_fn *fn, void *arg, struct why *why);

// -- migrations and events ------------------------------------------------------------------------------------------------------
// A migration record is JSON text made by the daemon, kept by id (newest 1000 kept).
enum err store_migration_put(struct store *s, uint64_t id, const char *port, const char *json, struct why *why);
typedef void store_migration_fn(void *arg, uint64_t id, const char *port, const char *json);
enum err store_each_migration(struct store *s, const char *port_or_null, store_migration_fn *fn, void *arg, struct why *why);
enum err store_next_migration_id(struct store *s, uint64_t *id, struct why *why);
// The event journal: seq counts over all lives; the newest 10000 are kept.
enum err store_event_add(struct store *s, uint64_t time_us, const char *port, const char *type, const char *detail,
			 uint64_t *seq, struct why *why);
typedef void store_event_fn(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail);
enum err store_each_event(struct store *s, uint64_t since_seq, store_event_fn *fn, void *arg, struct why *why);

// -- handing over ------------------------------------------------------------------------------------------------------------------
// A copy of the database, taken now, in a memfd that is the caller's: for a program that is to go on with it.
enum err store_image(struct store *s, int *fd, struct why *why);
// Open such a copy in memory, as this program would open the database itself: its schema is brought to this version's, every
// row is validated, the connections of its life are there. Nothing that is done to it is kept. REFUSED: this program can't go on with that
// database, or whoever runs now could not be given it back afterwards. fd is borrowed.
enum err store_open_image(struct store **out, int fd, struct why *why);

// -- looking inside ----------------------------------------------------------------------------------------------------------------
// integrity_check and every row validated; OK, or REFUSED with the first finding. *findings counts them.
enum err store_check(struct store *s, unsigned *findings, struct why *why);
// Every table as lines of JSON ({"table":"ring","port":"vm0",...}), through fn. 64-bit masks and addresses as hex strings.
typedef void store_line_fn(void *arg, const char *json_line);
enum err store_dump(struct store *s, store_line_fn *fn, void *arg, struct why *why);
// The same of a database file that no daemon has open (tests, `vringctl store dump --file`); opened read-only, WAL included.
enum err store_dump_file(const char *path, store_line_fn *fn, void *arg, struct why *why);
// Called now and then when nothing waits (idle): checkpoint the WAL if it has grown. Never on a reply path.
void store_idle(struct store *s);
// Would store_quiet checkpoint? Whoever opens the store after a death reads all of the WAL before it can serve: a short one is a short gap.
bool store_quiet_pays(const struct store *s);
// Called when nothing was committed for a while and nothing is expected: as store_idle, of a WAL that has grown a little.
void store_quiet(struct store *s);

#endif
