#include "store/inner.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

// "vrgd" in the header of every database of ours.
#define APPLICATION_ID 0x76726764

// user_version: the schema's version, and above it the oldest that may go on with it (0: no older one).
#define OLDEST_SHIFT 16

#define SEAL "v INTEGER NOT NULL,oldest INTEGER NOT NULL,sum INTEGER NOT NULL"

// Ordered: step i brings a database of version i to i + 1. A step that was released is never edited, only followed.
//
// oldest: the oldest version that may go on with a database of version i + 1. A step that only adds leaves it to the
// version before: it makes tables, and columns that have a default, stand behind the seal of their row and, if they matter, have a
// seal of their own. An older version writes rows without them, so each must make do with its default. Any other step says
// its own number; a daemon that runs can't be brought over it (store_open_image), only a new one.
static const struct step {
	const char *sql;
	int oldest;
} steps[] = {
	// applied is the root of a connection: its epoch, the last committed message and the reply to it. It is a table of its own
	// so that a transition of a ring rewrites two small rows and not the connection.
	{ "CREATE TABLE meta(id INTEGER PRIMARY KEY,boot TEXT NOT NULL,life INTEGER NOT NULL,next_epoch INTEGER NOT NULL,"
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
	"detail TEXT NOT NULL," SEAL ")STRICT;", 1 },
	// The names of descriptors. Rows of connections belong to a process that is gone; what outlives it is the device's.
	{ "DROP TABLE conn;DROP TABLE region;DROP TABLE ring;DELETE FROM applied;"
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
	"log INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;", 2 },
	// Whether a ring ran. No keeper is older than this step, so no connection outlived the process that wrote its rows.
	{ "DROP TABLE ring;DELETE FROM applied;"
	"CREATE TABLE ring(epoch INTEGER NOT NULL,idx INTEGER NOT NULL,num INTEGER NOT NULL,base INTEGER NOT NULL,"
	"base_given INTEGER NOT NULL,has_addr INTEGER NOT NULL,started INTEGER NOT NULL,enabled INTEGER NOT NULL,"
	"ever_disabled INTEGER NOT NULL,ran INTEGER NOT NULL,kick INTEGER NOT NULL,call INTEGER NOT NULL,err INTEGER NOT NULL,"
	"kick_from INTEGER NOT NULL,call_from INTEGER NOT NULL,err_from INTEGER NOT NULL,"
	"addr_flags INTEGER NOT NULL,desc INTEGER NOT NULL,used INTEGER NOT NULL,avail INTEGER NOT NULL,"
	"log INTEGER NOT NULL," SEAL ",PRIMARY KEY(epoch,idx))STRICT,WITHOUT ROWID;", 3 },
#ifdef VRINGD_MUTANT_STEP_ADDS // two neighbours of this version for the tests: one that only adds,
	{ "CREATE TABLE note(port TEXT PRIMARY KEY,text TEXT NOT NULL," SEAL ")STRICT;"
	  "ALTER TABLE ring ADD COLUMN note INTEGER NOT NULL DEFAULT 0;ALTER TABLE applied ADD COLUMN note TEXT;", 3 },
#elif defined(VRINGD_MUTANT_STEP_PARTS) // and one from which there is no way back
	{ "CREATE TABLE note(port TEXT PRIMARY KEY,text TEXT NOT NULL," SEAL ")STRICT;", 4 },
#endif
};
#define SCHEMA_VERSION ((int)ARRAY_LEN(steps))

// The oldest version that may go on with a database of that version.
static int schema_oldest(int version)
{
	int oldest = 1;
	for (int i = 0; i < version; i++)
		oldest = steps[i].oldest > oldest ? steps[i].oldest : oldest;
	return oldest;
}

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

// Does column `st` of the model stand at the same place of the database's table of that name, and is none behind the seal that has
// to be filled?
static enum err schema_has_column(struct store *s, sqlite3_stmt *st, int version, struct why *why)
{
	static const char look[] = "SELECT count(*) FROM sqlite_schema m,pragma_table_xinfo(m.name) p WHERE m.type='table' AND m.name=?1 "
				   "AND p.cid=?2 AND p.name=?3 AND p.type=?4 AND p.\"notnull\"=?5 AND p.pk=?6 AND p.hidden=0 "
				   "AND NOT EXISTS(SELECT 1 FROM pragma_table_xinfo(m.name) x WHERE x.\"notnull\"=1 AND x.dflt_value IS NULL "
				   "AND x.cid>(SELECT min(cid) FROM pragma_table_xinfo(m.name) WHERE name='sum'))";
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(s->db, look, -1, &q, NULL);
	for (int i = 0; i < 6 && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_value(q, i + 1, sqlite3_column_value(st, i));
	if (rc == SQLITE_OK)
		rc = sqlite3_step(q);
	enum err e = rc != SQLITE_ROW ? schema_failed(s, rc, why) : OK;
	if (e == OK && sqlite3_column_int(q, 0) != 1)
		e = refuse(why, "schema %d should only add to what this version reads, and its table %.40s differs", version,
			   (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(q);
	return e;
}

// A newer schema that only adds: our tables are in it, column by column, and what was added to them does without us. Nothing in it
// runs by itself.
static enum err schema_contains(struct store *s, sqlite3 *model, int version, struct why *why)
{
	static const char wanted[] = "SELECT m.name,p.cid,p.name,p.type,p.\"notnull\",p.pk FROM sqlite_schema m,pragma_table_xinfo(m.name) p "
				   "WHERE m.type='table' ORDER BY 1,2";
	static const char acts[] = "SELECT count(*) FROM sqlite_schema WHERE type<>'table' AND NOT(type='index' AND sql IS NULL)";
	int64_t num;
	sqlite3_stmt *st = NULL;
	enum err e = schema_ask(s, acts, &num, NULL, 0, why);
	if (e == OK && num != 0)
		return refuse(why, "schema %d has triggers, views or indices of its own", version);
	int rc = e == OK ? sqlite3_prepare_v2(model, wanted, -1, &st, NULL) : SQLITE_DONE;
	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(st)) == SQLITE_ROW && e == OK)
			e = schema_has_column(s, st, version, why);
	sqlite3_finalize(st);
	return e == OK && rc != SQLITE_DONE ? ours(why, "out of memory") : e;
}

static sqlite3 *ready_model; // of this version, made by schema_warm; taken by the first who needs it

// A database in memory as the steps make it, the caller's.
static int schema_model(sqlite3 **model, int version)
{
	if (ready_model && version >= SCHEMA_VERSION) {
		*model = ready_model;
		ready_model = NULL;
		return SQLITE_OK;
	}
	int rc = sqlite3_open_v2(":memory:", model, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	for (int i = 0; i < version && i < SCHEMA_VERSION && rc == SQLITE_OK; i++)
		rc = sqlite3_exec(*model, steps[i].sql, NULL, NULL, NULL);
	return rc;
}

// The tables must be exactly those that the steps make: a foreign trigger, view or column is not ours to run.
static enum err schema_compare(struct store *s, int version, struct why *why)
{
	static const char list[] = "SELECT type,name,sql FROM sqlite_schema ORDER BY type,name";
	sqlite3 *model = NULL;
	sqlite3_stmt *a = NULL, *b = NULL;
	enum err e = OK;
	int rc = schema_model(&model, version);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(model, list, -1, &a, NULL);
	if (rc != SQLITE_OK)
		e = ours(why, "out of memory");
	else if ((rc = sqlite3_prepare_v2(s->db, list, -1, &b, NULL)) != SQLITE_OK)
		e = schema_failed(s, rc, why);
	else if (version <= SCHEMA_VERSION && !schema_same_rows(a, b))
		e = refuse(why, "its tables are not those of schema %d", version);
	else if (version > SCHEMA_VERSION)
		e = schema_contains(s, model, version, why);
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
		e = schema_exec(s, steps[i].sql, why);
	int oldest = schema_oldest(SCHEMA_VERSION);
	snprintf(tail, sizeof(tail), "PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT", APPLICATION_ID,
		 SCHEMA_VERSION | (oldest < SCHEMA_VERSION ? oldest << OLDEST_SHIFT : 0));
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
	int64_t oldest = ver >> OLDEST_SHIFT;
	ver &= (1 << OLDEST_SHIFT) - 1;
	if (ver > SCHEMA_VERSION && (oldest < 1 || oldest > SCHEMA_VERSION))
		return refuse(why, "schema %lld is newer than this version reads (%d)", (long long)ver, SCHEMA_VERSION);
	if (ver < 1 || oldest > ver)
		return refuse(why, "damaged: schema %lld does not exist", (long long)ver);
	*version = (int)ver;
	return OK;
}

enum err schema_check(struct store *s, struct why *why)
{
	int64_t num;
	char text[160];
	enum err e = schema_ask(s, "PRAGMA quick_check(1)", &num, text, sizeof(text), why);
	return e == OK && strcmp(text, "ok") != 0 ? refuse(why, "damaged: %s", text) : e;
}

enum err schema_bring_image(struct store *s, int *version, struct why *why)
{
	bool fresh = false;
	enum err e = schema_exec(s, "PRAGMA trusted_schema=OFF;PRAGMA cell_size_check=ON;PRAGMA temp_store=MEMORY", why);
	if (e == OK)
		e = schema_identify(s, version, &fresh, why);
	if (e == OK && fresh)
		e = refuse(why, "it is empty");
	if (e == OK)
		e = schema_check(s, why);
	if (e == OK)
		e = schema_compare(s, *version, why);
	if (e == OK && *version < SCHEMA_VERSION)
		e = schema_upgrade(s, *version, why);
	return e;
}

void schema_warm(struct store *s)
{
	int version;
	struct why why;
	if (schema_upgrade(s, 0, &why) != OK || schema_bring_image(s, &version, &why) != OK || ready_model)
		return;
	if (schema_model(&ready_model, SCHEMA_VERSION) != SQLITE_OK) {
		sqlite3_close(ready_model);
		ready_model = NULL;
	}
}

void schema_version(int *version, int *oldest)
{
	*version = SCHEMA_VERSION;
	*oldest = schema_oldest(SCHEMA_VERSION);
}

enum err schema_bring(struct store *s, bool check, bool *fresh, struct why *why)
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
	if (e == OK && !*fresh && check)
		e = schema_check(s, why);
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
