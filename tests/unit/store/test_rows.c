// Every kind of row: written, read back over a restart, and refused when it was tampered with.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "store/inner.h"
#include "tmpdir.h"

static char dir[200];
static struct store *s;
static struct store_opened how;
static struct why why;

static void reopen(void)
{
	store_close(s);
	assert_int_equal(store_open(&s, dir, STORE_PROCESS, &how, &why), OK);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	s = NULL;
	reopen();
	assert_true(how.fresh);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	tmpdir_free(dir);
	return 0;
}

// Change the file behind the store's back.
static void tamper(const char *sql)
{
	char path[220], *msg = NULL;
	sqlite3 *db;
	store_close(s);
	s = NULL;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &msg) != SQLITE_OK)
		fail_msg("%s: %s", sql, msg);
	assert_true(sqlite3_total_changes(db) > 0);
	sqlite3_close(db);
	reopen();
	assert_false(how.set_aside);
}

struct seen {
	unsigned n;
	struct snap snap;
	uint64_t seq;
	struct store_owed owed;
	struct store_mac mac;
	char text[256];
};

static void on_snap(void *arg, const struct snap *snap, uint64_t seq)
{
	struct seen *v = arg;
	v->n++;
	v->snap = *snap;
	v->seq = seq;
}

static void connection_roundtrip(void **state)
{
	(void)state;
	struct snap a, b;
	struct seen v = { 0 };
	uint64_t epoch, epoch2;
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	assert_int_equal(store_next_epoch(s, &epoch2, &why), OK);
	assert_true(epoch2 > epoch);
	snap_at(&a, epoch, 7);
	a.has_log = true;
	a.log_size = 4096;
	a.mtu = 1500;
	a.owned = a.has_protocol = true;
	a.protocol_features = UINT64_C(1) << 63;
	a.ring[31] = (struct snap_ring){ .num = 32768, .base = 65535, .started = true, .enabled = true, .ever_disabled = true,
					 .call = SNAP_FD_POLL, .err = SNAP_FD_GIVEN, .addr_flags = 1, .log = UINT64_MAX };
	assert_int_equal(store_commit(s, &a, ~UINT64_C(0), 1, (const uint8_t *)"\x01\x02", 2, &why), OK);
	// Only what is named is written.
	b = a;
	b.ring[0].base = 99;
	b.ring[1].base = 98;
	b.mtu = 9000;
	b.n_regions = 0;
	assert_int_equal(store_commit(s, &b, SNAP_RING(0), 2, NULL, 0, &why), OK);
	b.ring[1].base = a.ring[1].base;
	b.mtu = a.mtu;
	b.n_regions = a.n_regions;
	// A message is committed once.
	assert_int_equal(store_commit(s, &a, SNAP_RING(0), 2, NULL, 0, &why), REFUSED);
	assert_int_equal(store_commit(s, &a, SNAP_RING(0), 1, NULL, 0, &why), REFUSED);
	a.ring[0].num = 3;
	assert_int_equal(store_commit(s, &a, SNAP_RING(0), 3, NULL, 0, &why), REFUSED);
	reopen();
	assert_true(how.same_boot);
	assert_int_equal(how.keeper_epoch, 2);
	assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
	assert_string_equal(why.text, "");
	assert_int_equal(v.n, 1);
	assert_int_equal(v.seq, 2);
	assert_int_equal(v.snap.epoch, epoch);
	assert_int_equal(snap_diff(&v.snap, &b), 0);
	// Not of the last life any more, and gone.
	reopen();
	v.n = 0;
	assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
	assert_int_equal(v.n, 0);
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	assert_true(epoch > epoch2);
}

static void connection_ends(void **state)
{
	(void)state;
	struct snap a;
	struct seen v = { 0 };
	unsigned findings;
	snap_at(&a, 5, 1);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, 1, NULL, 0, &why), OK);
	assert_int_equal(store_connection_end(s, "other", 5, &why), OK);
	reopen();
	assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_int_equal(store_connection_end(s, "vm0", 5, &why), OK);
	assert_int_equal(store_check(s, &findings, &why), OK);
	reopen();
	assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
	assert_int_equal(v.n, 1);
}

// Write as if in another boot, then come back in this one.
static void another_boot(void)
{
	snprintf(s->boot, sizeof(s->boot), "another");
}

static void connection_of_another_boot(void **state)
{
	(void)state;
	struct snap a;
	struct seen v = { 0 };
	uint64_t epoch, id;
	another_boot();
	assert_int_equal(store_next_migration_id(s, &id, &why), OK); // writes the counters, and the boot with them
	assert_int_equal(store_next_epoch(s, &epoch, &why), OK);
	snap_at(&a, epoch, 1);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, 1, NULL, 0, &why), OK);
	reopen();
	assert_false(how.same_boot);
	assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
	assert_int_equal(v.n, 0);
	assert_string_equal(why.text, ""); // it is over, not damaged
}

static void connection_tampered(void **state)
{
	(void)state;
	static const char *const sql[] = {
		"UPDATE ring SET base=12 WHERE idx=1",
		"UPDATE ring SET num=3 WHERE idx=1",
		"UPDATE ring SET idx=77 WHERE idx=1",
		"UPDATE ring SET idx=-1 WHERE idx=1",
		"UPDATE region SET idx=4 WHERE idx=0",
		"UPDATE region SET size=-1 WHERE idx=0",
		"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO region SELECT "
		"epoch,i,guest_addr,size,user_addr,mmap_offset,fd_from,fd_n,v,oldest,sum FROM region,n WHERE idx=0 AND epoch=1",
		"UPDATE conn SET features_acked=12345 WHERE epoch=1",
		"UPDATE conn SET owned=2 WHERE epoch=1",
		"UPDATE applied SET reply=zeroblob(100000) WHERE epoch=1",
		"UPDATE applied SET port=printf('%.500c','x') WHERE epoch=1",
		"UPDATE applied SET seq=-5 WHERE epoch=1",
		"UPDATE conn SET sum=sum+1 WHERE epoch=1",
		"UPDATE conn SET v=9,oldest=9 WHERE epoch=1",
	};
	for (unsigned i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
		struct snap a;
		struct seen v = { 0 };
		unsigned findings = 0;
		char text[400];
		for (uint64_t epoch = 1; epoch <= 2; epoch++) {
			assert_int_equal(store_connection_end(s, "vm0", epoch, &why), OK);
			snap_at(&a, epoch, 1);
			assert_int_equal(store_commit(s, &a, SNAP_WHAT, 1, NULL, 0, &why), OK);
		}
		snprintf(text, sizeof(text), "%s%s", sql[i], strstr(sql[i], "epoch=1") ? "" : " AND epoch=1");
		tamper(text);
		assert_int_equal(store_check(s, &findings, &why), REFUSED);
		assert_true(findings > 0);
		// The other connection is not touched.
		assert_int_equal(store_each_connection(s, on_snap, &v, &why), OK);
		if (v.n != 1 || v.snap.epoch != 2 || !why.text[0])
			fail_msg("%s: %u connections, why '%s'", sql[i], v.n, why.text);
		assert_int_equal(store_check(s, &findings, &why), OK);
	}
}

static void device_roundtrip(void **state)
{
	(void)state;
	struct store_device d = { .port = "vm0", .features_offered = UINT64_MAX, .features_acked = UINT64_C(1) << 63,
				  .protocol_features = 3, .compat = 2, .generation = 9, .pinned = true, .last_base_set = 0x80000001 },
			    got;
	bool found;
	d.last_base[0] = 65535;
	d.last_base[31] = 7;
	assert_int_equal(store_device_get(s, "vm0", &got, &found, &why), OK);
	assert_false(found);
	assert_int_equal(store_device_put(s, &d, &why), OK);
	reopen();
	assert_int_equal(store_device_get(s, "vm0", &got, &found, &why), OK);
	assert_true(found);
	assert_string_equal(got.port, d.port);
	assert_true(got.features_offered == d.features_offered && got.features_acked == d.features_acked &&
		    got.protocol_features == 3 && got.compat == 2 && got.generation == 9 && got.pinned &&
		    got.last_base_set == d.last_base_set);
	assert_memory_equal(got.last_base, d.last_base, sizeof(d.last_base));
	assert_int_equal(store_device_unpin(s, "vm0", &why), OK);
	assert_int_equal(store_device_get(s, "vm0", &got, &found, &why), OK);
	assert_true(found && !got.pinned && got.generation == 9);
	d.last_base[3] = 70000;
	assert_int_equal(store_device_put(s, &d, &why), REFUSED);
	tamper("UPDATE device SET last_base=zeroblob(9)");
	assert_int_equal(store_device_get(s, "vm0", &got, &found, &why), OK);
	assert_false(found);
	assert_non_null(strstr(why.text, "damaged"));
	assert_int_equal(store_device_get(s, "vm0", &got, &found, &why), OK);
	assert_string_equal(why.text, "");
}

static void on_port(void *arg, const char *id, const char *spec)
{
	struct seen *v = arg;
	v->n++;
	snprintf(v->text, sizeof(v->text), "%s=%s", id, spec);
}

// A port's row as a later version would write it, with a checksum that holds.
static void port_of_version(const char *id, unsigned version, unsigned oldest)
{
	char path[220];
	sqlite3 *db;
	sqlite3_stmt *st;
	struct bind b;
	store_close(s);
	s = NULL;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO port VALUES(?,?,?,?,?)", -1, &st, NULL), SQLITE_OK);
	bind_start(&b, st, T_PORT);
	bind_text(&b, id);
	bind_text(&b, "null");
	bind_int(&b, version);
	bind_int(&b, oldest);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)b.sum);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
	reopen();
}

static void newer_rows(void **state)
{
	(void)state;
	struct seen v = { 0 };
	port_of_version("may", 9, 1);
	port_of_version("mustnot", 9, 2);
	assert_int_equal(store_each_port(s, on_port, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_string_equal(v.text, "may=null");
	assert_non_null(strstr(why.text, "for readers from 2 on"));
}

static void on_owed(void *arg, const struct store_owed *o)
{
	struct seen *v = arg;
	v->n++;
	v->owed = *o;
	assert_int_equal(store_owed_done(s, o->port, o->mac, NULL), OK); // from within the walk
}

static void on_mac(void *arg, const struct store_mac *m)
{
	struct seen *v = arg;
	v->n++;
	v->mac = *m;
}

static void port_roundtrip(void **state)
{
	(void)state;
	struct seen v = { 0 };
	struct store_device d = { .port = "vm1" };
	struct store_owed o = { .port = "vm1", .rounds = 5 };
	bool found;
	assert_int_equal(store_port_put(s, "vm1", "null,id=vm1", &why), OK);
	assert_int_equal(store_port_put(s, "vm1", "vhost-user,id=vm1", &why), OK);
	assert_int_equal(store_port_put(s, "", "null", &why), REFUSED);
	assert_int_equal(store_port_put(s, "123456789012345678901234567890123", "null", &why), REFUSED);
	assert_int_equal(store_device_put(s, &d, &why), OK);
	assert_int_equal(store_owed_put(s, &o, &why), OK);
	reopen();
	assert_int_equal(store_each_port(s, on_port, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_string_equal(v.text, "vm1=vhost-user,id=vm1");
	assert_int_equal(store_port_forget(s, "vm1", &why), OK); // the row alone
	assert_int_equal(store_each_port(s, on_port, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_int_equal(store_device_get(s, "vm1", &d, &found, &why), OK);
	assert_true(found);
	assert_int_equal(store_port_put(s, "vm1", "vhost-user,id=vm1", &why), OK);
	assert_int_equal(store_port_del(s, "vm1", &why), OK);
	assert_int_equal(store_each_port(s, on_port, &v, &why), OK);
	assert_int_equal(store_each_owed(s, on_owed, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_int_equal(store_device_get(s, "vm1", &d, &found, &why), OK);
	assert_false(found);
}

static void owed_roundtrip(void **state)
{
	(void)state;
	struct seen v = { 0 };
	struct store_owed o = { .port = "vm0", .mac = { 2, 0, 0, 0, 0, 1 }, .rounds = 5, .next_due_us = 77 };
	assert_int_equal(store_owed_put(s, &o, &why), OK);
	o.rounds_done = 2;
	assert_int_equal(store_owed_put(s, &o, &why), OK);
	reopen();
	assert_int_equal(store_each_owed(s, on_owed, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_memory_equal(&v.owed, &o, sizeof(o));
	assert_int_equal(store_each_owed(s, on_owed, &v, &why), OK);
	assert_int_equal(v.n, 1);
	o.rounds_done = 5;
	assert_int_equal(store_owed_put(s, &o, &why), REFUSED);
	o.rounds_done = 1;
	assert_int_equal(store_owed_put(s, &o, &why), OK);
	tamper("UPDATE owed SET rounds=0");
	assert_int_equal(store_each_owed(s, on_owed, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_non_null(strstr(why.text, "damaged"));
}

static void macs_roundtrip(void **state)
{
	(void)state;
	struct seen v = { 0 };
	struct store_mac m[2] = { { .net = "default", .port = "vm0", .mac = { 2, 1 }, .vlan = 7, .source = 2, .seen_us = 5 },
				  { .net = "default", .port = "vm1", .mac = { 2, 2 } } };
	m[0].n_ips = 8;
	for (unsigned i = 0; i < 8; i++) {
		m[0].ip[i].family = i & 1 ? 4 : 6;
		memset(m[0].ip[i].addr, (int)i, 16);
	}
	assert_int_equal(store_macs_replace(s, m, 2, &why), OK);
	assert_int_equal(store_macs_replace(s, m, 1, &why), OK);
	m[1].n_ips = 200; // one bad row undoes the whole replacement
	assert_int_equal(store_macs_replace(s, m + 1, 1, &why), REFUSED);
	reopen();
	assert_int_equal(store_each_mac(s, on_mac, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_memory_equal(&v.mac, &m[0], sizeof(m[0]));
	tamper("UPDATE mac SET ips=zeroblob(17*9)");
	assert_int_equal(store_each_mac(s, on_mac, &v, &why), OK);
	assert_int_equal(v.n, 1);
	assert_non_null(strstr(why.text, "too many bytes"));
}

static void on_migration(void *arg, uint64_t id, const char *port, const char *json)
{
	struct seen *v = arg;
	v->n++;
	snprintf(v->text, sizeof(v->text), "%llu %s %s", (unsigned long long)id, port, json);
}

static void on_event(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	struct seen *v = arg;
	v->n++;
	v->seq = seq;
	snprintf(v->text, sizeof(v->text), "%llu %s %s %.100s", (unsigned long long)time_us, port, type, detail);
}

static void pins_and_due_times_end_with_the_boot(void **state)
{
	(void)state;
	struct seen v = { 0 };
	struct store_device d = { .port = "vm0", .features_offered = 1, .features_acked = 1, .generation = 4, .pinned = true };
	struct store_owed o = { .port = "vm0", .rounds = 5, .rounds_done = 1, .next_due_us = 77 };
	bool found;
	another_boot();
	assert_int_equal(store_device_put(s, &d, &why), OK);
	assert_int_equal(store_owed_put(s, &o, &why), OK);
	reopen();
	assert_int_equal(store_device_get(s, "vm0", &d, &found, &why), OK);
	assert_true(found && !d.pinned && d.generation == 4);
	assert_int_equal(store_each_owed(s, on_owed, &v, &why), OK);
	assert_true(v.n == 1 && v.owed.next_due_us == 0 && v.owed.rounds_done == 1);
}

static void journal_roundtrip(void **state)
{
	(void)state;
	struct seen v = { 0 };
	uint64_t id, seq = 0;
	for (unsigned i = 0; i < 1003; i++) {
		assert_int_equal(store_next_migration_id(s, &id, &why), OK);
		assert_int_equal(store_migration_put(s, id, i & 1 ? "vm1" : "vm0", "{\"a\":1}", &why), OK);
	}
	reopen();
	assert_int_equal(store_each_migration(s, NULL, on_migration, &v, &why), OK);
	assert_int_equal(v.n, 1000);
	assert_string_equal(v.text, "1003 vm0 {\"a\":1}");
	v.n = 0;
	assert_int_equal(store_each_migration(s, "vm1", on_migration, &v, &why), OK);
	assert_int_equal(v.n, 500);
	for (unsigned i = 0; i < 10050; i++)
		assert_int_equal(store_event_add(s, i, i ? "vm0" : NULL, "port.state", "text", &seq, &why), OK);
	assert_int_equal(seq, 10050);
	reopen();
	char big[3000];
	memset(big, 'x', sizeof(big));
	big[2999] = '\0';
	assert_int_equal(store_event_add(s, 3, "vm0", "t", big, &seq, &why), OK);
	assert_int_equal(seq, 10051);
	v.n = 0;
	assert_int_equal(store_each_event(s, 0, on_event, &v, &why), OK);
	assert_int_equal(v.n, 10000);
	v.n = 0;
	assert_int_equal(store_each_event(s, 10049, on_event, &v, &why), OK);
	assert_int_equal(v.n, 2);
	tamper("UPDATE event SET detail='other' WHERE seq=10050");
	v.n = 0;
	assert_int_equal(store_each_event(s, 10048, on_event, &v, &why), OK);
	assert_int_equal(v.n, 2);
	assert_non_null(strstr(why.text, "checksum"));
}

struct lines {
	char text[65536];
	size_t len;
};

static void on_line(void *arg, const char *line)
{
	struct lines *l = arg;
	l->len += (size_t)snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s\n", line);
	assert_true(l->len < sizeof(l->text));
}

static void dump_is_exact(void **state)
{
	(void)state;
	static struct lines live, file;
	struct snap a;
	char path[220];
	memset(&live, 0, sizeof(live));
	memset(&file, 0, sizeof(file));
	snap_at(&a, 5, 3);
	assert_int_equal(store_commit(s, &a, SNAP_WHAT, 3, (const uint8_t *)"\xab\x01", 2, &why), OK);
	assert_int_equal(store_event_add(s, 9, "vm0", "x", "quote \" back \\ line \n", NULL, &why), OK);
	assert_int_equal(store_dump(s, on_line, &live, &why), OK);
	assert_non_null(strstr(live.text, "{\"table\":\"ring\",\"port\":\"vm0\",\"epoch\":5,\"index\":1,\"num\":256,\"base\":3,"
					  "\"base_given\":true,\"has_addr\":true,\"started\":false,\"enabled\":false,"
					  "\"ever_disabled\":false,\"ran\":false,\"kick\":\"given\",\"call\":\"unset\",\"err\":\"unset\","
					  "\"kick_from\":11,\"call_from\":12,\"err_from\":13,\"addr_flags\":\"0x0\",\"desc\":\"0x3\",\"used\":\"0x4\",\"avail\":\"0x5\",\"log\":\"0x0\"}\n"));
	assert_non_null(strstr(live.text, "\"seq\":3,\"reply\":\"ab01\",\"features_offered\":\"0xffffffffffffffff\","
					  "\"has_features\":true,\"features_acked\":\"0x3\""));
	assert_non_null(strstr(live.text, "\"detail\":\"quote \\\" back \\\\ line \\u000a\"}"));
	// A file in use is not read; after a crash it is, log and all, and is left as it was.
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(store_dump_file(path, on_line, &file, &why), REFUSED);
	assert_non_null(strstr(why.text, "pid"));
	store_close(s);
	s = NULL;
	assert_int_equal(store_dump_file(path, on_line, &file, &why), OK);
	assert_string_equal(live.text, file.text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(connection_roundtrip), T(connection_ends), T(connection_of_another_boot), T(connection_tampered),
		T(device_roundtrip), T(port_roundtrip), T(owed_roundtrip), T(macs_roundtrip), T(journal_roundtrip), T(dump_is_exact), T(newer_rows), T(pins_and_due_times_end_with_the_boot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
