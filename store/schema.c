#include "store/inner.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

// "vrgd" in the header of every database of ours.
#define APPLICATION_ID 0x76726764

#define SEAL "v INTEGER NOT NULL,oldest INTEGER NOT NULL,sum INTEGER NOT NULL"

// Ordered: step i brings a database of version i to i + 1. A step that was released is never edited, only followed.
static const char *const steps[] = {
	// applied is the root of a connection: its epoch, the last committed message and the reply to it. It is a table of its own
	// so that a transition of a ring rewrites two small rows and not the connection.
	"CREATE TABLE meta(id INTEGER PRIMARY KEY,boot TEXT NOT NULL,life INTEGER NOT NULL,next_epoch INTEGER NOT NULL,"
	"next_migration INTEGER NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE applied(epoch INTEGER PRIMARY KEY,port TEXT NOT NULL,boot TEXT NOT NULL,life INTEGER NOT NULL,"
	"seq INTEGER NOT NULL,reply BLOB NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE conn(epoch INTEGER PRIMARY KEY,features_offered INTEGER NOT NULL,has_features INTEGER NOT NULL,"
	"features_acked INTEGER NOT NULL,has_protocol INTEGER NOT NULL,protocol_features INTEGER NOT NULL,"
	"owned INTEGER NOT NULL,mtu INTEGER NOT NULL,has_log INTEGER NOT NULL,log_size INTEGER NOT NULL,"
	"log_offset INTEGER NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE region(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,guest_addr INTEGER NOT NULL,size INTEGER NOT NULL,"
	"user_addr INTEGER NOT NULL,mmap_offset INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"CREATE TABLE device(port TEXT NOT NULL UNIQUE,boot TEXT NOT NULL,features_offered INTEGER NOT NULL,"
	"features_acked INTEGER NOT NULL,protocol_features INTEGER NOT NULL,compat INTEGER NOT NULL,"
	"generation INTEGER NOT NULL,pinned INTEGER NOT NULL,last_base_set INTEGER NOT NULL,last_base BLOB NOT NULL,"
	SEAL ")STRICT;"
	"CREATE TABLE port(id TEXT NOT NULL UNIQUE,spec TEXT NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE owed(port TEXT NOT NULL,mac BLOB NOT NULL,boot TEXT NOT NULL,rounds_done INTEGER NOT NULL,"
	"rounds INTEGER NOT NULL,next_due_us INTEGER NOT NULL," SEAL ",UNIQUE(port,mac))STRICT;"
	"CREATE TABLE mac(net TEXT NOT NULL,vlan INTEGER NOT NULL,mac BLOB NOT NULL,port TEXT NOT NULL,"
	"source INTEGER NOT NULL,seen_us INTEGER NOT NULL,ips BLOB NOT NULL," SEAL ",PRIMARY KEY(net,vlan,mac))"
	"STRICT,WITHOUT ROWID;"
	"CREATE TABLE migration(id INTEGER PRIMARY KEY,port TEXT NOT NULL,json TEXT NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE event(seq INTEGER PRIMARY KEY,time_us INTEGER NOT NULL,port TEXT NOT NULL,type TEXT NOT NULL,"
	"detail TEXT NOT NULL," SEAL ")STRICT;",
	// The names of descriptors. Rows of connections belong to a process that is gone; what outlives it is the device's.
	"DROP TABLE conn;DROP TABLE region;DROP TABLE ring;DELETE FROM applied;"
	"CREATE TABLE conn(epoch INTEGER PRIMARY KEY,features_offered INTEGER NOT NULL,has_features INTEGER NOT NULL,"
	"features_acked INTEGER NOT NULL,has_protocol INTEGER NOT NULL,protocol_features INTEGER NOT NULL,"
	"owned INTEGER NOT NULL,mtu INTEGER NOT NULL,has_log INTEGER NOT NULL,log_size INTEGER NOT NULL,"
	"log_offset INTEGER NOT NULL,log_from INTEGER NOT NULL,bell_from INTEGER NOT NULL," SEAL ")STRICT;"
	"CREATE TABLE region(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,guest_addr INTEGER NOT NULL,size INTEGER NOT NULL,"
	"user_addr INTEGER NOT NULL,mmap_offset INTEGER NOT NULL,fd_from INTEGER NOT NULL,fd_n INTEGER NOT NULL,"
	SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"kick_from INTEGER NOT NULL,call_from INTEGER NOT NULL,err_from INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;",
	// Whether a ring ran. No keeper is older than this step, so no connection outlived the process that wrote its rows.
	"DROP TABLE ring;DELETE FROM applied;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,ran INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"kick_from INTEGER NOT NULL,call_from INTEGER NOT NULL,err_from INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;",
};
#define SCHEMA_VERSION ((int)ARRAY_LEN(steps))

// What a failure while opening says about the file: is it the file, or are we short of something?
bool file_at_fault(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
	case SQLITE_NOMEM:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_CANTOPEN:
	case SQLITE_INTERRUPT:
		return false;
	case SQLITE_IOERR:
		return rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_CORRUPTFS;
	}
	// Read-only is a version in the file's header: that it can be opened for writing was tried before.
	return true;
}

static enum err schema_failed(struct store *s, int rc, struct why *why)
{
	if (!file_at_fault(rc))
		return db_failed(s, rc, why);
	if (rc == SQLITE_NOTADB)
		return refuse(why, "not a database");
	return refuse(why, "damaged: %.150s", sqlite3_errmsg(s->db));
}

static enum err schema_exec(struct store *s, const char *sql, struct why *why)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? OK : schema_failed(s, rc, why);
}

// The first column of the first row of sql: as a number, and its text.
static enum err schema_ask(struct store *s, const char *sql, int64_t *num, char *text, size_t cap, struct why *why)
{
	sqlite3_stmt *st = NULL;
	*num = 0;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	enum err e = OK;
	if (rc == SQLITE_ROW) {
		*num = sqlite3_column_int64(st, 0);
		const char *t = (const char *)sqlite3_column_text(st, 0);
		if (text)
			snprintf(text, cap, "%s", t ? t : "");
	} else if (rc != SQLITE_DONE) {
		e = schema_failed(s, rc, why);
	}
	sqlite3_finalize(st);
	return e;
}

// Do both statements return the same texts?
static bool schema_same_rows(sqlite3_stmt *a, sqlite3_stmt *b)
{
	for (;;) {
		int ra = sqlite3_step(a), rb = sqlite3_step(b);
		if (ra != rb)
			return false;
		if (ra != SQLITE_ROW)
			return ra == SQLITE_DONE;
		for (int i = 0; i < 3; i++) {
			const char *ta = (const char *)sqlite3_column_text(a, i);
			const char *tb = (const char *)sqlite3_column_text(b, i);
			if (strcmp(ta ? ta : "", tb ? tb : "") != 0)
				return false;
		}
	}
}

// The tables must be exactly those that the steps make: a foreign trigger, view or column is not ours to run.
static enum err schema_compare(struct store *s, int version, struct why *why)
{
	static const char list[] = "SELECT type,name,sql FROM sqlite_schema ORDER BY type,name";
	sqlite3 *model = NULL;
	sqlite3_stmt *a = NULL, *b = NULL;
	enum err e = OK;
	int rc = sqlite3_open_v2(":memory:", &model, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	for (int i = 0; i < version && rc == SQLITE_OK; i++)
		rc = sqlite3_exec(model, steps[i], NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(model, list, -1, &a, NULL);
	if (rc != SQLITE_OK)
		e = ours(why, "out of memory");
	else if ((rc = sqlite3_prepare_v2(s->db, list, -1, &b, NULL)) != SQLITE_OK)
		e = schema_failed(s, rc, why);
	else if (!schema_same_rows(a, b))
		e = refuse(why, "its tables are not those of schema %d", version);
	sqlite3_finalize(a);
	sqlite3_finalize(b);
	sqlite3_close(model);
	return e;
}

static enum err schema_upgrade(struct store *s, int from, struct why *why)
{
	char tail[96];
	enum err e = schema_exec(s, "BEGIN IMMEDIATE", why);
	for (int i = from; i < SCHEMA_VERSION && e == OK; i++)
		e = schema_exec(s, steps[i], why);
	snprintf(tail, sizeof(tail), "PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT", APPLICATION_ID, SCHEMA_VERSION);
	if (e == OK)
		e = schema_exec(s, tail, why);
	if (e != OK && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return e;
}

static enum err schema_identify(struct store *s, int *version, bool *fresh, struct why *why)
{
	int64_t app, ver, objects;
	enum err e = schema_ask(s, "PRAGMA application_id", &app, NULL, 0, why);
	if (e == OK)
		e = schema_ask(s, "PRAGMA user_version", &ver, NULL, 0, why);
	if (e == OK)
		e = schema_ask(s, "SELECT count(*) FROM sqlite_schema", &objects, NULL, 0, why);
	if (e != OK)
		return e;
	// Also what a crash leaves that came between the making of the file and the first step.
	*fresh = app == 0 && ver == 0 && objects == 0;
	*version = 0;
	if (*fresh)
		return OK;
	if (app != APPLICATION_ID)
		return refuse(why, "of another program (application id 0x%08x)", (unsigned)app);
	if (ver > SCHEMA_VERSION)
		return refuse(why, "schema %lld is newer than this version reads (%d)", (long long)ver, SCHEMA_VERSION);
	if (ver < 1)
		return refuse(why, "damaged: schema %lld does not exist", (long long)ver);
	*version = (int)ver;
	return OK;
}

enum err schema_bring(struct store *s, bool *fresh, struct why *why)
{
	// locking_mode comes first: with it the log's index is in our heap and no -shm file exists that others could map.
	static const char first[] = "PRAGMA locking_mode=EXCLUSIVE;PRAGMA trusted_schema=OFF;PRAGMA cell_size_check=ON;"
				    "PRAGMA mmap_size=0;PRAGMA temp_store=MEMORY";
	int version;
	int64_t num;
	char text[160];
	enum err e = schema_exec(s, first, why);
	if (e == OK)
		e = schema_identify(s, &version, fresh, why);
	if (e == OK && !*fresh)
		e = schema_ask(s, "PRAGMA quick_check(1)", &num, text, sizeof(text), why);
	if (e == OK && !*fresh && strcmp(text, "ok") != 0)
		e = refuse(why, "damaged: %s", text);
	if (e == OK && !*fresh)
		e = schema_compare(s, version, why);
	if (e == OK)
		e = schema_ask(s, "PRAGMA journal_mode=WAL", &num, text, sizeof(text), why);
	if (e == OK && strcmp(text, "wal") != 0)
		e = refuse(why, "its journal can't be a write-ahead log");
	if (e == OK)
		e = schema_exec(s, s->dur == STORE_HOST ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", why);
	if (e == OK && version < SCHEMA_VERSION)
		e = schema_upgrade(s, version, why);
	return e;
}
