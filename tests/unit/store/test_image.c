// Handing the database over: a copy is judged before anybody stops, and a neighbour's schema that only adds is gone on with, there and
// back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/fd.h"
#include "store/inner.h"
#include "tmpdir.h"

#define READER_AT 8 // of the image's head: the schema version of who made it
#define DB_AT 40 // the database

static char dir[200];
static struct store *s;
static struct store_opened how;
static struct why why;
static int fds_before;

static void open_it(uint64_t life)
{
	struct store_life as = { .life = life, .lock_fd = -1 };
	enum err e = store_open_as(&s, dir, STORE_PROCESS, &as, &how, &why);
	if (e != OK)
		fail_msg("%s", why.text);
}

static void close_it(void)
{
	store_close(s);
	s = NULL;
}

static void commit(unsigned n, uint64_t seq)
{
	struct snap snap;
	snap_at(&snap, STORE_EPOCH(how.keeper_epoch, n), seq);
	enum err e = store_commit(s, &snap, SNAP_WHAT, seq, (const uint8_t *)"reply", 5, &why);
	if (e != OK)
		fail_msg("%s", why.text);
}

static int set_up(void **state)
{
	struct store_device d = { .port = "vm0", .features_offered = 0x30, .features_acked = 0x10, .pinned = true };
	(void)state;
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	fds_before = fd_count_open();
	open_it(0);
	commit(1, 7);
	commit(2, 9);
	assert_int_equal(store_port_put(s, "run", "vhost-user,id=run", &why), OK);
	assert_int_equal(store_device_put(s, &d, &why), OK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_it();
	assert_int_equal(fd_count_open(), fds_before);
	tmpdir_free(dir);
	return 0;
}

static void sql(const char *text)
{
	char path[220];
	char *error = NULL;
	sqlite3 *db;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s", error);
	sqlite3_close(db);
}

static void count_snap(void *arg, const struct snap *snap, uint64_t seq)
{
	assert_true(seq == (snap->epoch & 0xff) * 2 + 5);
	++*(unsigned *)arg;
}

static void count_device(void *arg, const struct store_device *d)
{
	assert_string_equal(d->port, "vm0");
	assert_true(d->pinned);
	++*(unsigned *)arg;
}

static void count_port(void *arg, const char *id, const char *spec)
{
	assert_string_equal(id, "run");
	assert_string_equal(spec, "vhost-user,id=run");
	++*(unsigned *)arg;
}

static void look(struct store *at, unsigned expected)
{
	unsigned snaps = 0, devices = 0, ports = 0;
	assert_int_equal(store_each_connection(at, count_snap, &snaps, &why), OK);
	assert_int_equal(store_each_device(at, count_device, &devices, &why), OK);
	assert_int_equal(store_each_port(at, count_port, &ports, &why), OK);
	assert_int_equal(snaps, expected);
	assert_int_equal(devices, 1);
	assert_int_equal(ports, 1);
}

static int image(void)
{
	int fd = -1;
	enum err e = store_image(s, &fd, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	return fd;
}

static void refused(int fd, const char *reason)
{
	struct store *copy;
	assert_int_equal(store_open_image(&copy, fd, &why), REFUSED);
	assert_null(copy);
	if (!strstr(why.text, reason))
		fail_msg("'%s' does not say '%s'", why.text, reason);
	close(fd);
}

static void test_copy_has_all(void **state)
{
	struct store *copy;
	(void)state;
	int fd = image();
	enum err e = store_open_image(&copy, fd, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	look(copy, 2);
	assert_int_equal(store_port_del(copy, "vm0", &why), OK); // of the copy only
	store_close(copy);
	close(fd);
	uint64_t life = how.keeper_epoch;
	close_it();
	open_it(life);
	look(s, 2);
}

static void test_damage_is_found(void **state)
{
	uint8_t junk[64];
	(void)state;
	memset(junk, 0xa5, sizeof(junk));
	int fd = image();
	assert_int_equal(pwrite(fd, junk, 8, 0), 8);
	refused(fd, "no image");
	fd = image();
	assert_int_equal(ftruncate(fd, DB_AT + 4096), 0);
	refused(fd, "damaged");
	fd = image();
	assert_int_equal(pwrite(fd, junk, 16, DB_AT), 16);
	refused(fd, "not a database");
	fd = image();
	for (off_t at = DB_AT + 4096; at < DB_AT + 6 * 4096; at += 4096)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
	refused(fd, "damaged");
}

// A row that is bad already keeps nobody from going on; one that only the successor can't read does.
static void test_bad_rows(void **state)
{
	struct store *copy;
	(void)state;
	uint64_t life = how.keeper_epoch;
	close_it();
	sql("UPDATE event SET sum=1; UPDATE ring SET v=9,oldest=9 WHERE epoch%256=2");
	open_it(life);
	assert_true(how.resumed);
	int fd = image();
	refused(fd, "of 2 connections 1 are left");
	unsigned n = 0;
	assert_int_equal(store_each_connection(s, count_snap, &n, &why), OK); // drops it
	assert_int_equal(n, 1);
	fd = image();
	enum err e = store_open_image(&copy, fd, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	store_close(copy);
	close(fd);
}

static void test_no_way_back(void **state)
{
	uint32_t older = 2;
	(void)state;
	int fd = image();
	assert_int_equal(pwrite(fd, &older, sizeof(older), READER_AT), sizeof(older));
	refused(fd, "no way back");
}

// What a newer neighbour leaves whose step only added.
static void test_newer_that_adds(void **state)
{
	char text[400];
	int version, oldest;
	struct store *copy;
	(void)state;
	schema_version(&version, &oldest);
	uint64_t life = how.keeper_epoch;
	close_it();
	snprintf(text, sizeof(text),
		 "ALTER TABLE ring ADD COLUMN note INTEGER NOT NULL DEFAULT 7; ALTER TABLE applied ADD COLUMN note TEXT;"
		 "CREATE TABLE note(port TEXT PRIMARY KEY,text TEXT NOT NULL)STRICT;"
		 "UPDATE ring SET note=8; PRAGMA user_version=%d", version << 16 | (version + 1));
	sql(text);
	open_it(life);
	assert_true(how.resumed);
	assert_false(how.set_aside);
	look(s, 2);
	commit(3, 11); // and its rows are written, too
	look(s, 3);
	int fd = image();
	enum err e = store_open_image(&copy, fd, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	look(copy, 3);
	store_close(copy);
	close(fd);
}

static void newer(const char *change, int oldest, const char *reason)
{
	char text[400];
	int version, ignored;
	schema_version(&version, &ignored);
	close_it();
	snprintf(text, sizeof(text), "%s; PRAGMA user_version=%d", change, oldest << 16 | (version + 1));
	sql(text);
	store_open(&s, dir, STORE_PROCESS, &how, &why);
	assert_true(how.set_aside);
	if (!strstr(how.aside_why.text, reason))
		fail_msg("'%s' does not say '%s'", how.aside_why.text, reason);
}

static void test_newer_that_parts(void **state)
{
	int version, ignored;
	(void)state;
	schema_version(&version, &ignored);
	newer("SELECT 1", 0, "newer than this version reads");
	newer("SELECT 1", version + 1, "newer than this version reads");
	newer("ALTER TABLE ring DROP COLUMN err_from", version, "ring differs");
	newer("ALTER TABLE ring RENAME COLUMN err_from TO x", version, "ring differs");
	newer("DROP TABLE owed", version, "owed differs");
	newer("CREATE TRIGGER t AFTER INSERT ON port BEGIN DELETE FROM device; END", version, "triggers");
	newer("CREATE INDEX i ON port(spec)", version, "indices");
	newer("CREATE VIEW v AS SELECT 1", version, "views");
	newer("DROP TABLE owed; CREATE TABLE owed(port TEXT NOT NULL,mac BLOB NOT NULL,boot TEXT NOT NULL,rounds_done INTEGER NOT NULL,"
	      "rounds INTEGER NOT NULL,next_due_us INTEGER NOT NULL,v INTEGER NOT NULL,oldest INTEGER NOT NULL,sum INTEGER NOT NULL,"
	      "x INTEGER NOT NULL,UNIQUE(port,mac))STRICT", version, "owed differs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy_has_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damage_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_rows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_way_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newer_that_adds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newer_that_parts, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
