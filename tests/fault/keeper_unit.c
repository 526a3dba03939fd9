// Two guests talk at full speed while the service manager restarts the unit under them: it keeps their connections meanwhile. They must see
// nothing but a gap.
//
//   keeper_unit [--restarts N] [--packed] [--pairs N] [--log] VRINGD [OTHER]
//     every second start is OTHER, as after a package's upgrade; every third new daemon is killed before it serves and started again;
//     every fifth time the worker is killed just before; every seventh new daemon is told to stop before it serves. --caught: something must be wrong (FDSTORE=0: this manager keeps nothing). Nothing may be missing, or come twice but for those deaths.
//   keeper_unit --loses all|image|room|told VRINGD
//     the manager has lost what it kept; or the image alone; or had room for a few only, and says so or does not: front ends see the end of their
//     connections, and the daemon starts.
//   keeper_unit --watchdog VRINGD
//     a manager that watches hears of the keeper in time, also with a worker that is stopped.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/kill.h"
#include "manager.h"
#include "talk.h"

struct run {
	struct talk t;
	const char *bin, *other;
	unsigned restarts, done, deaths;
	_Atomic bool finish; // the daemon's parent is the thread that started it
	char failed[300];
};

static bool fail(struct run *r, const char *what)
{
	snprintf(r->failed, sizeof(r->failed), "restart %u: %s", r->done + 1, what);
	return false;
}

static bool end(struct run *r)
{
	struct daemon *d = &r->t.bed.d;
	manager_again();
	kill_one(d->pid, SIGTERM);
	for (unsigned i = 0; i < 10000 && daemon_alive(d); i++)
		daemon_nap(1);
	return d->pid <= 0 ? true : fail(r, "it does not end");
}

static bool stop(struct run *r)
{
	const struct daemon *d = &r->t.bed.d;
	if (!end(r))
		return false;
	if (!WIFEXITED(d->status) || WEXITSTATUS(d->status) != 0)
		return fail(r, "it did not end well");
	return manager_stopping() ? true : fail(r, "it did not say that it ends");
}

static bool start(struct run *r)
{
	if (!daemon_again(&r->t.bed.d))
		return fail(r, "it can't be started");
	if (!manager_await_ready(10000))
		return fail(r, "it does not get ready");
	if (manager_main_pid() != r->t.bed.d.pid)
		return fail(r, "it told another MAINPID");
	for (unsigned i = 0; i < 5000 && manager_kept() != 0; i++)
		daemon_nap(1);
	return manager_kept() == 0 ? true : fail(r, "it left something in the store");
}

static bool restart(struct run *r)
{
	struct daemon *d = &r->t.bed.d;
	unsigned n = r->done;
	talk_mark(&r->t, daemon_worker(d));
	if (n % 5 == 4) {
		kill_one(daemon_worker(d), SIGKILL);
		r->deaths++;
	}
	if (!stop(r))
		return false;
	if (manager_kept() < 10)
		return fail(r, "the manager was given too little");
	if (r->other != NULL)
		d->bin = n % 2 == 0 ? r->other : r->bin;
	if (n % 3 == 2) {
		if (!daemon_again(d))
			return fail(r, "it can't be started");
		daemon_nap(n % 3); // it takes longer to serve, and until then the manager has everything
		daemon_kill(d);
		r->deaths++;
	}
	if (n % 7 == 6) {
		if (!daemon_again(d))
			return fail(r, "it can't be started");
		daemon_nap(n % 3);
		if (!end(r))
			return false;
		r->deaths++;
	}
	if (!start(r))
		return false;
	if (!talk_moves(&r->t, 10000))
		return fail(r, "no frame moves afterwards");
	if (manager_wrong() != NULL)
		return fail(r, manager_wrong());
	r->done++;
	return true;
}

static void *restarter(void *arg)
{
	struct run *r = arg;
	if (!manager_await_ready(10000))
		fail(r, "the first start did not say that it is ready");
	while (!r->failed[0] && r->done < r->restarts && !r->t.over)
		restart(r);
	r->t.over = true;
	while (!r->finish)
		daemon_nap(1);
	return NULL;
}

static bool judge(struct run *r)
{
	struct talk_sum s;
	talk_sum(&r->t, &s);
	printf("keeper_unit: %u restarts, %llu frames, %llu missing, %llu repeated; gap p50 %u us, longest %u us%s%s%s%s\n", r->done,
	       (unsigned long long)r->t.frames, (unsigned long long)s.lost, (unsigned long long)s.repeated, s.all.p50, s.all.longest,
	       r->t.wrong ? "; " : "", r->t.wrong ? r->t.wrong : "", r->failed[0] ? "; " : "", r->failed);
	if (r->t.wrong != NULL || s.lost)
		talk_tell(&r->t);
	return r->t.wrong == NULL && !r->failed[0] && s.lost == 0 && s.repeated <= (uint64_t)TALK_BATCH * r->deaths * 2 * r->t.conf.pairs;
}

static bool talk(struct run *r)
{
	pthread_t thread;
	bool well = pthread_create(&thread, NULL, restarter, r) == 0;
	if (!well)
		return false;
	talk_run(&r->t);
	well = judge(r);
	lan_close(&r->t.lan); // before its end: a manager that keeps connections of guests that are gone is no matter of this test
	if (r->t.bed.d.pid > 0)
		daemon_kill(&r->t.bed.d);
	r->finish = true;
	pthread_join(thread, NULL);
	return well;
}

static bool closed(const struct fe *fe)
{
	struct pollfd p = {.fd = fe->sock, .events = POLLRDHUP};
	return poll(&p, 1, 5000) == 1 && (p.revents & (POLLHUP | POLLRDHUP)) != 0;
}

enum loss { LOSS_ALL, LOSS_IMAGE, LOSS_ROOM, LOSS_TOLD, N_LOSSES };

static bool loses(struct run *r, enum loss what)
{
	if (!manager_await_ready(10000) || !stop(r))
		return false;
	if (what == LOSS_ALL || what == LOSS_IMAGE)
		manager_lose(what == LOSS_IMAGE);
	if (what == LOSS_TOLD && manager_kept() != 0)
		return fail(r, "it gave the manager more than that has room for");
	if (what == LOSS_ROOM && manager_kept() == 0)
		return fail(r, "it gave the manager nothing");
	if (!start(r))
		return false;
	for (unsigned i = 0; i < 2; i++)
		if (!closed(r->t.lan.fe[i]))
			return fail(r, "a front end was not told");
	return daemon_alive(&r->t.bed.d) ? true : fail(r, "it did not go on");
}

static bool watched(struct run *r)
{
	if (!manager_await_ready(10000))
		return fail(r, "it does not get ready");
	kill_one(daemon_worker(&r->t.bed.d), SIGSTOP); // who is watched is the keeper
	unsigned was = manager_beats();
	for (unsigned i = 0; i < 10000 && manager_beats() < was + 5; i++)
		daemon_nap(1);
	return manager_beats() >= was + 5 ? true : fail(r, "the watchdog hears nothing");
}

int main(int argc, char **argv)
{
	static struct run r = {.t.conf = {.ring_size = 256, .pairs = 1}, .restarts = 20};
	static const char *const losses[] = {"all", "image", "room", "told"};
	enum loss loss = N_LOSSES;
	bool dog = false, caught = false, well;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			r.t.conf.packed = true;
		else if (strcmp(argv[i], "--log") == 0)
			r.t.log = true;
		else if (strcmp(argv[i], "--loses") == 0 && i + 1 < argc)
			for (i++, loss = LOSS_ALL; loss < N_LOSSES && strcmp(argv[i], losses[loss]) != 0;)
				loss++;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--watchdog") == 0)
			dog = true;
		else if (strcmp(argv[i], "--restarts") == 0 && i + 1 < argc)
			r.restarts = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			r.t.conf.pairs = (uint16_t)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || r.t.conf.pairs < 1 || r.t.conf.pairs > TALK_PAIRS) {
		fprintf(stderr, "usage: keeper_unit [--restarts N] [--packed] [--pairs N] [--log] [--caught] [--loses all|image|room|told | --watchdog] VRINGD [OTHER]\n");
		return 2;
	}
	r.bin = argv[i];
	r.other = i + 1 < argc ? argv[i + 1] : NULL;
	signal(SIGPIPE, SIG_IGN);
	r.t.conf.mem.regions = 2; // of one file, as QEMU's are
	r.t.conf.mem.one_file = true;
	if (loss == LOSS_ROOM || loss == LOSS_TOLD)
		manager_room(4, loss == LOSS_TOLD);
	if (!manager_start(loss == N_LOSSES, dog ? 200000 : 0) || !talk_open(&r.t, r.bin)) {
		printf("keeper_unit: %s\n", r.t.bed.failed[0] ? r.t.bed.failed : "it could not be started");
		return 3;
	}
	well = loss < N_LOSSES ? loses(&r, loss) : dog ? watched(&r) : talk(&r);
	if (loss < N_LOSSES || dog) {
		printf("keeper_unit: %s\n", well ? "well" : r.failed);
		lan_close(&r.t.lan);
	}
	daemon_kill(&r.t.bed.d);
	if (!well)
		daemon_tell(&r.t.bed.d);
	daemon_clean(&r.t.bed.d);
	manager_stop();
	return well == !caught ? 0 : 1;
}
