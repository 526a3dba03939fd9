// A life that several processes have: rows stay, the lock is never free, replies come back; and what happens when the
// database is not the one that they knew.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/fd.h"
#include "store/inner.h"
#include "tmpdir.h"

static char dir[200];
static struct store *s;
static struct store_opened how;
static struct why why;
static int fds_before;

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	s = NULL;
	fds_before = fd_count_open();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	assert_int_equal(fd_count_open(), fds_before);
	tmpdir_free(dir);
	return 0;
}

// The next process of this life.
static void go_on(uint64_t life, int lock_fd, int pid)
{
	struct store_life as = { .life = life, .lock_fd = lock_fd, .pid = pid };
	enum err e = store_open_as(&s, dir, STORE_PROCESS, &as, &how, &why);
	if (e != OK)
		fail_msg("%s", why.text);
}

static void sql(const char *text)
{
	char path[220];
	sqlite3 *db;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

struct seen {
	unsigned n;
	struct store_connection c[4];
};

static void on_connection(void *arg, const struct store_connection *c)
{
	struct seen *v = arg;
	if (v->n < 4)
		v->c[v->n] = *c;
	v->n++;
}

static void see(struct seen *v)
{
	memset(v, 0, sizeof(*v));
	assert_int_equal(store_each_adoptable(s, on_connection, v, &why), OK);
	assert_string_equal(why.text, "");
}

static void commit(uint64_t epoch, uint64_t seq, const char *reply)
{
	struct snap a;
	snap_at(&a, epoch, seq);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, seq, (const uint8_t *)reply, strlen(reply), &why), OK);
}

// When it was quiet for a while the next process has little to read, and everything is there.
static void short_log(void **state)
{
	(void)state;
	struct seen *v = malloc(sizeof(*v));
	uint64_t seq = 0;
	go_on(0, -1, 0);
	uint64_t epoch = STORE_EPOCH(how.keeper_epoch, 1);
	store_quiet(s);
	assert_false(store_quiet_pays(s));
	while (!store_quiet_pays(s) && seq < 1000)
		commit(epoch, ++seq, "reply");
	assert_in_range(s->wal_frames, 10, 200); // neither for each change, nor only when the log is long
	store_quiet(s);
	assert_false(store_quiet_pays(s));
	assert_in_range(s->wal_frames, 0, 3);
	uint64_t life = how.keeper_epoch;
	int custody = dup(store_lock_fd(s));
	store_leave(s);
	go_on(life, custody, 0);
	assert_true(how.resumed);
	assert_in_range(s->wal_frames, 0, 9);
	see(v);
	assert_int_equal(v->n, 1);
	assert_int_equal(v->c[0].seq, seq);
	free(v);
}

// A page of the migrations, which opening does not read.
static void damage(void)
{
	char path[220], junk[64];
	sqlite3 *db;
	sqlite3_stmt *st;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name='migration'", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	off_t page = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	memset(junk, 0x5a, sizeof(junk));
	assert_int_equal(pwrite(fd, junk, sizeof(junk), (page - 1) * 4096), sizeof(junk));
	fd_reset(&fd);
}

// Who goes on from a process that died looks at the file later, and finds what is wrong with it; whoever begins anew looks first.
static void damage_is_found_late(void **state)
{
	(void)state;
	struct seen *v = malloc(sizeof(*v));
	for (unsigned known = 0; known < 2; known++) {
		go_on(0, -1, 0);
		uint64_t life = how.keeper_epoch;
		assert_int_equal(store_settle(s, &why), OK);
		commit(STORE_EPOCH(life, 1), 1, "one");
		store_close(s);
		damage();
		go_on(known ? life : life + 5, -1, 0);
		assert_true(known ? how.resumed && !how.set_aside : !how.resumed && how.set_aside);
		see(v);
		assert_int_equal(v->n, known);
		assert_int_equal(store_settle(s, &why), known ? REFUSED : OK);
		if (known)
			assert_non_null(strstr(why.text, "damaged"));
		assert_int_equal(store_settle(s, &why), OK); // once
		commit(STORE_EPOCH(how.keeper_epoch, 1), 2, "two");
		store_close(s);
	}
	go_on(0, -1, 0);
	assert_true(how.set_aside);
	free(v);
}

// A statement that is prepared when it is needed, and can't be: nothing happens, and it says why.
static void not_prepared(void **state)
{
	(void)state;
	struct store_owed owed = { .port = "a", .rounds = 5 };
	go_on(0, -1, 0);
	uint64_t life = how.keeper_epoch;
	store_close(s);
	go_on(life, -1, 0);
	assert_true(how.resumed);
	assert_null(s->stmt[S_OWED_PUT]);
	assert_non_null(s->stmt[S_ROLLBACK]); // that must not fail when it is needed
	assert_int_equal(sqlite3_exec(s->db, "ALTER TABLE owed RENAME TO gone", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_owed_put(s, &owed, &why), OURS);
	assert_non_null(strstr(why.text, "no such table"));
	assert_int_equal(sqlite3_exec(s->db, "ALTER TABLE gone RENAME TO owed", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_owed_put(s, &owed, &why), OK);
	assert_int_equal(store_settle(s, &why), OK);
	for (unsigned i = 0; i < S_COUNT; i++)
		assert_non_null(s->stmt[i]);
}

// It dies in the middle (the store is left, not closed), twice; connections and replies are there, and messages go on.
static void goes_on(void **state)
{
	(void)state;
	struct seen *v = malloc(sizeof(*v));
	go_on(0, -1, 0);
	assert_true(how.fresh && !how.resumed);
	uint64_t life = how.keeper_epoch;
	int custody = dup(store_lock_fd(s));
	for (unsigned worker = 1; worker <= 2; worker++) {
		store_close(s);
		pid_t child = fork();
		if (child == 0) { // the process that dies
			go_on(worker == 1 ? 0 : life + 1, dup(custody), 0);
			commit(STORE_EPOCH(life + 1, worker), 5, "five");
			commit(STORE_EPOCH(life + 1, worker), 9, worker == 1 ? "" : "nine");
			if (worker == 2)
				commit(STORE_EPOCH(life + 1, 1), 10, "ten");
			_exit(how.keeper_epoch == life + 1 && how.resumed == (worker == 2) ? 0 : 1);
		}
		int st;
		waitpid(child, &st, 0);
		assert_int_equal(st, 0);
		go_on(life + 1, dup(custody), 0);
		assert_true(how.resumed && how.same_boot && !how.fresh && !how.set_aside);
		assert_int_equal(how.keeper_epoch, life + 1);
		see(v);
		assert_int_equal(v->n, worker);
		for (unsigned i = 0; i < worker; i++) {
			const struct store_connection *c = &v->c[i];
			struct snap want;
			bool ten = worker == 2 && i == 0;
			assert_int_equal(c->snap.epoch, STORE_EPOCH(life + 1, i + 1));
			assert_int_equal(c->seq, ten ? 10 : 9);
			assert_int_equal(c->reply_len, ten ? 3 : i ? 4 : 0);
			assert_memory_equal(c->reply, ten ? "ten" : "nine", c->reply_len);
			snap_at(&want, c->snap.epoch, c->seq);
			assert_int_equal(snap_diff(&c->snap, &want), 0);
		}
		// what was committed by the one before is committed for this one
		struct snap a;
		snap_at(&a, STORE_EPOCH(life + 1, 1), 9);
		assert_int_equal(store_commit(s, &a, SNAP_WHAT, 9, NULL, 0, &why), REFUSED);
	}
	store_close(s);
	// the life is over: they are of the last one, and then of none
	fd_reset(&custody);
	go_on(0, -1, 0);
	assert_false(how.resumed);
	assert_int_equal(how.keeper_epoch, life + 2);
	see(v);
	assert_int_equal(v->n, 2);
	store_close(s);
	go_on(life + 2, -1, 0);
	assert_true(how.resumed);
	see(v);
	assert_int_equal(v->n, 0);
	free(v);
}

static bool another_gets_in(void)
{
	pid_t child = fork();
	if (child == 0) {
		struct store *t;
		enum err e = store_open(&t, dir, STORE_PROCESS, &how, &why);
		_exit(e == OK ? 1 : e == REFUSED && strstr(why.text, "pid 4242") ? 0 : 2);
	}
	int st;
	waitpid(child, &st, 0);
	assert_true(WIFEXITED(st) && WEXITSTATUS(st) != 2);
	return WEXITSTATUS(st) == 1;
}

// Between two workers nobody gets in, as long as somebody holds the lock's open file; a file that is another is no lock.
static void lock_is_held(void **state)
{
	(void)state;
	go_on(0, -1, 4242);
	int custody = dup(store_lock_fd(s));
	assert_true(custody >= 0);
	assert_false(another_gets_in());
	store_close(s);
	s = NULL;
	assert_false(another_gets_in());
	go_on(how.keeper_epoch, dup(custody), 4242);
	assert_true(how.resumed);
	assert_false(another_gets_in());
	store_close(s);
	s = NULL;
	// not the lock
	struct store_life as = { .life = how.keeper_epoch, .lock_fd = open("/dev/null", O_RDWR) };
	assert_int_equal(store_open_as(&s, dir, STORE_PROCESS, &as, &how, &why), REFUSED);
	assert_non_null(strstr(why.text, "handed over is not"));
	as.lock_fd = dup(custody);
	char path[220];
	snprintf(path, sizeof(path), "%s/lock", dir);
	assert_int_equal(unlink(path), 0); // somebody tidied up: the next daemon would lock another file
	assert_int_equal(store_open_as(&s, dir, STORE_PROCESS, &as, &how, &why), REFUSED);
	as = (struct store_life){ .life = LIFE_MAX, .lock_fd = -1 };
	assert_int_equal(store_open_as(&s, dir, STORE_PROCESS, &as, &how, &why), OURS);
	fd_reset(&custody);
	assert_true(another_gets_in());
}

// The database is not the one that was known: nothing is gone on with, and no number is given twice.
static void life_is_lost(void **state)
{
	(void)state;
	static const char *const changes[] = {
		NULL, // it is gone
		"PRAGMA user_version=9", // set aside
		"UPDATE meta SET boot='another'", // and its seal with it: set aside
	};
	struct seen *v = malloc(sizeof(*v));
	uint64_t life = 0;
	for (unsigned i = 0; i < 3; i++) {
		go_on(0, -1, 0);
		assert_true(how.keeper_epoch > life);
		life = how.keeper_epoch;
		commit(STORE_EPOCH(life, 1), 1, "");
		store_close(s);
		char path[220];
		snprintf(path, sizeof(path), "%s/state.db", dir);
		if (changes[i])
			sql(changes[i]);
		else
			assert_int_equal(unlink(path), 0);
		go_on(life, -1, 0);
		assert_false(how.resumed);
		assert_true(how.fresh != how.set_aside);
		assert_true(how.keeper_epoch > life);
		see(v);
		assert_int_equal(v->n, 0);
		life = how.keeper_epoch;
		store_close(s);
	}
	// another daemon was there in between: its life is the last one
	go_on(0, -1, 0);
	commit(STORE_EPOCH(how.keeper_epoch, 1), 1, "");
	life = how.keeper_epoch;
	store_close(s);
	go_on(life - 1, -1, 0);
	assert_false(how.resumed);
	assert_int_equal(how.keeper_epoch, life + 1);
	free(v);
}

// Another boot: the same life was asked for, but no front end of it can be there.
static void another_boot(void **state)
{
	(void)state;
	struct seen *v = malloc(sizeof(*v));
	go_on(0, -1, 0);
	uint64_t life = how.keeper_epoch;
	commit(STORE_EPOCH(life, 1), 1, "");
	strcpy(s->boot, "00000000-0000-0000-0000-000000000000"); // what the kernel said before
	assert_int_equal(txn_begin(s, &why), OK);
	assert_int_equal(txn_end(s, meta_put(s, &why), &why), OK);
	store_close(s);
	go_on(life, -1, 0);
	assert_false(how.resumed || how.same_boot);
	assert_int_equal(how.keeper_epoch, life + 1);
	see(v);
	assert_int_equal(v->n, 0);
	free(v);
}

static void epoch_between(uint64_t low, uint64_t high)
{
	uint64_t epoch;
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	assert_true(epoch >= low && epoch < high);
}

// Numbers of ours and numbers from outside never meet, wherever our counter stands.
static void epochs_do_not_meet(void **state)
{
	(void)state;
	struct snap a;
	go_on(0, -1, 0);
	epoch_between(1, EPOCH_LOW_END);
	s->next_epoch = EPOCH_LOW_END - 1500; // one more block fits
	for (unsigned i = 0; i < 4096; i++) {
		uint64_t epoch;
		assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
		assert_true(epoch < EPOCH_LOW_END || epoch >= EPOCH_HIGH);
	}
	epoch_between(EPOCH_HIGH, COUNTER_MAX);
	s->next_epoch = UINT64_C(1) << 50; // where an older version counted on after a database was set aside
	assert_int_equal(txn_begin(s, &why), OK);
	assert_int_equal(txn_end(s, meta_put(s, &why), &why), OK);
	store_close(s);
	go_on(0, -1, 0);
	epoch_between(EPOCH_HIGH + (UINT64_C(1) << 50), COUNTER_MAX);
	// the greatest that can be given from outside is taken, and comes back
	uint64_t most = STORE_EPOCH(LIFE_MAX, UINT32_MAX), life = how.keeper_epoch;
	assert_true(most < EPOCH_HIGH);
	snap_at(&a, most, 1);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, 1, NULL, 0, &why), OK);
	store_close(s);
	go_on(life, -1, 0);
	struct seen *v = malloc(sizeof(*v));
	see(v);
	assert_int_equal(v->n, 1);
	assert_int_equal(v->c[0].snap.epoch, most);
	free(v);
	// a database that was set aside: high, too
	store_close(s);
	sql("PRAGMA user_version=9");
	go_on(0, -1, 0);
	assert_true(how.set_aside);
	epoch_between(EPOCH_HIGH, COUNTER_MAX);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(short_log), T(damage_is_found_late), T(not_prepared), T(goes_on), T(lock_is_held), T(life_is_lost), T(another_boot), T(epochs_do_not_meet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
