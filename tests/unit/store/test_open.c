// What open does with a file that it can't use: it is renamed whole, a fresh one is made, and the reason is told.
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

#include "tmpdir.h"

static char dir[200];
static char path[220];
static struct why why;

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	snprintf(path, sizeof(path), "%s/state.db", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

static void file_write(const char *to, const void *bytes, size_t len)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static size_t file_read(const char *from, unsigned char **bytes)
{
	struct stat st;
	int fd = open(from, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*bytes = malloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, *bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void sql(const char *text)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void count(void *arg, const struct snap *snap, uint64_t seq)
{
	(void)snap;
	(void)seq;
	++*(unsigned *)arg;
}

// A store with a connection and some events in it; left with its log (by a death) or closed.
static void filled(bool die)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s;
		struct store_opened how;
		struct snap a;
		uint64_t epoch;
		if (store_open(&s, dir, STORE_PROCESS, &how, NULL) != OK || store_next_epoch(s, &epoch, NULL) != OK)
			_exit(1);
		for (uint64_t seq = 1; seq <= 20; seq++) {
			snap_at(&a, epoch, seq);
			if (store_commit(s, &a, SNAP_WHAT, seq, NULL, 0, NULL) != OK ||
			    store_event_add(s, seq, "vm0", "x", "some text to fill the file with", NULL, NULL) != OK)
				_exit(1);
		}
		if (!die)
			store_close(s);
		_exit(0);
	}
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

// Open must work, whatever was there; after it the store must work. Returns whether the file was set aside.
static bool open_works(struct store_opened *how)
{
	struct store *s;
	struct snap a;
	uint64_t epoch;
	unsigned n = 0, findings;
	enum err e = store_open(&s, dir, STORE_PROCESS, how, &why);
	if (e != OK)
		fail_msg("open: %s: %s", err_name(e), why.text);
	assert_int_equal(store_each_connection(s, count, &n, &why), OK);
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	snap_at(&a, epoch, 1);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, 1, NULL, 0, &why), OK);
	if (how->set_aside)
		assert_int_equal(store_check(s, &findings, &why), OK);
	store_close(s);
	if (how->set_aside) {
		struct stat st;
		assert_true(how->aside_why.text[0] != '\0');
		char wal[300];
		snprintf(wal, sizeof(wal), "%s-wal", how->aside_path);
		assert_true(lstat(how->aside_path, &st) == 0 || lstat(wal, &st) == 0);
		assert_false(how->fresh);
	}
	return how->set_aside;
}

static void aside_because(const char *reason)
{
	struct store_opened how;
	assert_true(open_works(&how));
	if (!strstr(how.aside_why.text, reason))
		fail_msg("set aside because '%s', not '%s'", how.aside_why.text, reason);
	assert_false(open_works(&how));
	assert_false(how.fresh);
	assert_true(how.same_boot);
}

static void fresh_and_modes(void **state)
{
	(void)state;
	struct store *s;
	struct store_opened how;
	struct stat st;
	char deep[220];
	snprintf(deep, sizeof(deep), "%s/deep", dir);
	assert_int_equal(store_open(&s, deep, STORE_HOST, &how, &why), OK);
	assert_true(how.fresh && !how.set_aside && !how.same_boot);
	assert_int_equal(how.keeper_epoch, 1);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/deep/state.db", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	strcat(path, "-shm"); // the log's index is not shared with anybody
	assert_int_equal(stat(path, &st), -1);
	store_close(s);
	tmpdir_free(deep);
}

static void second_opener(void **state)
{
	(void)state;
	struct store *s, *t = (void *)1;
	struct store_opened how;
	char pid[32];
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	pid_t child = fork();
	if (child == 0) {
		enum err e = store_open(&t, dir, STORE_PROCESS, &how, &why);
		snprintf(pid, sizeof(pid), "pid %ld", (long)getppid());
		_exit(e == REFUSED && !t && strstr(why.text, pid) ? 0 : 1);
	}
	int st;
	waitpid(child, &st, 0);
	assert_int_equal(st, 0);
	store_close(s);
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	store_close(s);
	store_close(NULL);
}

static void not_a_database(void **state)
{
	(void)state;
	static const char text[] = "port vhost-user,id=vm0\n# this is a text, and not a database, with more than 100 bytes in it, so "
				   "that it has the length of a header\n";
	struct store_opened how;
	unsigned char *got;
	file_write(path, text, sizeof(text));
	assert_true(open_works(&how));
	assert_string_equal(how.aside_why.text, "not a database");
	assert_int_equal(file_read(how.aside_path, &got), sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	free(got);
	// A second one takes the next number.
	file_write(path, text, sizeof(text));
	assert_true(open_works(&how));
	assert_non_null(strstr(how.aside_path, "state.db.bad-2"));
}

static void foreign_database(void **state)
{
	(void)state;
	sql("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
	aside_because("of another program");
	sql("PRAGMA application_id=1234");
	aside_because("of another program");
}

static void port_is_kept(void *arg, const char *id, const char *spec)
{
	*(bool *)arg = strcmp(id, "kept") == 0 && strcmp(spec, "vhost-user,id=kept") == 0;
}

static void foreign_schema(void **state)
{
	(void)state;
	filled(false);
	sql("CREATE TRIGGER x AFTER INSERT ON ring BEGIN DELETE FROM applied; END");
	aside_because("its tables are not those of schema 3");
	filled(false);
	sql("DROP TABLE ring");
	aside_because("its tables are not those of schema 3");
	filled(false);
	sql("DELETE FROM meta");
	aside_because("counters are missing");
	filled(false);
	sql("UPDATE meta SET next_epoch=1");
	aside_because("checksum");
	filled(false);
	sql("PRAGMA user_version=0");
	aside_because("schema 0 does not exist");
}

static void newer_schema(void **state)
{
	(void)state;
	filled(false);
	sql("PRAGMA user_version=9");
	aside_because("schema 9 is newer than this version reads");
}

#define OLD_SEAL "v INTEGER NOT NULL,oldest INTEGER NOT NULL,sum INTEGER NOT NULL"
// What versions 1 and 2 had that is another table today.
static const char *const older[] = {
	"DROP TABLE conn;DROP TABLE region;DROP TABLE ring;"
	"CREATE TABLE conn(epoch INTEGER PRIMARY KEY,features_offered INTEGER NOT NULL,has_features INTEGER NOT NULL,"
	"features_acked INTEGER NOT NULL,has_protocol INTEGER NOT NULL,protocol_features INTEGER NOT NULL,"
	"owned INTEGER NOT NULL,mtu INTEGER NOT NULL,has_log INTEGER NOT NULL,log_size INTEGER NOT NULL,"
	"log_offset INTEGER NOT NULL," OLD_SEAL ")STRICT;"
	"CREATE TABLE region(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,guest_addr INTEGER NOT NULL,size INTEGER NOT NULL,"
	"user_addr INTEGER NOT NULL,mmap_offset INTEGER NOT NULL," OLD_SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," OLD_SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"PRAGMA user_version=1",
	"DROP TABLE ring;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"kick_from INTEGER NOT NULL,call_from INTEGER NOT NULL,err_from INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," OLD_SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"PRAGMA user_version=2",
};

// A database as an older version left it: what outlives a process is kept, what does not goes, and nothing is set aside.
static void older_schema(unsigned version)
{
	struct store_opened how;
	struct store *s = NULL;
	unsigned findings = 9;
	filled(false);
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	assert_int_equal(store_port_put(s, "kept", "vhost-user,id=kept", &why), OK);
	store_close(s);
	sql(older[version - 1]);
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
	assert_false(how.set_aside);
	assert_false(how.fresh);
	bool kept = false;
	assert_int_equal(store_each_port(s, port_is_kept, &kept, &why), OK);
	assert_true(kept);
	assert_int_equal(store_check(s, &findings, &why), OK);
	assert_int_equal(findings, 0);
	struct snap a;
	snap_at(&a, 500, 1);
	assert_int_equal(store_commit(s, &a, SNAP_CONN | SNAP_MEM | SNAP_RING(0), 1, NULL, 0, &why), OK);
	store_close(s);
}

static void schema_1(void **state)
{
	(void)state;
	older_schema(1);
}

static void schema_2(void **state)
{
	(void)state;
	older_schema(2);
}

static void no_regular_file(void **state)
{
	(void)state;
	char wal[230];
	snprintf(wal, sizeof(wal), "%s-wal", path);
	assert_int_equal(mkdir(path, 0700), 0);
	aside_because("not a regular file");
	unlink(path);
	assert_int_equal(symlink("/dev/zero", path), 0);
	aside_because("not a regular file");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	aside_because("not a regular file");
	assert_int_equal(mkdir(wal, 0700), 0);
	aside_because("its wal is not a regular file");
}

static void log_alone(void **state)
{
	(void)state;
	struct store_opened how;
	struct stat st;
	char wal[300];
	filled(true);
	assert_int_equal(unlink(path), 0);
	assert_true(open_works(&how));
	assert_non_null(strstr(how.aside_why.text, "database is empty or gone"));
	snprintf(wal, sizeof(wal), "%s-wal", how.aside_path);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 4096);
}

static void truncated(void **state)
{
	(void)state;
	unsigned char *whole;
	filled(false);
	size_t len = file_read(path, &whole);
	unsigned aside = 0, n = 0;
	for (size_t cut = 0; cut < len; cut += cut < 200 ? 20 : 1777) {
		struct store_opened how;
		file_write(path, whole, cut);
		aside += open_works(&how);
		n++;
		if (cut == 0)
			assert_true(how.fresh);
		else
			assert_true(how.set_aside);
		unlink(path);
		unlink(how.aside_path);
	}
	free(whole);
	assert_int_equal(aside, n - 1);
}

static void log_truncated(void **state)
{
	(void)state;
	unsigned char *db, *wal;
	char wal_path[230];
	snprintf(wal_path, sizeof(wal_path), "%s-wal", path);
	filled(true);
	size_t db_len = file_read(path, &db), wal_len = file_read(wal_path, &wal);
	for (size_t cut = 0; cut < wal_len; cut += 4999) {
		struct store_opened how;
		file_write(path, db, db_len);
		file_write(wal_path, wal, cut);
		open_works(&how); // an early state, or set aside
		tmpdir_free(dir);
		assert_int_equal(mkdir(dir, 0700), 0);
	}
	free(db);
	free(wal);
}

static void bits_flipped(void **state)
{
	(void)state;
	unsigned char *whole;
	filled(false);
	size_t len = file_read(path, &whole);
	unsigned aside = 0;
	srand(1);
	for (unsigned i = 0; i < 200; i++) {
		struct store_opened how;
		size_t at = i < 100 ? i : (size_t)rand() % len;
		whole[at] ^= (unsigned char)(1u << (i % 8));
		file_write(path, whole, len);
		aside += open_works(&how);
		whole[at] ^= (unsigned char)(1u << (i % 8));
		tmpdir_free(dir);
		assert_int_equal(mkdir(dir, 0700), 0);
	}
	free(whole);
	assert_true(aside > 40);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(fresh_and_modes), T(second_opener), T(not_a_database), T(foreign_database), T(foreign_schema), T(newer_schema), T(schema_1),
		T(schema_2),
		T(no_regular_file), T(log_alone), T(truncated), T(log_truncated), T(bits_flipped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
