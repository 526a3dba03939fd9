#include "store/inner.h"

#include <string.h>

static enum err file_verify(struct store *s, struct scan *sc, struct why *why)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check(100)", -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		const char *t = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
		if (!t || strcmp(t, "ok") == 0)
			continue;
		if (sc->bad++ == 0)
			refuse(&sc->first, "state.db: %.150s", t);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? OK : db_failed(s, rc, why);
}

enum err store_check(struct store *s, unsigned *findings, struct why *why)
{
	static enum err (*const parts[])(struct store *, struct scan *, struct why *) = {
		file_verify,  conn_verify, device_verify,    port_verify,
		owed_verify,  macs_verify, migration_verify, event_verify,
	};
	struct scan sc = { .keep = true };
	enum err e = OK;
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]) && e == OK; i++)
		e = parts[i](s, &sc, why);
	*findings = sc.bad;
	if (e == OK && sc.bad > 0)
		return refuse(why, "%s", sc.first.text);
	return e;
}
