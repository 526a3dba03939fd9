// A daemon for one inherited connection ends with 0 when that ends, also if no worker is there at that moment, or the next one can't go on with it.
//
//   keeper_fd VRINGD
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kill.h"
#include "driver/fe.h"
#include "proto/daemon.h"

static const struct {
	const char *name;
	bool negotiates, dies, killed_first, loses, stays; // loses: the store; stays: the front end, until the daemon has ended
	bool alone; // no keeper
} cases[] = {
	{ .name = "it ends in the usual way", .negotiates = true },
	{ .name = "without a keeper", .negotiates = true, .alone = true },
	{ .name = "the worker dies before and after it", .negotiates = true, .dies = true, .killed_first = true },
	{ .name = "it ends while the worker is stopped", .negotiates = true, .dies = true },
	{ .name = "it has not said anything yet", .dies = true },
	{ .name = "the store is lost", .negotiates = true, .dies = true, .loses = true, .stays = true },
};

static bool worker_of(struct daemon *d, pid_t old, pid_t *out)
{
	for (unsigned i = 0; i < 5000 && daemon_alive(d); i++, daemon_nap(1))
		if ((*out = daemon_worker(d)) > 0 && *out != old)
			return true;
	return false;
}

static void lose_store(const struct daemon *d)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	char path[120];
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/state.db%s", d->state, tails[i]);
		unlink(path);
	}
}

// NULL, or what is wrong.
static const char *run(struct daemon *d, struct fe *fe, const char *bin, unsigned n)
{
	char fd_text[16];
	int pair[2];
	pid_t worker = -1;
	const char *args[] = {"--fd", fd_text, cases[n].alone ? "--no-keeper" : NULL, NULL};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || fcntl(pair[0], F_SETFD, FD_CLOEXEC) != 0)
		return "no pair";
	snprintf(fd_text, sizeof(fd_text), "%d", pair[1]);
	fe_take(fe, pair[0]);
	bool started = daemon_start(d, bin, args);
	close(pair[1]);
	if (!started || !worker_of(d, -1, &worker))
		return "it does not start";
	if (cases[n].negotiates && (fe_negotiate(fe) != FE_OK || fe_barrier(fe) != FE_OK))
		return fe->err_text;
	if (!cases[n].negotiates)
		daemon_nap(300); // it is with the keeper by then, or goes on its way there: either must end well
	if (cases[n].killed_first) {
		kill_one(worker, SIGKILL);
		if (!worker_of(d, worker, &worker) || fe_barrier(fe) != FE_OK)
			return "the connection did not outlive a worker";
	}
	if (cases[n].dies)
		kill_one(worker, SIGSTOP);
	if (cases[n].loses)
		lose_store(d);
	if (!cases[n].stays)
		fe_disconnect(fe);
	daemon_nap(50);
	if (cases[n].dies)
		kill_one(worker, SIGKILL);
	for (unsigned i = 0; i < 10000 && daemon_alive(d); i++)
		daemon_nap(1);
	if (d->pid > 0)
		return "it goes on";
	return WIFEXITED(d->status) && WEXITSTATUS(d->status) == 0 ? NULL : "it did not end with 0";
}

int main(int argc, char **argv)
{
	static struct daemon d;
	unsigned bad = 0, n = 0;
	if (argc < 2) {
		fprintf(stderr, "usage: keeper_fd VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct fe *fe = fe_new(&(struct fe_conf){.pairs = 1});
		const char *wrong = fe ? run(&d, fe, argv[1], n) : "no memory";
		if (wrong) {
			printf("keeper_fd: %s: %s\n", cases[n].name, wrong);
			daemon_tell(&d);
			bad++;
		}
		daemon_clean(&d);
		fe_free(fe);
	}
	printf("keeper_fd: %u ends of a connection, %u wrong\n", n, bad);
	return bad ? 1 : 0;
}
