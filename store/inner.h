// What the files of this folder share: the open store, transactions, statements, and rows with their seal.
//
// Row: every row ends in (v, oldest, sum): the version that wrote it, the oldest version that may read it, and a checksum
// over all columns before, seeded with the table. A row whose seal does not hold is never used: whoever wrote it (a
// damaged disk, a broken or taken-over daemon), it is dropped and said, and the rest goes on.
#ifndef STORE_INNER_H
#define STORE_INNER_H

#include <sqlite3.h>

#include "store/store.h"

#if defined(VRINGD_MUTANT_STEP_ADDS) // a neighbour for the tests, see schema.c
#define ROW_VERSION 2
#elif defined(VRINGD_MUTANT_STEP_PARTS)
#define ROW_VERSION 2
#define ROW_OLDEST 2
#endif
#ifndef ROW_VERSION
#define ROW_VERSION 1 // what we write
#endif
#ifndef ROW_OLDEST
#define ROW_OLDEST 1 // the oldest version that may read what we write
#endif
#define COUNTER_MAX (INT64_C(1) << 62) // stored counters above are damage, not use
#define LIFE_MAX ((UINT64_C(1) << 29) - 1) // a life and a number of 32 bits are an epoch: see store.h
#define EPOCH_LOW_END (UINT64_C(1) << 32) // our own numbers are below it,
#define EPOCH_HIGH (UINT64_C(1) << 61) // or from here on
#define SPEC_MAX 4096
#define JSON_MAX (256 * 1024)

// Tables, as the seed of a row's sum: a row of one can't pass for a row of another.
enum table {
	T_META = 1, T_APPLIED, T_CONN, T_REGION, T_RING, T_DEVICE, T_PORT, T_OWED, T_MAC, T_MIGRATION, T_EVENT,
};

enum stmt {
	S_BEGIN, S_COMMIT, S_ROLLBACK,
	S_META_GET, S_META_PUT,
	S_APPLIED_PUT, S_CONN_PUT, S_REGION_PUT, S_RING_PUT,
	S_APPLIED_ALL, S_APPLIED_LIFE, S_CONN_GET, S_REGION_GET, S_RING_GET,
	S_APPLIED_DEL, S_CONN_DEL, S_REGION_DEL, S_RING_DEL, S_APPLIED_FIND,
	S_APPLIED_OLD, S_CONN_ORPHANS, S_REGION_ORPHANS, S_RING_ORPHANS, S_ORPHANS,
	S_DEVICE_PUT, S_DEVICE_GET, S_DEVICE_ALL, S_DEVICE_DEL, S_DEVICE_DROP,
	S_PORT_PUT, S_PORT_ALL, S_PORT_DEL, S_PORT_DROP,
	S_OWED_PUT, S_OWED_ALL, S_OWED_DONE, S_OWED_DEL, S_OWED_DROP,
	S_MAC_CLEAR, S_MAC_PUT, S_MAC_ALL, S_MAC_DEL,
	S_MIGRATION_PUT, S_MIGRATION_ALL, S_MIGRATION_PRUNE, S_MIGRATION_DROP,
	S_EVENT_PUT, S_EVENT_SINCE, S_EVENT_LAST, S_EVENT_PRUNE, S_EVENT_DROP, S_EVENT_OUTSIDE,
	S_COUNT,
};

struct store {
	sqlite3 *db;
	char dir[200];
	char path[216]; // DIR/state.db
	int lock_fd;
	enum store_durability dur;
	char boot[40]; // this boot's id
	uint64_t life; // this life of the daemon: keeper_epoch
	bool resumed; // it had begun before this store was opened
	uint64_t next_epoch, next_migration, next_event;
	uint64_t epoch; // of the block that was taken from next_epoch, the next one to give out
	unsigned epochs_left;
	unsigned wal_frames; // in the log since its last restart
	unsigned wal_try; // no checkpoint below this
	int last_rc; // sqlite's last failure
	int unprepared_rc; // why stmt_of last had none
	bool unsettled; // what store_settle does is not done
	bool fsync_failed; // the end: pages that the kernel gave up are not tried again
	sqlite3_stmt *stmt[S_COUNT];
};

// store.c: transactions -----------------------------------------------------------------------------------------------
enum err txn_begin(struct store *s, struct why *why);
// Commit if e is OK, else undo; returns e, or why the commit failed. Nothing is changed unless it returns OK.
enum err txn_end(struct store *s, enum err e, struct why *why);
// What sqlite's last failure means, in words that name the cause.
enum err db_failed(struct store *s, int rc, struct why *why);
// Off the reply path, where idleness may never come: checkpoint if the log is very long.
void wal_bound(struct store *s);
// Within a transaction of the caller's.
enum err owed_put(struct store *s, const struct store_owed *o, struct why *why);
// Write next_epoch and the other counters.
enum err meta_put(struct store *s, struct why *why);

void db_close(struct store *s);
// lock.c, aside.c ----------------------------------------------------------------------------------------------------------
// Take DIR/lock, or take over the one that as->lock_fd holds.
enum err lock_dir(struct store *s, const struct store_life *as, struct why *why);
// Is DIR/lock of this database file held? REFUSED with the pid.
enum err lock_probe(const char *db_path, struct why *why);
// REFUSED: what is at s->path can't be a database (why); OURS: it can't be opened; *exists tells if there is one.
enum err file_check(struct store *s, bool *exists, struct why *why);
enum err set_aside(struct store *s, char *aside, size_t cap, struct why *why);

// schema.c --------------------------------------------------------------------------------------------------------------------
// Bring an open database to this version's schema. REFUSED: it is not ours or too new (set aside); OURS: it failed. check: with schema_check.
enum err schema_bring(struct store *s, bool check, bool *fresh, struct why *why);
// Are its pages whole? Reads all of them. REFUSED: no.
enum err schema_check(struct store *s, struct why *why);
// The same with a copy in memory, to see whether it could be done. *version: what it was.
enum err schema_bring_image(struct store *s, int *version, struct why *why);
void schema_warm(struct store *s); // s: an empty database in memory
void schema_version(int *version, int *oldest); // of this program, and the oldest that may go on with what it makes
// Does rc, met while opening, speak against the file?
bool file_at_fault(int rc);

// stmt.c -----------------------------------------------------------------------------------------------------------------------
// Prepared when it is first asked for. NULL: it can't be; whatever is done with that fails, and db_failed knows why.
sqlite3_stmt *stmt_of(struct store *s, enum stmt id);
enum err stmt_prepare_all(struct store *s, struct why *why);
void stmt_free_all(struct store *s);
// Step a statement that returns no rows, and reset it.
enum err stmt_run(struct store *s, sqlite3_stmt *st, struct why *why);
enum err stmt_run_id(struct store *s, enum stmt id, int64_t arg, struct why *why); // with one integer
enum err stmt_run_text(struct store *s, enum stmt id, const char *arg, struct why *why);

// row.c: writing -----------------------------------------------------------------------------------------------------------------
struct bind {
	sqlite3_stmt *st;
	int col;
	uint64_t sum;
};
void bind_start(struct bind *b, sqlite3_stmt *st, enum table t);
void bind_int(struct bind *b, uint64_t v);
void bind_text(struct bind *b, const char *v); // v must live until the statement ran
void bind_blob(struct bind *b, const void *v, size_t len);
void bind_seal(struct bind *b);

// row.c: reading; a wrong type, length or range is kept in bad and told by row_seal
struct row {
	sqlite3_stmt *st;
	int col;
	uint64_t sum;
	const char *bad;
};
void row_start(struct row *r, sqlite3_stmt *st, int first_col, enum table t);
uint64_t row_int(struct row *r);
uint64_t row_max(struct row *r, uint64_t max); // 0..max
bool row_bool(struct row *r);
void row_copy(struct row *r, char *dst, size_t cap); // text that fits with its NUL
const char *row_text(struct row *r, size_t max); // valid until the next step; never NULL
size_t row_blob(struct row *r, void *dst, size_t cap);
enum err row_seal(struct row *r, const char *what, struct why *why);

// A walk over a table. load reads the row that st is at: REFUSED is a bad row, which is dropped by rowid (column 0) unless
// keep is set or the table has no drop statement; anything else ends the walk.
struct scan {
	unsigned bad;
	struct why first; // about the first bad row
	bool keep;
};
typedef enum err row_fn(struct store *s, sqlite3_stmt *st, void *arg, struct why *why);
#define NO_DROP S_COUNT
enum err rows_scan(struct store *s, sqlite3_stmt *st, enum stmt drop, row_fn *load, void *arg, struct scan *sc,
		   struct why *why);
// The end of a read: OK, and what was dropped in why.
enum err scan_end(enum err e, const struct scan *sc, struct why *why);

// An array that grows by one: rows are gathered before the caller's fn sees them, so that fn may write to the store.
struct vec {
	unsigned char *items;
	size_t n, cap, item;
};
void *vec_add(struct vec *v); // NULL: out of memory

bool text_is_id(const char *s, size_t cap); // 1..cap-1 printable characters

// Validate every row without dropping any: the parts of store_check ---------------------------------------------------------------
enum err conn_verify(struct store *s, struct scan *sc, struct why *why);
enum err device_verify(struct store *s, struct scan *sc, struct why *why);
enum err port_verify(struct store *s, struct scan *sc, struct why *why);
enum err owed_verify(struct store *s, struct scan *sc, struct why *why);
enum err macs_verify(struct store *s, struct scan *sc, struct why *why);
enum err migration_verify(struct store *s, struct scan *sc, struct why *why);
enum err event_verify(struct store *s, struct scan *sc, struct why *why);

#endif
