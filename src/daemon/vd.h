// The daemon as its edge (command line, control socket, signals) sees it: one object that owns the store, the datapath and
// the ports. Everything here is called on the control thread. What a verb of the control socket may ask for is here and in
// port.h's accessors; the parts behind it (listeners, sessions, identity, announcements) are not the edge's business.
//
// Order of life: vd_new, vd_port_add for each port of the configuration, vd_begin, loop_run, vd_free.
#ifndef DAEMON_VD_H
#define DAEMON_VD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "snap/snap.h"
#include "store/store.h"
#include "switch/dp.h"

struct dev;
struct kept;
struct loop;
struct port;
struct port_spec;
struct session;
struct vd;

struct vd_conf {
	const char *state_dir; // must exist or be creatable; copied
	const char *runtime_dir; // where a port's default path ID.sock is; exists; copied
	enum store_durability durability;
	struct dp_conf dp;
	struct kept *kept; // NULL: no keeper; stays the caller's
	const char *end_with_port; // id of the port whose connected fd= ends the daemon (loop_stop) at its end; NULL: none
};

// Raise RLIMIT_NOFILE, install the guard for vanishing guest memory, open the store, start the data threads.
enum err vd_new(struct vd **out, struct loop *loop, const struct vd_conf *conf, struct why *why);
// While on, a port that can't be opened (its tap is missing, somebody else has its path) is kept as `failed` with the reason,
// and tried again with growing pauses, instead of being refused. For the ports of the configuration and those of an earlier
// life; off at first.
void vd_keep_failed(struct vd *vd, bool on);
// The ports of the configuration are in, or those that an earlier worker left: add those that were added at run time in an
// earlier life (an id that exists wins over the stored one, with a log line; the row of one that the configuration names is
// deleted), keep the table of ports for the next worker, restore learned addresses, go on with owed announcements, close the books on
// migrations that the last life left open. A stored port that cannot be added is logged and left in the store.
void vd_begin(struct vd *vd);
// Quiesce all rings, write what is due, close everything. NULL is fine.
void vd_free(struct vd *vd);

struct loop *vd_loop(struct vd *vd);
struct store *vd_store(struct vd *vd);
struct dp *vd_dp(struct vd *vd);
const struct store_opened *vd_opened(const struct vd *vd); // how the store was found
const char *vd_state_dir(const struct vd *vd);
const char *vd_runtime_dir(const struct vd *vd);
uint64_t vd_uptime_us(const struct vd *vd); // of the keeper, if there is one
struct vd_keeper {
	int pid;
	unsigned worker_restarts; // deaths and upgrades that it has seen
};
bool vd_keeper(const struct vd *vd, struct vd_keeper *out); // false: there is none

// -- ports ------------------------------------------------------------------------------------------------------------
enum vd_origin { VD_ORIGIN_CONFIG, VD_ORIGIN_CLI, VD_ORIGIN_RUNTIME };
const char *vd_origin_name(enum vd_origin o); // "config", "cli", "runtime"

// The spec is copied. An fd= in it stays owned by the spec until OK, then by the port. An equal spec for an existing id is OK
// and changes nothing; a different one is REFUSED. RUNTIME ports are written to the store. REFUSED or OURS change nothing: here, of
// vd_port_del and of vd_port_set also if the change can't be kept for the next worker.
// A path or tap that another port of ours has is refused with that port's name.
enum err vd_port_add(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why);
// REFUSED for an unknown id. Sessions are closed (logs filled first), the path removed, pins, addresses and announcements
// forgotten.
enum err vd_port_del(struct vd *vd, const char *id, struct why *why);
// Replace the spec of an existing port. What changes without a reconnect: label, guest, group, hold-ms, hold-bytes, mac,
// filter, max-macs, rate-in, rate-out, sessions, peer-uid; anything else that differs is REFUSED by name. check_only: only
// say whether it would go (SIGHUP checks all, then applies all).
enum err vd_port_set(struct vd *vd, const char *id, const struct port_spec *spec, bool check_only, struct why *why);
enum err vd_port_release(struct vd *vd, const char *id, struct why *why); // parked -> may run again
enum err vd_port_unpin(struct vd *vd, const char *id, struct why *why);
enum err vd_port_drain(struct vd *vd, const char *id, bool on, struct why *why);
// Start an announcement schedule for every address behind the port; *n says for how many.
enum err vd_port_announce(struct vd *vd, const char *id, unsigned *n, struct why *why);

unsigned vd_ports_count(const struct vd *vd);
struct port *vd_port_at(const struct vd *vd, unsigned i); // in the order they were added
struct port *vd_port_find(const struct vd *vd, const char *id); // NULL: none
struct port *vd_port_by_index(const struct vd *vd, unsigned dp_index); // for struct dp_mac.port; NULL: none

// -- looking at a port ------------------------------------------------------------------------------------------------
enum port_state {
	PORT_LISTENING,
	PORT_CONNECTING,
	PORT_NEGOTIATING,
	PORT_PREPARED, // rings are set up and do not run: reason says why
	PORT_RUNNING,
	PORT_STOPPED, // rings ran and were stopped
	PORT_DRAINING,
	PORT_PARKED,
	PORT_FAILED,
};
const char *port_state_name(enum port_state s); // "listening", ...
int port_state_parse(const char *word); // -1: not a state

const struct port_spec *port_spec(const struct port *p);
const char *port_id(const struct port *p);
enum vd_origin port_origin(const struct port *p);
// The configuration names a port that was added at run time: it is the configuration's from now on, and its row
// in the store is gone. If the store fails it stays what it was.
void port_adopt(struct port *p);
enum port_state port_state(const struct port *p);
// Why the port is not running and what to do; "" when it is. Valid until the next call.
void port_explain(const struct port *p, const char **reason, const char **hint);
const char *port_path(const struct port *p); // of the socket, from the root; "" for fd=, tap and null
struct dp_port *port_dp(const struct port *p); // for dp_port_stats, dp_macs_each, dp_hold_level
// The stored device: pins, generation, last bases. False: none yet.
bool port_device(const struct port *p, struct store_device *out);
struct port_offer {
	uint64_t features, protocol_features; // what the next front end is offered
	uint32_t compat; // the level in force
	bool pinned; // of this boot's front end: the offer stays a superset of what it acknowledged
};
void port_offer(const struct port *p, struct port_offer *out);
unsigned port_crashes(const struct port *p);
const char *port_last_refusal(const struct port *p); // message and reason; "": none

// Sessions: front-end connections, oldest first.
#define PORT_MAX_SESSIONS 2
unsigned port_sessions(const struct port *p, const struct session **out); // out: room for PORT_MAX_SESSIONS; returns how many
struct session_info {
	bool active; // its rings are the ones that the datapath has, or would get first
	bool waiting; // its rings are ready and wait for the other session's
	int pid; // of the peer; -1: unknown
	unsigned uid;
	uint64_t epoch;
	uint64_t since_us; // CLOCK_BOOTTIME of the connection
	uint64_t messages;
	unsigned queues_used; // pairs of which a ring is started
	unsigned rings_running; // in the datapath
};
void session_info(const struct session *s, struct session_info *out);
const struct dev *session_dev(const struct session *s); // dev_snap, dev_ring, dev_logging, dev_memory_bytes
bool session_ring_published(const struct session *s, unsigned q); // the datapath has it now

// -- another program in our place -----------------------------------------------------------------------------------------
// Begin: the keeper starts the program at that path (from the root; NULL: the file that we were started from, as it is now), which judges a
// copy of our rows. fn is called once: with the reason if that program is unfit (then nothing has changed), with NULL just before
// loop_run returns with vd_leaving true. REFUSED: it can't be begun.
typedef void vd_upgrade_fn(void *arg, const char *refused);
// self: in the keeper's place; we stay, and fn is called with NULL when that is done.
enum err vd_upgrade(struct vd *vd, const char *program, bool self, vd_upgrade_fn *fn, void *arg, struct why *why);
void vd_rest(struct vd *vd); // the keeper ends, and its connections are kept elsewhere: loop_run returns with vd_leaving true
void vd_upgrade_unheard(struct vd *vd); // fn is not called any more
bool vd_upgrading(const struct vd *vd);
bool vd_leaving(const struct vd *vd);
// The data threads end after their turn, all that is due is written, the store is closed, the lease given back: the process may end, and
// must not do anything else.
void vd_leave(struct vd *vd);
// This process serves: what became of an upgrade that brought it here, or failed to bring another, is entered.
void vd_served(struct vd *vd);
// No worker was there before in this life of the keeper, though the service manager may have kept what another life left, and though
// this one may have its pid (it is always 1 in a container). Before vd_begin.
void vd_first_worker(struct vd *vd);
// Changes of ports are kept for the next worker as one (table.h), by vd_table_keep, which ends the holding. REFUSED: what the
// keeper has is from before.
void vd_table_hold(struct vd *vd);
enum err vd_table_keep(struct vd *vd, struct why *why);
void vd_keep_config(struct vd *vd, int fd); // takes it: what a candidate is to read instead of configuration files
struct vd_upgrades {
	unsigned done, refused; // since the keeper started
	const char *last; // what became of the last one; "": there was none
};
void vd_upgrades(const struct vd *vd, struct vd_upgrades *out);

// -- events ---------------------------------------------------------------------------------------------------------------
struct vd_event {
	uint64_t seq; // 0: the journal could not be written
	uint64_t time_us; // wall time
	const char *port; // "": of the daemon
	const char *type; // "port.running", "migration.started", "announce.round", ...
	const char *detail;
};
typedef void vd_event_fn(void *arg, const struct vd_event *ev);
struct vd_sub;
// Every event from now on. Each change of a port's state is one ("port." and the state's name), so `wait` is: look at
// port_state, then subscribe. The callback must not add or delete ports, but may unsubscribe itself.
struct vd_sub *vd_subscribe(struct vd *vd, vd_event_fn *fn, void *arg); // NULL: no memory
void vd_unsubscribe(struct vd *vd, struct vd_sub *sub); // NULL is fine
// Enter an event: into the journal, to the subscribers. type and port as above; port may be "".
void vd_event(struct vd *vd, const char *port, const char *type, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

// -- migrations: store_each_migration has them all; this writes those that are still being added to -------------------------
void vd_migrations_flush(struct vd *vd);
// Learned addresses that are not in the store yet, now.
void vd_macs_flush(struct vd *vd);

#endif
