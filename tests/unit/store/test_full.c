// A full disk fails the transaction and not the store. RLIMIT_FSIZE plays the disk; with rights, a small tmpfs does, too.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tmpdir.h"

static void limit(rlim_t bytes)
{
	struct rlimit r;
	getrlimit(RLIMIT_FSIZE, &r);
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

struct last {
	unsigned n;
	uint64_t seq;
	struct snap snap;
};

static void on_snap(void *arg, const struct snap *snap, uint64_t seq)
{
	struct last *l = arg;
	l->n++;
	l->seq = seq;
	l->snap = *snap;
}

// What was said to be committed, and nothing else, is there.
static void last_is(const char *dir, uint64_t seq)
{
	struct store *s;
	struct store_opened how;
	struct why why;
	struct last l = { 0 };
	struct snap want;
	unsigned findings;
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	assert_false(how.set_aside);
	assert_int_equal(store_check(s, &findings, &why), OK);
	assert_int_equal(store_each_connection(s, on_snap, &l, &why), OK);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.seq, seq);
	snap_at(&want, 1, seq);
	assert_int_equal(snap_diff(&l.snap, &want), 0);
	store_close(s);
}

// Commit until the disk is full; returns the last message that was committed.
static uint64_t fill(struct store *s, uint64_t seq, const char *cause)
{
	struct why why = { "" };
	struct snap a;
	for (;; seq++) {
		assert_true(seq < 100000);
		snap_at(&a, 1, seq);
		enum err e = store_commit(s, &a, SNAP_WHAT, seq, NULL, 0, &why);
		if (e == OK)
			continue;
		assert_int_equal(e, OURS);
		if (!strstr(why.text, cause))
			fail_msg("the text is '%s', without '%s'", why.text, cause);
		return seq - 1;
	}
}

static void file_size_limit(void **state)
{
	enum store_durability dur = *state ? STORE_HOST : STORE_PROCESS;
	struct store *s;
	struct store_opened how;
	struct why why;
	struct snap a;
	uint64_t epoch, seq;
	char dir[200];
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(store_open(&s, dir, dur, &how, &why), OK);
	limit(300000);
	seq = fill(s, 1, "File too large");
	// It stays so, for every kind of write, and reads go on.
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fill(s, seq + 1, "File too large"), seq);
	for (unsigned i = 1; i <= 3; i++) { // front ends can connect; what they say then is refused as its row says
		assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
		assert_int_equal(epoch, i);
	}
	assert_int_equal(store_port_put(s, "vm0", "null", &why), OURS);
	assert_int_equal(store_event_add(s, 1, "vm0", "x", "y", NULL, &why), OURS);
	unsigned findings;
	assert_int_equal(store_check(s, &findings, &why), OK);
	store_idle(s);
	limit(RLIM_INFINITY);
	snap_at(&a, 1, seq + 1);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, seq + 1, NULL, 0, &why), OK);
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	assert_int_equal(epoch, 4);
	store_close(s);
	last_is(dir, seq + 1);
	tmpdir_free(dir);
}

// In a mount namespace of its own; exits 77 where that is not allowed.
static int on_tmpfs(const char *dir)
{
	char ballast[230];
	struct store *s;
	struct store_opened how;
	struct why why;
	struct snap a;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("t", dir, "tmpfs", 0, "size=2m") < 0)
		return 77;
	if (store_open(&s, dir, STORE_PROCESS, &how, &why) != OK)
		return 1;
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
	char zero[4096] = { 0 };
	for (unsigned i = 0; i < 300; i++)
		if (write(fd, zero, sizeof(zero)) < 0)
			return 2;
	uint64_t seq = fill(s, 1, "disk is full");
	fill(s, seq + 1, "disk is full");
	if (ftruncate(fd, 0) < 0)
		return 3;
	close(fd);
	snap_at(&a, 1, seq + 1);
	if (store_commit(s, &a, SNAP_WHAT, seq + 1, NULL, 0, &why) != OK)
		return 4;
	// A store that can't be closed cleanly on a full disk is whole all the same.
	seq = fill(s, seq + 2, "disk is full");
	store_close(s);
	last_is(dir, seq);
	// Read-only: told, and not mistaken for a bad file.
	if (mount("t", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) < 0)
		return 5;
	if (store_open(&s, dir, STORE_PROCESS, &how, &why) != OURS || !strstr(why.text, "Read-only"))
		return 6;
	return 0;
}

static void small_tmpfs(void **state)
{
	(void)state;
	char dir[200];
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(on_tmpfs(dir));
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	tmpdir_free(dir);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 77)
		skip();
	assert_int_equal(st, 0);
}

int main(void)
{
	static int host = 1;
	const struct CMUnitTest tests[] = {
		{ "file_size_limit/process", file_size_limit, NULL, NULL, NULL },
		{ "file_size_limit/host", file_size_limit, NULL, NULL, &host },
		cmocka_unit_test(small_tmpfs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
