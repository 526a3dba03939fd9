// Two guests talk at full speed while the program under them is replaced. They must not notice.
//
//   keeper_upgrade [--upgrades N] [--packed] [--pairs N] [--log] VRINGCTL VRINGD OTHER...
//     from VRINGD to each OTHER, to VRINGD, and so on. Nothing may be missing, come twice, or lose its connection.
//   keeper_upgrade --keeper [...] VRINGCTL VRINGD OTHER...
//     the same with the keeper's program. The worker stays the same process; now and then it is killed afterwards.
//     --caught: one of the programs has a seeded bug; something must be wrong.
//   keeper_upgrade --refused [...] VRINGCTL VRINGD OTHER=REASON...
//     each OTHER must be refused for that reason; the worker stays the same process.
//   keeper_upgrade --crash [...] VRINGCTL VRINGD POINT[=done|=refused]...
//     VRINGD has crash points: an upgrade in which the worker, or the candidate for points of its own, dies there. At most a batch of each ring
//     comes twice. Afterwards another one succeeds. What must be told of the first.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kill.h"
#include "talk.h"

struct run {
	struct talk t;
	const char *ctl, *bin;
	char **other;
	unsigned n_others, upgrades, done;
	bool refused, crash, keeper;
	char said[400]; // by vringctl
	char failed[600];
};

static bool fail(struct run *r, const char *what, const char *with)
{
	snprintf(r->failed, sizeof(r->failed), "upgrade %u: %s%s%s", r->done + 1, what, with[0] ? ": " : "", with);
	return false;
}

// vringctl upgrade BINARY; its status, -1 if it can't be run. What it says is in r->said.
static int upgrade(struct run *r, const char *bin)
{
	char control[100];
	int out[2], status = -1;
	snprintf(control, sizeof(control), "%s/control.sock", r->t.bed.d.run);
	if (pipe(out) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execl(r->ctl, r->ctl, "--control", control, "upgrade", bin, r->keeper ? "--keeper" : (char *)NULL, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	size_t at = 0;
	for (ssize_t n; at < sizeof(r->said) - 1 && (n = read(out[0], r->said + at, sizeof(r->said) - 1 - at)) > 0;)
		at += (size_t)n;
	r->said[at] = '\0';
	close(out[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool runs(pid_t pid, const char *bin)
{
	char link[64], at[400], want[400];
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(link, at, sizeof(at) - 1);
	if (n <= 0 || realpath(bin, want) == NULL)
		return false;
	at[n] = '\0';
	return strcmp(at, want) == 0;
}

// The keeper's oldest child that stays: one that has left, or a candidate that was, goes within moments.
static pid_t settled(const struct run *r)
{
	pid_t pid = -1;
	for (unsigned k = 0; k < 1000; k++) {
		pid_t now = daemon_worker(&r->t.bed.d);
		if (now > 0 && now == pid)
			return pid;
		pid = now;
		daemon_nap(5);
	}
	return pid;
}

static bool go_to(struct run *r, const char *bin)
{
	pid_t old = settled(r);
	talk_mark(&r->t, old);
	if (upgrade(r, bin) != 0)
		return fail(r, "it was not done", r->said);
	for (unsigned k = 0; k < 5000 && (settled(r) == old || !runs(settled(r), bin)); k++) // the one that has left may not have been waited for
		daemon_nap(1);
	if (!runs(settled(r), bin))
		return fail(r, "the worker is not the new program", bin);
	if (!talk_moves(&r->t, 10000))
		return fail(r, "no frame moves afterwards", "");
	r->done++;
	return true;
}

static bool keeper_goes_to(struct run *r, const char *bin)
{
	pid_t old = settled(r);
	talk_mark(&r->t, 0);
	if (upgrade(r, bin) != 0)
		return fail(r, "it was not done", r->said);
	if (!runs(r->t.bed.d.pid, bin))
		return fail(r, "the keeper is not the new program", bin);
	if (settled(r) != old)
		return fail(r, "the worker is another one", bin);
	if (!talk_moves(&r->t, 10000))
		return fail(r, "no frame moves afterwards", "");
	if (r->done % 5 == 4) {
		talk_mark(&r->t, 0);
		kill_one(old, SIGKILL);
		for (unsigned k = 0; k < 5000 && settled(r) == old; k++)
			daemon_nap(1);
		if (!talk_moves(&r->t, 10000))
			return fail(r, "no frame moves after a death", "");
	}
	r->done++;
	return true;
}

static bool be_refused(struct run *r, char *other)
{
	char bin[300];
	const char *reason = strchr(other, '=');
	pid_t old = settled(r);
	snprintf(bin, sizeof(bin), "%.*s", (int)(reason - other), other);
	int status = upgrade(r, bin);
	if (status != 1)
		return fail(r, "it was not refused", r->said);
	if (strstr(r->said, reason + 1) == NULL)
		return fail(r, reason + 1, r->said);
	if (settled(r) != old)
		return fail(r, "the worker is another one", bin);
	talk_mark(&r->t, 0);
	if (!talk_moves(&r->t, 10000))
		return fail(r, "no frame moves afterwards", "");
	printf("refused: %s", r->said);
	r->done++;
	return true;
}

static bool die_within(struct run *r, const char *point)
{
	const char *want = strchr(point, '=');
	pid_t old = settled(r);
	talk_mark(&r->t, old);
	int status = upgrade(r, r->bin);
	for (unsigned k = 0; k < 5000 && (settled(r) == old || kill_one(old, 0) == 0) && status == 1 && strncmp(point, "cand_", 5) != 0; k++)
		daemon_nap(1);
	if (strncmp(point, "cand_", 5) == 0)
		r->t.old = 0;
	if (!talk_moves(&r->t, 10000))
		return fail(r, "no frame moves after the death", point);
	if (want != NULL && (status == 0) != (strcmp(want, "=done") == 0))
		return fail(r, want + 1, r->said);
	long from = 0;
	char *said = daemon_said(&r->t.bed.d, &from);
	bool died = strstr(said, "crash point ") != NULL;
	free(said);
	if (!died)
		return fail(r, "nobody died there", point);
	if (strncmp(point, "cand_told", 9) == 0 || strncmp(point, "cand_judged", 11) == 0) { // the next candidate must have another number
		pid_t worker = settled(r);
		kill_one(worker, SIGKILL);
		for (unsigned k = 0; k < 5000 && (old = settled(r)) == worker; k++)
			daemon_nap(1);
	}
	return go_to(r, r->bin);
}

static void *upgrader(void *arg)
{
	struct run *r = arg;
	bool well = true;
	if (r->crash)
		well = die_within(r, r->other[0]);
	else if (r->refused)
		for (unsigned i = 0; well && i < r->n_others; i++)
			well = be_refused(r, r->other[i]);
	for (unsigned i = 0; well && !r->crash && i < r->upgrades && !r->t.over; i++) {
		unsigned at = (i + 1) % (r->n_others + 1);
		const char *bin = at == 0 || r->refused ? r->bin : r->other[at - 1];
		well = r->keeper ? keeper_goes_to(r, bin) : go_to(r, bin);
	}
	r->t.over = true;
	return NULL;
}

static bool judge(struct run *r, const char *name)
{
	struct talk_sum s;
	talk_sum(&r->t, &s);
	printf("keeper_upgrade%s%s: %u done, %llu frames, %llu missing, %llu repeated; gap p50 %u us, p99 %u us, longest %u us%s%s%s%s\n",
	       name[0] ? " " : "", name, r->done, (unsigned long long)r->t.frames, (unsigned long long)s.lost, (unsigned long long)s.repeated,
	       s.all.p50, s.all.p99, s.all.longest, r->t.wrong ? "; " : "", r->t.wrong ? r->t.wrong : "", r->failed[0] ? "; " : "", r->failed);
	if (r->t.wrong != NULL || s.lost)
		talk_tell(&r->t);
	return r->t.wrong == NULL && !r->failed[0] && s.lost == 0 && s.most <= (r->crash ? TALK_BATCH : r->keeper ? TALK_BATCH * (r->done / 5) : 0);
}

static bool run(struct run *r, const char *name)
{
	pthread_t thread;
	if (!talk_open(&r->t, r->bin)) {
		printf("keeper_upgrade: %s\n", r->t.bed.failed[0] ? r->t.bed.failed : "it could not be started");
		return false;
	}
	bool well = pthread_create(&thread, NULL, upgrader, r) == 0;
	if (well) {
		talk_run(&r->t);
		pthread_join(thread, NULL);
		well = judge(r, name);
	}
	return talk_close(&r->t, !well) && well;
}

// One daemon for each point: the plan is in its environment.
static bool run_points(const struct run *base)
{
	static struct run r;
	unsigned bad = 0;
	for (unsigned i = 0; i < base->n_others; i++) {
		char plan[100];
		const char *point = base->other[i];
		bool cand = strncmp(point, "cand_", 5) == 0 || strncmp(point, "adopt_", 6) == 0;
		r = *base;
		r.other = base->other + i;
		r.n_others = 1;
		snprintf(plan, sizeof(plan), "%u:%.*s:1", cand, (int)strcspn(point, "="), point);
		setenv("VRINGD_CRASH", plan, 1);
		bad += !run(&r, point);
	}
	return bad == 0;
}

int main(int argc, char **argv)
{
	static struct run r = {.t.conf = {.ring_size = 256, .pairs = 1}, .upgrades = 50};
	bool caught = false;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			r.t.conf.packed = true;
		else if (strcmp(argv[i], "--log") == 0)
			r.t.log = true;
		else if (strcmp(argv[i], "--refused") == 0)
			r.refused = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--keeper") == 0)
			r.keeper = true;
		else if (strcmp(argv[i], "--crash") == 0)
			r.crash = true;
		else if (strcmp(argv[i], "--upgrades") == 0 && i + 1 < argc)
			r.upgrades = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			r.t.conf.pairs = (uint16_t)strtoul(argv[++i], NULL, 10);
	}
	if (argc - i < 3 || r.t.conf.pairs < 1 || r.t.conf.pairs > TALK_PAIRS) {
		fprintf(stderr, "usage: keeper_upgrade [--upgrades N] [--packed] [--pairs N] [--log] [--caught] [--keeper|--refused|--crash] VRINGCTL VRINGD "
				"OTHER[=REASON]...|POINT[=done|=refused]...\n");
		return 2;
	}
	r.ctl = argv[i];
	r.bin = argv[i + 1];
	r.other = argv + i + 2;
	r.n_others = (unsigned)(argc - i - 2);
	for (unsigned k = 0; r.refused && k < r.n_others; k++)
		if (strchr(r.other[k], '=') == NULL)
			return 2;
	signal(SIGPIPE, SIG_IGN);
	return (r.crash ? run_points(&r) : run(&r, "")) == !caught ? 0 : 1;
}
