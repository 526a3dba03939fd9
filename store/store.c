#include "store/inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

// Pages of the write-ahead log (4 KiB each) after which a checkpoint is done: when nothing has come for a while; when nothing waits at
// the moment; anyway, where nobody waits for a reply.
enum { WAL_QUIET = 64, WAL_IDLE = 1000, WAL_HARD = 16000 };
enum { EPOCH_BLOCK = 1024 };

enum err db_failed(struct store *s, int rc, struct why *why)
{
	// sqlite forgets the system's error where a COMMIT fails; errno is cleared before each step for this.
	int sys = errno;
	if (s->db && sqlite3_system_errno(s->db) != 0)
		sys = sqlite3_system_errno(s->db);
	if (rc == SQLITE_MISUSE && s->unprepared_rc) // of a statement that is not there
		rc = s->unprepared_rc;
	s->last_rc = rc;
	if (s->dur == STORE_HOST && (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC))
		s->fsync_failed = true;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ours(why, "state.db: the disk is full");
	case SQLITE_IOERR:
		return ours(why, "state.db: I/O error: %s", sys ? strerror(sys) : sqlite3_errstr(rc));
	case SQLITE_READONLY:
		return ours(why, "state.db: the file is read-only");
	case SQLITE_NOMEM:
		return ours(why, "state.db: out of memory");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ours(why, "state.db: the file is damaged (%s)", sqlite3_errstr(rc));
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ours(why, "state.db: another process has the file open");
	case SQLITE_CANTOPEN:
		return ours(why, "state.db: can't open: %s", sys ? strerror(sys) : sqlite3_errstr(rc));
	}
	return ours(why, "state.db: %.150s", s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
}

enum err txn_begin(struct store *s, struct why *why)
{
	// After a failed fsync the kernel holds the pages for clean: a second try would succeed and prove nothing.
	if (s->fsync_failed)
		return ours(why, "state.db: an fsync failed, nothing more is written until a restart");
	if (!stmt_of(s, S_COMMIT) || !stmt_of(s, S_ROLLBACK)) // what ends it is there before it begins
		return db_failed(s, s->unprepared_rc, why);
	return stmt_run(s, stmt_of(s, S_BEGIN), why);
}

enum err txn_end(struct store *s, enum err e, struct why *why)
{
	if (e == OK)
		e = stmt_run(s, stmt_of(s, S_COMMIT), why);
	if (e != OK && !sqlite3_get_autocommit(s->db)) {
		int rc = s->last_rc; // the cause, not what undoing meets
		stmt_run(s, stmt_of(s, S_ROLLBACK), NULL);
		s->last_rc = rc;
	}
	return e;
}

// In place of sqlite's own hook, which would checkpoint within a commit.
static int on_wal(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct store *s = arg;
	(void)db;
	(void)name;
	s->wal_frames = frames > 0 ? (unsigned)frames : 0;
	return SQLITE_OK;
}

enum err meta_put(struct store *s, struct why *why)
{
	struct bind b;
	bind_start(&b, stmt_of(s, S_META_PUT), T_META);
	bind_int(&b, 1);
	bind_text(&b, s->boot);
	bind_int(&b, s->life);
	bind_int(&b, s->next_epoch);
	bind_int(&b, s->next_migration);
	bind_seal(&b);
	return stmt_run(s, b.st, why);
}

static void wal_checkpoint(struct store *s)
{
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK) {
		db_failed(s, rc, NULL);
		s->wal_try = s->wal_frames + WAL_IDLE;
		return;
	}
	s->wal_try = WAL_IDLE;
	// The next commit starts the log anew and syncs its header: let that be one that nobody waits for.
	if (txn_begin(s, NULL) == OK)
		txn_end(s, meta_put(s, NULL), NULL);
}

void store_idle(struct store *s)
{
	if (s->wal_frames >= s->wal_try)
		wal_checkpoint(s);
}

bool store_quiet_pays(const struct store *s)
{
	return s->wal_frames >= WAL_QUIET && (s->wal_try == WAL_IDLE || s->wal_frames >= s->wal_try); // not soon after it failed
}

void store_quiet(struct store *s)
{
	if (store_quiet_pays(s))
		wal_checkpoint(s);
}

void wal_bound(struct store *s)
{
	if (s->wal_frames >= WAL_HARD && s->wal_frames >= s->wal_try)
		wal_checkpoint(s);
}

void db_close(struct store *s)
{
	stmt_free_all(s);
	sqlite3_close(s->db);
	s->db = NULL;
}

static enum err db_configure(struct store *s, struct why *why)
{
	static const struct {
		int op, value;
	} conf[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
		// Until the file is known to be ours and whole, closing must leave its log as it is.
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
	};
	if (sqlite3_libversion_number() < 3037000)
		return ours(why, "sqlite %s is too old, 3.37 is needed", sqlite3_libversion());
	int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
	if (rc != SQLITE_OK)
		return db_failed(s, rc, why);
	sqlite3_extended_result_codes(s->db, 1);
	for (unsigned i = 0; i < sizeof(conf) / sizeof(conf[0]); i++)
		sqlite3_db_config(s->db, conf[i].op, conf[i].value, NULL);
	sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 4 * 1024 * 1024);
	sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_wal_hook(s->db, on_wal, s);
	return OK;
}

// What the counter may be, so that no block from here on meets numbers that are given outside.
static uint64_t epoch_free(uint64_t next)
{
	return next > EPOCH_LOW_END - EPOCH_BLOCK && next < EPOCH_HIGH ? EPOCH_HIGH + next : next;
}

// Begin this life: count it, and let go of connections that no living front end can mean. Or go on with the one that is asked for.
static enum err life_begin(struct store *s, uint64_t asked, struct store_opened *how, struct why *why)
{
	sqlite3_stmt *st = stmt_of(s, S_META_GET);
	int rc = sqlite3_step(st);
	enum err e = OK;
	if (rc == SQLITE_ROW) {
		struct row r;
		char boot[sizeof(s->boot)];
		row_start(&r, st, 0, T_META);
		row_max(&r, 1);
		row_copy(&r, boot, sizeof(boot));
		s->life = row_max(&r, LIFE_MAX - 1);
		s->next_epoch = row_max(&r, COUNTER_MAX);
		s->next_migration = row_max(&r, COUNTER_MAX);
		e = row_seal(&r, "counters", why);
		bool same = e == OK && strcmp(boot, s->boot) == 0;
		how->resumed = same && asked != 0 && asked == s->life;
		// Where the kernel does not tell its boot, each life counts as one of another.
		how->same_boot = same && (how->resumed || strcmp(boot, "unknown") != 0);
	} else if (rc != SQLITE_DONE) {
		e = db_failed(s, rc, why);
	} else if (!how->fresh && !how->set_aside) {
		e = refuse(why, "damaged: its counters are missing");
	}
	sqlite3_reset(st);
	if (e == OK)
		e = txn_begin(s, why);
	if (e != OK)
		return e;
	s->resumed = how->resumed;
	if (!s->resumed)
		s->life = (s->life > asked ? s->life : asked) + 1; // what was numbered with the life that is lost stays unique
	s->epoch = epoch_free(s->next_epoch); // a block of them now: a front end can connect while the disk is full
	s->next_epoch = s->epoch + EPOCH_BLOCK;
	s->epochs_left = EPOCH_BLOCK;
	e = meta_put(s, why);
	st = stmt_of(s, S_APPLIED_OLD);
	sqlite3_bind_text(st, 1, how->same_boot ? s->boot : "", -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)s->life - 1);
	if (e == OK)
		e = stmt_run(s, st, why);
	for (enum stmt o = S_CONN_ORPHANS; o <= S_RING_ORPHANS && e == OK; o++)
		e = stmt_run(s, stmt_of(s, o), why);
	if (e == OK)
		e = stmt_run_id(s, S_EVENT_OUTSIDE, COUNTER_MAX, why);
	return txn_end(s, e, why);
}

static enum err event_last(struct store *s, struct why *why)
{
	sqlite3_stmt *st = stmt_of(s, S_EVENT_LAST);
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		s->next_event = (uint64_t)sqlite3_column_int64(st, 0) + 1;
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? OK : db_failed(s, rc, why);
}

static enum err db_begin(struct store *s, uint64_t asked, struct store_opened *how, struct why *why)
{
	s->last_rc = s->unprepared_rc = SQLITE_OK;
	enum err e = s->unsettled ? OK : stmt_prepare_all(s, why);
	if (e == OK)
		e = life_begin(s, asked, how, why);
	if (e == OK && !how->resumed && s->unsettled && !how->fresh)
		e = store_settle(s, why);
	if (e == OK)
		e = event_last(s, why);
	if (e == OURS && s->last_rc != SQLITE_OK && file_at_fault(s->last_rc))
		e = refuse(why, "damaged: %s", sqlite3_errstr(s->last_rc));
	return e;
}

// REFUSED: the file must be set aside.
static enum err db_open(struct store *s, uint64_t asked, struct store_opened *how, struct why *why)
{
	bool exists = false, empty = false;
	how->same_boot = how->resumed = false;
	s->life = 0;
	s->next_migration = 1;
	// Epochs must not come back although the file that counted them is gone.
	s->next_epoch = how->set_aside ? EPOCH_HIGH + ((clock_wall_us() >> 20) << 20) : 1;
	s->wal_try = WAL_IDLE;
	s->unsettled = asked != 0; // who goes on from a process that has just died has no time for it
	enum err e = file_check(s, &exists, why);
	if (e == OK)
		e = db_configure(s, why);
	if (e == OK)
		e = schema_bring(s, !s->unsettled, &empty, why);
	how->fresh = e == OK && empty && !how->set_aside;
	if (e == OK)
		e = db_begin(s, asked, how, why);
	if (e == OK)
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	else
		db_close(s);
	return e;
}

static enum err store_start(struct store *s, const struct store_life *as, struct store_opened *how, struct why *why)
{
	enum err e = lock_dir(s, as, why);
	if (e != OK)
		return e;
	struct why unusable = { "" };
	e = db_open(s, as->life, how, &unusable);
	if (e == REFUSED) {
		e = set_aside(s, how->aside_path, sizeof(how->aside_path), why);
		if (e != OK)
			return e;
		how->set_aside = true;
		how->aside_why = unusable;
		e = db_open(s, as->life, how, &unusable);
	}
	how->keeper_epoch = s->life;
	// A second refusal is about the file that we have just made.
	return e == OK ? OK : ours(why, "%s", unusable.text);
}

enum err store_settle(struct store *s, struct why *why)
{
	if (!s->unsettled)
		return OK;
	s->unsettled = false;
	enum err e = stmt_prepare_all(s, why);
	return e == OK ? schema_check(s, why) : e;
}

enum err store_open(struct store **out, const char *dir, enum store_durability dur, struct store_opened *how, struct why *why)
{
	return store_open_as(out, dir, dur, &(struct store_life){ .lock_fd = -1 }, how, why);
}

enum err store_open_as(struct store **out, const char *dir, enum store_durability dur, const struct store_life *as,
		       struct store_opened *how, struct why *why)
{
	int lock_fd = as->lock_fd;
	*out = NULL;
	memset(how, 0, sizeof(*how));
	struct store *s = calloc(1, sizeof(*s));
	if (!s) {
		fd_reset(&lock_fd);
		return ours(why, "out of memory");
	}
	s->lock_fd = lock_fd;
	s->dur = dur;
	snprintf(s->boot, sizeof(s->boot), "%s", clock_boot_id());
	size_t len = strlen(dir);
	enum err e = OK;
	if (len == 0 || len >= sizeof(s->dir))
		e = ours(why, "the state directory's path is empty or longer than %zu bytes", sizeof(s->dir) - 1);
	if (as->life >= LIFE_MAX)
		e = ours(why, "life %llu is out of range", (unsigned long long)as->life);
	if (e == OK) {
		memcpy(s->dir, dir, len + 1);
		snprintf(s->path, sizeof(s->path), "%s/state.db", s->dir);
		e = store_start(s, as, how, why);
	}
	if (e != OK) {
		fd_reset(&s->lock_fd);
		free(s);
		return e;
	}
	*out = s;
	return OK;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	db_close(s);
	fd_reset(&s->lock_fd);
	free(s);
}

void store_leave(struct store *s)
{
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	store_close(s);
}

int store_lock_fd(const struct store *s)
{
	return s->lock_fd;
}

// -- counters ---------------------------------------------------------------------------------------------------------
static enum err counter_next(struct store *s, uint64_t *counter, uint64_t step, uint64_t *out, struct why *why)
{
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	uint64_t was = *counter;
	*counter = was + step;
	e = txn_end(s, meta_put(s, why), why);
	if (e == OK)
		*out = was;
	else
		*counter = was;
	return e;
}

enum err store_next_epoch(struct store *s, uint64_t *epoch, struct why *why)
{
	if (s->epochs_left == 0) {
		s->next_epoch = epoch_free(s->next_epoch);
		enum err e = counter_next(s, &s->next_epoch, EPOCH_BLOCK, &s->epoch, why);
		if (e != OK)
			return e;
		s->epochs_left = EPOCH_BLOCK;
	}
	s->epochs_left--;
	*epoch = s->epoch++;
	return OK;
}

enum err store_next_migration_id(struct store *s, uint64_t *id, struct why *why)
{
	return counter_next(s, &s->next_migration, 1, id, why);
}
