#include "store/inner.h"

#include <errno.h>

#define SEAL ",v,oldest,sum"
#define CONN_COLS                                                                                              \
	"features_offered,has_features,features_acked,has_protocol,protocol_features,owned,mtu,has_log,log_size," \
	"log_offset,log_from,bell_from"
#define REGION_COLS "epoch,idx,guest_addr,size,user_addr,mmap_offset,fd_from,fd_n"
#define RING_COLS                                                                                                \
	"epoch,idx,num,base,base_given,has_addr,started,enabled,ever_disabled,ran,kick,call,err,kick_from," \
	"call_from,err_from,addr_flags,desc,used,avail,log"
#define DEVICE_COLS                                                                                        \
	"port,boot,features_offered,features_acked,protocol_features,compat,generation,pinned,last_base_set," \
	"last_base"
#define OWED_COLS "port,mac,boot,rounds_done,rounds,next_due_us"
#define MAC_COLS "net,vlan,mac,port,source,seen_us,ips"
#define EVENT_COLS "seq,time_us,port,type,detail"

// One row per statement. Reads begin with the rowid where bad rows are dropped by it; then the sealed columns, in the
// order in which they are written.
static const char *const text[S_COUNT] = {
	[S_BEGIN] = "BEGIN IMMEDIATE",
	[S_COMMIT] = "COMMIT",
	[S_ROLLBACK] = "ROLLBACK",

	[S_META_GET] = "SELECT id,boot,life,next_epoch,next_migration" SEAL " FROM meta WHERE id=1",
	[S_META_PUT] = "REPLACE INTO meta(id,boot,life,next_epoch,next_migration" SEAL ") VALUES(?,?,?,?,?,?,?,?)",

	[S_APPLIED_PUT] = "INSERT INTO applied(epoch,port,boot,life,seq,reply" SEAL ") VALUES(?,?,?,?,?,?,?,?,?) "
			  "ON CONFLICT(epoch) DO UPDATE SET life=excluded.life,seq=excluded.seq,reply=excluded.reply,"
			  "boot=excluded.boot,v=excluded.v,oldest=excluded.oldest,sum=excluded.sum "
			  "WHERE excluded.seq>seq AND excluded.port=port",
	[S_CONN_PUT] = "REPLACE INTO conn(epoch," CONN_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[S_REGION_PUT] = "REPLACE INTO region(" REGION_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[S_RING_PUT] = "REPLACE INTO ring(" RING_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[S_APPLIED_ALL] = "SELECT epoch,port,boot,life,seq,reply" SEAL " FROM applied ORDER BY epoch",
	[S_APPLIED_LIFE] = "SELECT epoch,port,boot,life,seq,reply" SEAL " FROM applied WHERE life=? ORDER BY epoch",
	[S_CONN_GET] = "SELECT epoch," CONN_COLS SEAL " FROM conn WHERE epoch=?",
	[S_REGION_GET] = "SELECT " REGION_COLS SEAL " FROM region WHERE epoch=? ORDER BY idx",
	[S_RING_GET] = "SELECT " RING_COLS SEAL " FROM ring WHERE epoch=? ORDER BY idx",
	[S_APPLIED_DEL] = "DELETE FROM applied WHERE epoch=?",
	[S_CONN_DEL] = "DELETE FROM conn WHERE epoch=?",
	[S_REGION_DEL] = "DELETE FROM region WHERE epoch=?",
	[S_RING_DEL] = "DELETE FROM ring WHERE epoch=?",
	[S_APPLIED_FIND] = "SELECT 1 FROM applied WHERE epoch=? AND port=?",
	[S_APPLIED_OLD] = "DELETE FROM applied WHERE boot<>? OR life<?",
	[S_CONN_ORPHANS] = "DELETE FROM conn WHERE epoch NOT IN(SELECT epoch FROM applied)",
	[S_REGION_ORPHANS] = "DELETE FROM region WHERE epoch NOT IN(SELECT epoch FROM applied)",
	[S_RING_ORPHANS] = "DELETE FROM ring WHERE epoch NOT IN(SELECT epoch FROM applied)",
	[S_ORPHANS] = "SELECT (SELECT count(*) FROM conn WHERE epoch NOT IN(SELECT epoch FROM applied))+"
		      "(SELECT count(*) FROM region WHERE epoch NOT IN(SELECT epoch FROM applied))+"
		      "(SELECT count(*) FROM ring WHERE epoch NOT IN(SELECT epoch FROM applied))",

	[S_DEVICE_PUT] = "REPLACE INTO device(" DEVICE_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[S_DEVICE_GET] = "SELECT rowid," DEVICE_COLS SEAL " FROM device WHERE port=?",
	[S_DEVICE_ALL] = "SELECT rowid," DEVICE_COLS SEAL " FROM device ORDER BY rowid",
	[S_DEVICE_DEL] = "DELETE FROM device WHERE port=?",
	[S_DEVICE_DROP] = "DELETE FROM device WHERE rowid=?",

	[S_PORT_PUT] = "REPLACE INTO port(id,spec" SEAL ") VALUES(?,?,?,?,?)",
	[S_PORT_ALL] = "SELECT rowid,id,spec" SEAL " FROM port ORDER BY rowid",
	[S_PORT_DEL] = "DELETE FROM port WHERE id=?",
	[S_PORT_DROP] = "DELETE FROM port WHERE rowid=?",

	[S_OWED_PUT] = "REPLACE INTO owed(" OWED_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?)",
	[S_OWED_ALL] = "SELECT rowid," OWED_COLS SEAL " FROM owed ORDER BY rowid",
	[S_OWED_DONE] = "DELETE FROM owed WHERE port=? AND mac=?",
	[S_OWED_DEL] = "DELETE FROM owed WHERE port=?",
	[S_OWED_DROP] = "DELETE FROM owed WHERE rowid=?",

	[S_MAC_CLEAR] = "DELETE FROM mac",
	[S_MAC_PUT] = "REPLACE INTO mac(" MAC_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?,?,?)",
	[S_MAC_ALL] = "SELECT " MAC_COLS SEAL " FROM mac ORDER BY net,vlan,mac",
	[S_MAC_DEL] = "DELETE FROM mac WHERE port=?",

	[S_MIGRATION_PUT] = "REPLACE INTO migration(id,port,json" SEAL ") VALUES(?,?,?,?,?,?)",
	[S_MIGRATION_ALL] = "SELECT id,id,port,json" SEAL " FROM migration ORDER BY id",
	[S_MIGRATION_PRUNE] = "DELETE FROM migration WHERE id<=(SELECT id FROM migration ORDER BY id DESC LIMIT 1 OFFSET 1000)",
	[S_MIGRATION_DROP] = "DELETE FROM migration WHERE id=?",

	[S_EVENT_PUT] = "REPLACE INTO event(" EVENT_COLS SEAL ") VALUES(?,?,?,?,?,?,?,?)",
	[S_EVENT_SINCE] = "SELECT seq," EVENT_COLS SEAL " FROM event WHERE seq>? AND seq<? ORDER BY seq",
	[S_EVENT_LAST] = "SELECT max(seq) FROM event",
	[S_EVENT_PRUNE] = "DELETE FROM event WHERE seq<=?",
	[S_EVENT_DROP] = "DELETE FROM event WHERE seq=?",
	[S_EVENT_OUTSIDE] = "DELETE FROM event WHERE seq<1 OR seq>?",
};

sqlite3_stmt *stmt_of(struct store *s, enum stmt id)
{
	if (!s->stmt[id]) {
		int rc = sqlite3_prepare_v3(s->db, text[id], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[id], NULL);
		if (rc != SQLITE_OK)
			s->unprepared_rc = rc;
	}
	return s->stmt[id];
}

enum err stmt_prepare_all(struct store *s, struct why *why)
{
	for (enum stmt i = 0; i < S_COUNT; i++)
		if (!stmt_of(s, i))
			return db_failed(s, s->unprepared_rc, why);
	return OK;
}

void stmt_free_all(struct store *s)
{
	for (unsigned i = 0; i < S_COUNT; i++) {
		sqlite3_finalize(s->stmt[i]);
		s->stmt[i] = NULL;
	}
}

enum err stmt_run(struct store *s, sqlite3_stmt *st, struct why *why)
{
	errno = 0;
	int rc = sqlite3_step(st);
	enum err e = rc == SQLITE_DONE || rc == SQLITE_ROW ? OK : db_failed(s, rc, why);
	sqlite3_reset(st);
	return e;
}

enum err stmt_run_id(struct store *s, enum stmt id, int64_t arg, struct why *why)
{
	sqlite3_bind_int64(stmt_of(s, id), 1, arg);
	return stmt_run(s, stmt_of(s, id), why);
}

enum err stmt_run_text(struct store *s, enum stmt id, const char *arg, struct why *why)
{
	sqlite3_bind_text(stmt_of(s, id), 1, arg, -1, SQLITE_STATIC);
	return stmt_run(s, stmt_of(s, id), why);
}
