// What the keeper's files share: the tables, sized once. All of it belongs to the one thread.
#ifndef KEEPER_INNER_H
#define KEEPER_INNER_H

#include <sys/types.h>

#include "base/brisk.h"
#include "base/crash.h"
#include "custody/home.h"
#include "flight/blame.h"
#include "flight/hang.h"
#include "kp/kp.h"

#define KEEPER_STOP_US UINT64_C(2000000) // a worker that was stopped and not continued
#define KEEPER_START_US UINT64_C(20000000) // a worker that does not serve after this
#define KEEPER_END_US UINT64_C(10000000) // a worker that was told to end
#define KEEPER_PACKETS 256u // of a worker that talks without end, before others are looked at
#define KEEPER_ABORT_US UINT64_C(500000) // from SIGABRT to SIGKILL

// A program that was started beside the worker and may take its place.
struct cand {
	pid_t pid; // 0: none
	int sock, exe;
	bool told; // the worker has its pair
	bool standby; // of the worker's own program, for its death
	const char *failed; // why there is none, which the worker is to hear
};

struct keeper {
	char **argv;
	struct custody_keeper me; // what goes with custody
	int ep, signals;
	int spare; // given up for a moment to turn a front end away when no other descriptor is left
	// the worker
	uint64_t spawned_us, respawn_us, abort_us;
	struct brisk brisk; // a message was passed on, or is done: mostly something follows
	int status;
	uint64_t stopped_us; // it was stopped by a signal and not continued; 0: it was not
	bool ever_served, ending, ended, hup;
	bool blocked; // there was no room for all that it should hear
	bool deaf; // its end of the pair is closed
	bool reaped; // the number of its process may be another's
	unsigned failed_starts;
	struct cand cand;
	int next_exe; // the worker's, which was a candidate and does not serve yet; -1: it runs exe
	struct flight_page *flight; // what it does, and whose fault its death was
	struct blame_page *blame;
	struct hang hang;
	struct custody held;
	enum home home; // where all of it came from
	bool storing; // when the worker is gone, connections go into the service manager's store
	uint64_t ending_us; // SIGTERM came
	struct kp_packet in;
};

enum keeper_watch { WATCH_SIGNALS, WATCH_WORKER, WATCH_NAME, WATCH_CONN, WATCH_BELL };
// keeper.c: what is watched for what; events 0: for the end alone
void keeper_watch(struct keeper *k, int fd, enum keeper_watch kind, unsigned index, uint32_t events, bool add);

// child.c
void child_start(struct keeper *k);
void child_begin(struct keeper *k); // what k->pid and k->sock name is the worker from now on, and knows nothing yet
void child_reap(struct keeper *k);
void child_again(struct keeper *k);
bool child_hello(struct keeper *k, int sock, enum kp_role role);
void child_tell(struct keeper *k); // what the present worker has not heard yet, as far as there is room
void child_tell_one(struct keeper *k, struct conn *c); // the same of one connection
void child_read(struct keeper *k, unsigned most); // what it says, that many packets
uint64_t child_deadline(const struct keeper *k); // 0: nothing runs out
void child_overdue(struct keeper *k, uint64_t now);

void child_crash(struct keeper *k, enum crash_point p); // a test lets the worker die here

// cand.c
void cand_start(struct keeper *k, int exe, bool self); // takes exe; -1: there is to be none
void cand_standby(struct keeper *k); // unless there is another
void cand_exec(struct keeper *k); // be its program; comes back if that fails
void cand_end(struct keeper *k); // it is not wanted
void cand_status(struct keeper *k, int status); // what waitpid says of it
bool cand_tell(struct keeper *k); // false: no room now
void cand_take_over(struct keeper *k); // the worker has left
bool cand_stand_in(struct keeper *k); // it has died; false: nobody stands by
void cand_serves(struct keeper *k); // what took over, if that is how the worker came, is what is started from now on

// relay.c
void conn_watch_all(struct keeper *k); // those that another keeper has watched
void conn_accept(struct keeper *k, struct name *n);
void conn_open(struct keeper *k, const char *port, int fd); // takes fd
void conn_ready(struct keeper *k, struct conn *c, bool over);
void conn_done(struct keeper *k, const struct kp_packet *p);
void conn_end(struct keeper *k, struct conn *c, bool clean, const char *reason); // closed; reason: static
void conn_close(struct keeper *k, struct conn *c); // and forgotten
// The worker can't have it any more: fill the log, then close. Bytes that the front end did not see logged are all in there.
void conn_give_up(struct keeper *k, struct conn *c, const char *reason);
bool conn_tell(struct keeper *k, struct conn *c); // false: no room now

// names.c: things in custody by name
void name_put(struct keeper *k, const char *name, int fd, bool listens); // takes fd
void name_drop(struct keeper *k, const char *name);
void names_watch(struct keeper *k); // all that listen
bool names_tell(struct keeper *k); // false: no room now

#endif
