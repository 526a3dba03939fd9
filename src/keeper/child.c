// The worker: started, told, listened to, and followed by another when it dies.
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "keeper/inner.h"

#define MAX_FAILED_STARTS 12 // in a row, then this keeper ends
#define MAX_ENV 512
#define ROOM (1 << 20) // of the pair: what all front ends may say at once

extern char **environ;

// The environment and which end is the worker's; made anew for each, allocating nothing.
static char **environment(int fd)
{
	static char *env[MAX_ENV];
	static char own[48];
	unsigned n = 0;
	snprintf(own, sizeof(own), "%s=%d", KP_ENV, fd);
	env[n++] = own;
	for (char **e = environ; *e && n + 1 < MAX_ENV; e++)
		if (strncmp(*e, KP_ENV "=", sizeof(KP_ENV)) != 0)
			env[n++] = *e;
	env[n] = NULL;
	return env;
}

static int spawn(struct keeper *k, int fd, pid_t *pid)
{
	posix_spawn_file_actions_t act;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char path[40];
	sigemptyset(&none);
	sigfillset(&all);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", k->exe);
	posix_spawn_file_actions_init(&act);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&act, fd, fd); // no longer closed by exec
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int rc = posix_spawn(pid, path, &act, &attr, k->argv, environment(fd));
	posix_spawn_file_actions_destroy(&act);
	posix_spawnattr_destroy(&attr);
	return rc;
}

static void try_later(struct keeper *k)
{
	static const uint64_t pause_us[] = { 1, 1, 1, 1, 10000, 100000, 500000, 1000000 };
	unsigned n = k->failed_starts < ARRAY_LEN(pause_us) ? k->failed_starts : ARRAY_LEN(pause_us) - 1;
	k->respawn_us = clock_boot_us() + pause_us[n];
}

void child_start(struct keeper *k)
{
	int pair[2] = { -1, -1 }, rc = 0, room = ROOM;
	k->respawn_us = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		rc = errno;
	if (rc == 0) {
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		rc = spawn(k, pair[1], &k->pid);
	}
	fd_reset(&pair[1]);
	if (rc != 0) {
		log_err("keeper: starting the worker: %s", strerror(rc));
		fd_reset(&pair[0]);
		k->pid = 0;
		k->failed_starts++;
		try_later(k);
		return;
	}
	crash_life(k->worker);
	k->sock = pair[0];
	k->spawned_us = clock_boot_us();
	k->hello_told = k->ready_told = k->serving = k->blocked = k->deaf = false;
	k->abort_us = k->stopped_us = 0;
	for (unsigned i = 0; i < KEEPER_MAX_NAMES; i++)
		k->name[i].told = false;
	for (unsigned i = 0; i < k->top; i++) {
		struct conn *c = &k->conn[i];
		c->told = false;
		c->kept_told = 0;
		if (c->state == CONN_SENT)
			c->state = CONN_STORED;
		if (c->state == CONN_ENDING)
			c->state = CONN_FREE;
	}
	keeper_watch(k, k->sock, WATCH_WORKER, 0, EPOLLIN, true);
	child_tell(k);
}

static bool tell_hello(struct keeper *k)
{
	struct why why;
	struct kp_hello b = { .version = KP_VERSION, .worker = k->worker, .life = k->life, .status = k->status,
			      .started_us = k->started_us, .died_us = k->died_us };
	struct kp_head h = { .type = KP_HELLO, .len = sizeof(b) };
	return kp_send(k->sock, &h, &b, NULL, false, &why) == OK;
}

static bool tell_ready(struct keeper *k)
{
	struct why why;
	struct kp_head h = { .type = KP_READY };
	return kp_send(k->sock, &h, NULL, NULL, false, &why) == OK;
}

static void set_blocked(struct keeper *k, bool blocked)
{
	if (k->blocked != blocked && !k->deaf)
		keeper_watch(k, k->sock, WATCH_WORKER, 0, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, false);
	k->blocked = blocked;
}

void child_tell_one(struct keeper *k, struct conn *c)
{
	if (k->pid && k->ready_told && !k->blocked && !k->deaf && !conn_tell(k, c))
		set_blocked(k, true);
}

void child_tell(struct keeper *k)
{
	if (!k->pid || k->deaf)
		return;
	k->hello_told = k->hello_told || tell_hello(k);
	bool all = k->hello_told && custody_tell(k);
	for (unsigned i = 0; all && i < k->top; i++)
		all = conn_tell(k, &k->conn[i]);
	k->ready_told = k->ready_told || (all && tell_ready(k));
	set_blocked(k, !all || !k->ready_told);
}

void child_crash(struct keeper *k, enum crash_point p)
{
	if (crash_due(p) && k->pid)
		kill(k->pid, SIGKILL);
}

// -- what it says -----------------------------------------------------------------------------------------------------------

static void on_iam(struct keeper *k, const struct kp_packet *p)
{
	struct kp_iam b;
	if (p->head.len != sizeof(b))
		return;
	memcpy(&b, p->body, sizeof(b));
	if (b.version != KP_VERSION || b.life == 0 || b.life > UINT32_MAX) {
		log_err("keeper: the worker speaks version %u of our language, this is %u", b.version, KP_VERSION);
		kill(k->pid, SIGKILL);
		return;
	}
	k->life = b.life;
}

static void on_serving(struct keeper *k)
{
	uint64_t now = clock_boot_us();
	if (k->died_us)
		log_info("keeper: worker %d serves, %llu us after the last one's death", (int)k->pid, (unsigned long long)(now - k->died_us));
	k->serving = k->ever_served = true;
	k->failed_starts = 0;
	for (unsigned i = 0; i < k->top; i++)
		if (k->conn[i].state == CONN_SENT)
			k->conn[i].sent_us = now; // the time of taking everything over is not its
	if (k->hup)
		kill(k->pid, SIGHUP);
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
		custody_put(k, text, fd_take(&p->fds[0]), (p->head.flags & KP_LISTEN) != 0);
		break;
	case KP_DROP:
		custody_drop(k, text);
		break;
	case KP_OPEN:
		conn_open(k, text, fd_take(&p->fds[0]));
		break;
	case KP_DONE:
		conn_done(k, p);
		break;
	case KP_CLOSE:
		if ((c = conn_find(k, p->head.conn)) != NULL && (p->head.flags & KP_FILL))
			conn_fill_log(c);
		if (c)
			conn_close(k, c);
		break;
	case KP_SERVING:
		on_serving(k);
		break;
	case KP_END:
		k->ended = true;
		break;
	default:
		log_err("keeper: the worker says %u, which means nothing", p->head.type);
	}
	kp_drop(p);
}

void child_read(struct keeper *k)
{
	struct why why;
	while (k->sock >= 0 && kp_recv(k->sock, &k->in, false, &why) == OK)
		on_packet(k, &k->in);
}

// -- its death ---------------------------------------------------------------------------------------------------------------

static void say_death(const struct keeper *k)
{
	if (WIFSIGNALED(k->status))
		log_err("keeper: worker %d died of signal %d (%s), starting another", (int)k->pid, WTERMSIG(k->status),
			strsignal(WTERMSIG(k->status)));
	else if (k->ever_served)
		log_err("keeper: worker %d ended by itself with %d, starting another", (int)k->pid, WEXITSTATUS(k->status));
}

// A message that was with this many workers when they died is the cause.
#define POISON 3

static void blame(struct keeper *k)
{
	for (unsigned i = 0; i < k->top; i++) {
		struct conn *c = &k->conn[i];
		if (c->state == CONN_SENT && k->serving && ++c->deaths >= POISON)
			conn_give_up(k, c, "its message ended the worker again and again");
		else if (c->state != CONN_FREE && c->state != CONN_ENDING && c->behind)
			conn_give_up(k, c, "its last state could not be stored");
	}
}

void child_reap(struct keeper *k)
{
	int status;
	if (!k->pid || waitpid(k->pid, &status, WNOHANG | WUNTRACED | WCONTINUED) != k->pid)
		return;
	if (WIFSTOPPED(status) || WIFCONTINUED(status)) { // frames stand still, though no message waits
		k->stopped_us = WIFSTOPPED(status) ? clock_boot_us() : 0;
		return;
	}
	child_read(k); // what it said before it died counts
	k->status = status;
	k->died_us = clock_boot_us();
	if (!k->ended && !k->ending)
		say_death(k);
	epoll_ctl(k->ep, EPOLL_CTL_DEL, k->sock, NULL);
	fd_reset(&k->sock);
	k->pid = 0;
	if (k->ended || k->ending || (!k->ever_served && WIFEXITED(status))) { // wrong options, a port that can't be: its status is ours
		k->ended = true;
		return;
	}
	blame(k);
	k->worker++;
	k->failed_starts += !k->serving;
	if (k->failed_starts == 0) {
		child_start(k);
		return;
	}
	if (k->failed_starts >= MAX_FAILED_STARTS) {
		log_err("keeper: %u workers died before they served: all connections are closed, front ends will try again", k->failed_starts);
		k->ended = true;
		return;
	}
	try_later(k);
	for (unsigned i = 0; i < k->top; i++) // it may take a while: who is gone is not kept
		if (k->conn[i].state != CONN_FREE && k->conn[i].gone)
			conn_close(k, &k->conn[i]);
}

// -- time ----------------------------------------------------------------------------------------------------------------------

uint64_t child_deadline(const struct keeper *k)
{
	if (!k->pid)
		return k->respawn_us;
	if (k->abort_us)
		return k->abort_us + KEEPER_ABORT_US;
	if (k->ending)
		return 0;
	if (!k->serving)
		return k->spawned_us + KEEPER_START_US;
	uint64_t first = k->stopped_us;
	for (unsigned i = 0; i < k->top; i++)
		if (k->conn[i].state == CONN_SENT && (!first || k->conn[i].sent_us < first))
			first = k->conn[i].sent_us;
	return first ? first + KEEPER_HANG_US : 0;
}

void child_overdue(struct keeper *k, uint64_t now)
{
	if (!k->pid) {
		child_start(k);
	} else if (k->abort_us) {
		kill(k->pid, SIGKILL);
		k->abort_us = now;
	} else {
		log_err("keeper: worker %d %s: it is ended", (int)k->pid, k->stopped_us ? "was stopped" : k->serving ? "does not answer" : "does not get ready");
		kill(k->pid, SIGABRT); // a stopped one, too, does not get past the SIGKILL that follows
		k->abort_us = now;
	}
}
