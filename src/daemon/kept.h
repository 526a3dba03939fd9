// The keeper, as the worker sees it: what an earlier worker left there, what must outlive this one, and the front ends' connections. All calls are
// made on the control thread. NULL for a keeper is fine everywhere: there is none (--no-keeper), and nothing is kept.
//
// Names: a listening socket has the id of its port, on which front ends are accepted; all others begin with a colon.
#ifndef DAEMON_KEPT_H
#define DAEMON_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "dev/dev.h"
#include "kp/kp.h"
#include "snap/snap.h"

#define KEPT_DRAINED ":drained" // ids of ports that an operator drained
#define KEPT_LOCK ":lock" // the store's
#define KEPT_HELD ":held" // frames
#define KEPT_COUNTERS ":counters"
#define KEPT_LEDGERS ":ledgers" // places of packed rings
#define KEPT_STANDING ":standing" // how connections stand with their ports
#define KEPT_LEASE ":lease" // who may touch rings
#define KEPT_UPGRADE ":upgrade" // how many upgrades there were, and whether one is under way
#define KEPT_CONFIG KP_CONFIG
#define KEPT_TABLE KP_TABLE
#define KEPT_CONTROL ":control" // where vringctl connects

struct kept;
struct loop;

// A connection that the keeper has.
struct kept_conn {
	struct kept_conn *next;
	uint64_t id; // its epoch in the store
	struct kp_conn about;
	struct kp_ref ref[KP_MAX_KEPT]; // descriptors of messages that are done
	int fd[KP_MAX_KEPT]; // copies of this process, closed when it is taken over
	unsigned n_refs;
	struct kp_packet *pending; // a message that came before somebody was there for it; NULL: none
	void *src; // its message source; NULL: none yet
};

bool kept_wanted(void); // this process was started by a keeper
// Hear all that is in custody; waits for it. REFUSED: this program does not understand that keeper.
enum err kept_open(struct kept **out, struct why *why);
void kept_free(struct kept *k);
// What this process is for. A worker has heard all that is in custody. A candidate may take the place of a worker that still works, and has heard KP_ROWS,
// KEPT_CONFIG and KEPT_TABLE: it says kept_unfit and ends; or kept_fit, which waits until that worker has left, and hears all that is in custody. The same for
// the keeper's place: it has heard KP_IMAGE. A standby has heard nothing, and waits for the worker's death (kept_stand_by). DESYNC: it was
// not wanted.
enum kp_role kept_role(const struct kept *k);
bool kept_was_candidate(const struct kept *k); // and is the worker by now
enum err kept_fit(struct kept *k, struct why *why);
enum err kept_stand_by(struct kept *k, struct why *why);
void kept_unfit(struct kept *k, const char *reason);
const struct kp_hello *kept_hello(const struct kept *k);
// The thing of that name, once: a copy that is the caller's from now on. -1: nobody left it, or k is NULL.
int kept_take(struct kept *k, const char *name);
// First of all: what this keeper's life is, and which language we speak.
void kept_iam(struct kept *k, uint64_t life);
// A copy of fd goes there. False: it does not, and a line says so.
bool kept_put(struct kept *k, const char *name, int fd, bool listens);
void kept_drop(struct kept *k, const char *name);
void kept_connected(struct kept *k, const char *port, int fd); // takes fd: a connection of that port, told by on_conn
void kept_serving(struct kept *k);
void kept_release(struct kept *k, const char *port); // it is parked no more, whatever its deaths
void kept_end(struct kept *k); // this process ends on purpose
// Have the program that is open as exe (borrowed) started as a candidate for our place. fn is told its pair, which is fn's, or -1
// and the reason. exe -1: end the one that there is.
typedef void kept_tried_fn(void *arg, int pair, const char *reason);
void kept_try(struct kept *k, int exe, bool self, kept_tried_fn *fn, void *arg); // self: for the keeper's place
void kept_leave(struct kept *k); // the candidate's turn; nothing may be done after it but to end
void kept_exec(struct kept *k); // the keeper is to become the candidate's program: fn is told again, -1 and "" if that was done
// The keeper wants us to leave. Called once at most.
void kept_on_leave(struct kept *k, void (*fn)(void *arg), void *arg);

// From now on connections that come are told, messages go to their sources, and the end of the keeper ends this process.
typedef void kept_conn_fn(void *arg, struct kept_conn *c);
enum err kept_begin(struct kept *k, struct loop *loop, kept_conn_fn *on_conn, void *arg, struct why *why);
// The connections of an earlier worker, oldest first, that were not taken over or closed yet. fn may close the one it is given.
void kept_each(struct kept *k, kept_conn_fn *fn, void *arg);
struct kept_conn *kept_find(struct kept *k, uint64_t id);
// The copy of the descriptor that message seq brought at that place; -1: it is not kept. Stays the connection's.
int kept_fd(const struct kept_conn *c, uint64_t seq, uint32_t place);
void kept_close(struct kept *k, struct kept_conn *c); // the keeper closes it; c is gone
void kept_give_up(struct kept *k, struct kept_conn *c); // the same, and it fills the dirty log first, if one is in use
void kept_forget(struct kept *k, struct kept_conn *c); // the same without a word: the keeper closes it by itself
void kept_release_fds(struct kept_conn *c); // the copies were taken over

// For the source of a connection (msgsrc_kept.c).
struct kept_sink {
	void (*message)(void *src, struct kp_packet *p); // takes what descriptors it wants
	void (*gone)(void *src, bool clean, const char *reason);
};
void kept_attach(struct kept *k, struct kept_conn *c, const struct kept_sink *sink, void *src);
void kept_done(struct kept *k, const struct kept_conn *c, uint64_t seq, uint8_t flags, const struct kp_done *done,
	       const struct kp_ref *refs);

#endif
