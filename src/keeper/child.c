// The worker: started, told, listened to, and followed by another when it dies.
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "base/log.h"
#include "keeper/inner.h"
#include "notify/notify.h"

#define MAX_FAILED_STARTS 12 // in a row, then this keeper ends

static void try_later(struct keeper *k)
{
	static const uint64_t pause_us[] = { 1, 1, 1, 1, 10000, 100000, 500000, 1000000 };
	unsigned n = k->failed_starts < ARRAY_LEN(pause_us) ? k->failed_starts : ARRAY_LEN(pause_us) - 1;
	k->respawn_us = clock_boot_us() + pause_us[n];
}

void child_start(struct keeper *k)
{
	k->respawn_us = 0;
	int rc = kp_spawn(k->me.exe, k->argv, &k->me.pid, &k->me.sock);
	if (rc != 0) {
		log_err("keeper: starting the worker: %s", strerror(rc));
		k->failed_starts++;
		try_later(k);
		return;
	}
	child_begin(k);
}

void child_begin(struct keeper *k)
{
	crash_life(k->me.worker);
	flight_reset(k->flight);
	hang_reset(&k->hang);
	k->spawned_us = clock_boot_us();
	k->me.hello_told = k->me.ready_told = k->me.serving = k->blocked = k->deaf = k->reaped = false;
	k->abort_us = k->stopped_us = 0;
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		k->held.name[i].told = false;
	for (unsigned i = 0; i < k->held.top; i++) {
		struct conn *c = &k->held.conn[i];
		c->told = false;
		c->kept_told = 0;
		if (c->state == CONN_SENT)
			c->state = CONN_STORED;
		if (c->state == CONN_ENDING)
			c->state = CONN_FREE;
	}
	keeper_watch(k, k->me.sock, WATCH_WORKER, k->me.worker, EPOLLIN, true);
	child_tell(k);
}

// Another keeper has started it, and its pair is ours now.
void child_again(struct keeper *k)
{
	struct why why;
	k->ever_served = true;
	crash_life(k->me.worker);
	hang_reset(&k->hang);
	hang_wake(&k->hang, clock_boot_us()); // it may have rung for the one before us
	keeper_watch(k, k->me.sock, WATCH_WORKER, k->me.worker, EPOLLIN, true);
	kp_tell(k->me.sock, KP_TRIED, 0, "", -1, &why);
	child_tell(k);
	child_reap(k); // its end may have come in between
	if (k->me.pid && k->me.serving)
		cand_standby(k);
}

bool child_hello(struct keeper *k, int sock, enum kp_role role)
{
	struct why why;
	struct kp_hello b = { .version = KP_VERSION, .oldest = KP_OLDEST, .role = role, .worker = k->me.worker, .life = k->me.life, .status = k->status,
			      .started_us = k->me.started_us, .died_us = k->me.died_us };
	struct kp_head h = { .type = KP_HELLO, .len = sizeof(b) };
	if (role == KP_KEEPER)
		b.version = b.oldest = k->me.spoken; // that it must speak, too: the worker stays
	return kp_send(sock, &h, &b, NULL, false, &why) == OK;
}

static void set_blocked(struct keeper *k, bool blocked)
{
	if (k->blocked != blocked && !k->deaf)
		keeper_watch(k, k->me.sock, WATCH_WORKER, k->me.worker, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, false);
	k->blocked = blocked;
}

void child_tell_one(struct keeper *k, struct conn *c)
{
	if (k->me.pid && k->me.ready_told && !k->blocked && !k->deaf && !conn_tell(k, c))
		set_blocked(k, true);
}

void child_tell(struct keeper *k)
{
	struct why why;
	if (!k->me.pid || k->deaf)
		return;
	k->me.hello_told = k->me.hello_told || child_hello(k, k->me.sock, KP_WORKER);
	bool all = k->me.hello_told && names_tell(k) && cand_tell(k);
	for (unsigned i = 0; all && i < k->held.top; i++)
		all = conn_tell(k, &k->held.conn[i]);
	k->me.ready_told = k->me.ready_told || (all && kp_tell(k->me.sock, KP_READY, 0, "", -1, &why) == OK);
	set_blocked(k, !all || !k->me.ready_told);
}

void child_crash(struct keeper *k, enum crash_point p)
{
	if (crash_due(p) && k->me.pid)
		kill_one(k->me.pid, SIGKILL);
}

// -- what it says -----------------------------------------------------------------------------------------------------------

static void on_iam(struct keeper *k, const struct kp_packet *p)
{
	struct kp_iam b;
	if (p->head.len < sizeof(b))
		return;
	memcpy(&b, p->body, sizeof(b));
	if (b.version < KP_OLDEST || b.version > KP_VERSION || b.life == 0 || b.life > UINT32_MAX) {
		log_err("keeper: the worker speaks version %u of our language, this is %u", b.version, KP_VERSION);
		kill_one(k->me.pid, SIGKILL);
		return;
	}
	k->me.life = b.life;
	k->me.spoken = b.version;
}

static void on_serving(struct keeper *k)
{
	uint64_t now = clock_boot_us();
	char text[48];
	if (k->me.died_us)
		log_info("keeper: worker %d serves, %llu us after the last one's %s", (int)k->me.pid, (unsigned long long)(now - k->me.died_us),
			 k->next_exe >= 0 ? "leaving" : "death");
	cand_serves(k);
	snprintf(text, sizeof(text), "READY=1\nMAINPID=%d", (int)getpid());
	notify_say(text);
	home_unstore();
	conn_watch_all(k);
	k->me.serving = k->ever_served = true;
	k->failed_starts = 0;
	for (unsigned i = 0; i < k->held.top; i++)
		if (k->held.conn[i].state == CONN_SENT)
			k->held.conn[i].sent_us = now; // the time of taking everything over is not its
	if (k->hup)
		kill_one(k->me.pid, SIGHUP);
	k->hup = false;
}

static void on_packet(struct keeper *k, struct kp_packet *p)
{
	struct conn *c;
	const char *text = (const char *)p->body;
	switch (p->head.type) {
	case KP_IAM:
		on_iam(k, p);
		break;
	case KP_PUT:
		name_put(k, text, fd_take(&p->fds[0]), (p->head.flags & KP_LISTEN) != 0);
		break;
	case KP_DROP:
		name_drop(k, text);
		break;
	case KP_OPEN:
		conn_open(k, text, fd_take(&p->fds[0]));
		break;
	case KP_DONE:
		conn_done(k, p);
		break;
	case KP_CLOSE:
		if ((c = custody_conn(&k->held, p->head.conn)) != NULL && (p->head.flags & KP_FILL))
			custody_fill_log(c);
		if (c)
			conn_close(k, c);
		break;
	case KP_RELEASE:
		blame_release(k->blame, text);
		break;
	case KP_SERVING:
		on_serving(k);
		break;
	case KP_END:
		k->ended = true;
		break;
	case KP_TRY:
		cand_start(k, fd_take(&p->fds[0]), (p->head.flags & KP_SELF) != 0);
		break;
	case KP_LEAVE:
		if (!k->ending)
			cand_take_over(k);
		break;
	case KP_EXEC:
		if (!k->ending && !k->reaped)
			cand_exec(k);
		break;
	default:
		log_err("keeper: the worker says %u, which means nothing", p->head.type);
	}
	kp_drop(p);
}

void child_read(struct keeper *k, unsigned most)
{
	struct why why;
	while (most-- && k->me.sock >= 0 && kp_recv(k->me.sock, &k->in, false, &why) == OK)
		on_packet(k, &k->in);
}

// -- its death ---------------------------------------------------------------------------------------------------------------

// Counts the death with whom it was the fault of. What follows from it the next worker does (adopt.c); one that does not get that far, neither.
static void blame(struct keeper *k)
{
	struct conn *guilty = custody_conn(&k->held, blame_death(k->blame, k->flight, k->status, k->abort_us ? k->hang.slot : -1, k->me.died_us));
	log_err("keeper: worker %d %s; starting another", (int)k->me.pid, k->blame->last);
	if (guilty && ++guilty->deaths > BLAME_CLOSE)
		conn_give_up(k, guilty, "it ended the worker again and again");
	for (unsigned i = 0; i < k->held.top; i++) {
		struct conn *c = &k->held.conn[i];
		if (c->state != CONN_FREE && c->state != CONN_ENDING && c->behind)
			conn_give_up(k, c, "its last state could not be stored");
	}
}

static void on_status(struct keeper *k, int status)
{
	pid_t pid = k->me.pid;
	if (WIFSTOPPED(status) || WIFCONTINUED(status)) { // frames stand still, though no message waits
		k->stopped_us = WIFSTOPPED(status) ? clock_boot_us() : 0;
		return;
	}
	k->reaped = true;
	child_read(k, UINT_MAX); // what it said before it died counts
	if (k->me.pid != pid)
		return; // it had left
	k->status = status;
	k->me.died_us = clock_boot_us();
	epoll_ctl(k->ep, EPOLL_CTL_DEL, k->me.sock, NULL);
	fd_reset(&k->me.sock);
	bool over = k->ended || k->ending || (!k->ever_served && WIFEXITED(status)); // the last: wrong options, a port that can't be: its status is ours
	if (!over)
		blame(k);
	k->me.pid = 0;
	if (!k->cand.standby)
		cand_end(k); // it has nobody to judge it
	fd_reset(&k->next_exe); // what served before is started again
	if (over) {
		k->ended = true;
		return;
	}
	for (unsigned i = 0; i < k->held.top; i++) // it may be a while until there is another: who is gone is not kept
		if (k->held.conn[i].state != CONN_FREE && k->held.conn[i].gone)
			conn_close(k, &k->held.conn[i]);
	k->me.worker++;
	k->failed_starts += !k->me.serving;
	if (k->failed_starts == 0) {
		if (!cand_stand_in(k))
			child_start(k);
		return;
	}
	if (k->failed_starts >= MAX_FAILED_STARTS) {
		log_err("keeper: %u workers died before they served: all connections are closed, front ends will try again", k->failed_starts);
		k->ended = true;
		return;
	}
	try_later(k);
}

void child_reap(struct keeper *k)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid == k->me.pid)
			on_status(k, status);
		else if (pid == k->cand.pid)
			cand_status(k, status);
	}
}

// -- time ----------------------------------------------------------------------------------------------------------------------

// When the oldest message that is with the worker was given to it; 0: none is.
static uint64_t oldest(const struct keeper *k)
{
	uint64_t first = 0;
	for (unsigned i = 0; i < k->held.top && k->me.serving; i++)
		if (k->held.conn[i].state == CONN_SENT && (!first || k->held.conn[i].sent_us < first))
			first = k->held.conn[i].sent_us;
	return first;
}

uint64_t child_deadline(const struct keeper *k)
{
	if (!k->me.pid)
		return k->respawn_us;
	if (k->abort_us)
		return k->abort_us + KEEPER_ABORT_US;
	if (k->ending)
		return k->ending_us + (k->storing ? KEEPER_STOP_US : KEEPER_END_US);
	uint64_t due = k->stopped_us ? k->stopped_us + KEEPER_STOP_US : k->me.serving ? 0 : k->spawned_us + KEEPER_START_US;
	uint64_t look = hang_due(&k->hang, k->me.serving ? oldest(k) : k->spawned_us);
	return !due || (look && look < due) ? look : due;
}

void child_overdue(struct keeper *k, uint64_t now)
{
	const char *why = NULL;
	if (!k->me.pid) {
		child_start(k);
		return;
	}
	if (k->abort_us) {
		kill_one(k->me.pid, SIGKILL);
		k->abort_us = now;
		return;
	}
	if (k->ending)
		why = "does not leave";
	else if (k->stopped_us) // whose threads stand still, and not by their fault
		why = now >= k->stopped_us + KEEPER_STOP_US ? "was stopped" : NULL;
	else if (hang_look(&k->hang, k->flight, k->me.pid, oldest(k), now))
		why = k->hang.slot < 0 ? "does not come to its end" : k->hang.slot < (int)FLIGHT_CONTROL ? "has a data thread that stands still" : "does not answer";
	else if (!k->me.serving && now >= k->spawned_us + KEEPER_START_US)
		why = "does not get ready";
	if (!why)
		return;
	log_err("keeper: worker %d %s: it is ended", (int)k->me.pid, why);
	kill_one(k->me.pid, k->stopped_us ? SIGKILL : SIGABRT); // one that is stopped could not even dump its core
	k->abort_us = now;
}
