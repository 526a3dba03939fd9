// acked => durable: a writer commits numbered transitions and reports each over a pipe; it is killed at random; then every
// reported one is in the file, at most one is ahead, and the file is whole. The negative control is a writer that reports
// before it commits: the same checker must catch it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kill.h"
#include "tmpdir.h"

enum { KILLS = 100, CONTROL_KILLS = 100 };

static void writer(const char *dir, int pipe_fd, bool report_first)
{
	struct store *s;
	struct store_opened how;
	struct snap a;
	uint64_t epoch;
	if (store_open(&s, dir, STORE_PROCESS, &how, NULL) != OK || store_next_epoch(s, &epoch, NULL) != OK)
		_exit(1);
	for (uint64_t seq = 1;; seq++) {
		uint64_t report[2] = { epoch, seq };
		snap_at(&a, epoch, seq);
		if (report_first && write(pipe_fd, report, sizeof(report)) < 0)
			_exit(2);
		if (store_commit(s, &a, SNAP_WHAT, seq, (const uint8_t *)&seq, sizeof(seq), NULL) != OK)
			_exit(3);
		if (!report_first && write(pipe_fd, report, sizeof(report)) < 0)
			_exit(4);
		if (seq % 64 == 0)
			store_idle(s);
		if (seq % 96 == 0)
			store_quiet(s);
	}
}

struct found {
	unsigned n;
	uint64_t epoch, seq;
	bool torn;
};

static void on_snap(void *arg, const struct snap *snap, uint64_t seq)
{
	struct found *f = arg;
	struct snap want;
	snap_at(&want, snap->epoch, seq);
	f->n++;
	f->epoch = snap->epoch;
	f->seq = seq;
	if (snap_diff(snap, &want) != 0)
		f->torn = true;
}

struct tally {
	unsigned kills, exact, ahead, lost, torn, damaged, reports;
};

// The checker. It knows only what was reported and what is in the file.
static void judge(const char *dir, uint64_t epoch, uint64_t reported, struct tally *t)
{
	struct store *s;
	struct store_opened how;
	struct why why;
	struct found f = { 0 };
	unsigned findings = 0;
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	if (how.set_aside || store_check(s, &findings, &why) != OK)
		t->damaged++;
	assert_int_equal(store_each_connection(s, on_snap, &f, &why), OK);
	store_close(s);
	t->kills++;
	t->reports += (unsigned)reported;
	if (f.torn || f.n > 1)
		t->torn++;
	if (reported > 0 && (f.n == 0 || f.epoch != epoch || f.seq < reported))
		t->lost++;
	else if (f.n == 0 || f.seq == reported)
		t->exact++;
	else if (f.seq == reported + 1)
		t->ahead++;
	else
		t->torn++;
}

static void kill_once(const char *dir, bool report_first, struct tally *t)
{
	int p[2];
	uint64_t report[2], epoch = 0, seq = 0;
	assert_int_equal(pipe(p), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(p[0]);
		writer(dir, p[1], report_first);
	}
	close(p[1]);
	// From within the opening (0) to hundreds of commits later.
	struct timespec ts = { .tv_nsec = rand() % 15000000 };
	if (rand() % 4 && read(p[0], report, sizeof(report)) == (ssize_t)sizeof(report)) {
		epoch = report[0];
		seq = report[1];
	}
	nanosleep(&ts, NULL);
	kill_one(pid, SIGKILL);
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st));
	while (read(p[0], report, sizeof(report)) == (ssize_t)sizeof(report)) {
		epoch = report[0];
		seq = report[1];
	}
	close(p[0]);
	judge(dir, epoch, seq, t);
}

static struct tally campaign(unsigned kills, bool report_first)
{
	struct tally t = { 0 };
	char dir[200];
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	for (unsigned i = 0; i < kills; i++)
		kill_once(dir, report_first, &t);
	tmpdir_free(dir);
	print_message("%u kills, %u reports: %u exact, %u one ahead, %u lost, %u torn, %u damaged\n", t.kills, t.reports, t.exact,
		      t.ahead, t.lost, t.torn, t.damaged);
	return t;
}

static void reported_is_durable(void **state)
{
	(void)state;
	struct tally t = campaign(KILLS, false);
	assert_int_equal(t.lost, 0);
	assert_int_equal(t.torn, 0);
	assert_int_equal(t.damaged, 0);
	assert_true(t.reports > KILLS);
}

static void report_before_commit_is_caught(void **state)
{
	(void)state;
	struct tally t = campaign(CONTROL_KILLS, true);
	assert_true(t.lost > 0);
	assert_int_equal(t.damaged, 0);
}

int main(void)
{
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srand(seed);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reported_is_durable),
		cmocka_unit_test(report_before_commit_is_caught),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
