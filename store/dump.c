// The database as lines of JSON, one row each, in the order of its key. What a row says is printed as it is, not judged:
// the judge is store_check.
#include "store/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

// How a column is printed, by the letter in the format: i number, u unsigned 64-bit number, x hex string, b true or
// false, s string, h bytes in hex, m MAC, f kind of descriptor, a the addresses of a MAC.
static const struct dump_table {
	const char *name, *format, *sql;
} tables[] = {
	{ "meta", "suuu", "SELECT boot,life,next_epoch,next_migration FROM meta ORDER BY id" },
	{ "conn", "susuuhxbxbxbibuuuu",
	  "SELECT port,epoch,boot,life,seq,reply,features_offered,has_features,features_acked,has_protocol,protocol_features,"
	  "owned,mtu,has_log,log_size,log_offset,log_from,bell_from FROM applied LEFT JOIN conn USING(epoch) ORDER BY epoch" },
	{ "region", "suixuxuui",
	  "SELECT port,epoch,idx AS 'index',guest_addr,size,user_addr,mmap_offset,fd_from,fd_n FROM region LEFT JOIN applied USING(epoch) "
	  "ORDER BY epoch,idx" },
	{ "ring", "suiiibbbbbbfffuuuxxxxx",
	  "SELECT port,epoch,idx AS 'index',num,base,base_given,has_addr,started,enabled,ever_disabled,ran,kick,call,err,kick_from,"
	  "call_from,err_from,addr_flags,desc,used,avail,log FROM ring LEFT JOIN applied USING(epoch) ORDER BY epoch,idx" },
	{ "device", "ssxxxiubxh",
	  "SELECT port,boot,features_offered,features_acked,protocol_features,compat,generation,pinned,last_base_set,last_base "
	  "FROM device ORDER BY port" },
	{ "port", "ss", "SELECT id,spec FROM port ORDER BY id" },
	{ "owed", "smsiiu", "SELECT port,mac,boot,rounds_done,rounds,next_due_us FROM owed ORDER BY port,mac" },
	{ "mac", "simsiua", "SELECT net,vlan,mac,port,source,seen_us,ips FROM mac ORDER BY net,vlan,mac" },
	{ "migration", "uss", "SELECT id,port,json AS record FROM migration ORDER BY id" },
	{ "event", "uusss", "SELECT seq,time_us,port,type,detail FROM event ORDER BY seq" },
};

static void put_string(FILE *f, const unsigned char *t, size_t len)
{
	fputc('"', f);
	for (size_t i = 0; i < len; i++) {
		if (t[i] == '"' || t[i] == '\\')
			fprintf(f, "\\%c", t[i]);
		else if (t[i] < 0x20 || t[i] == 0x7f)
			fprintf(f, "\\u%04x", t[i]);
		else
			fputc(t[i], f);
	}
	fputc('"', f);
}

static void put_hex(FILE *f, const uint8_t *p, size_t len, const char *between)
{
	fputc('"', f);
	for (size_t i = 0; i < len; i++)
		fprintf(f, "%s%02x", i ? between : "", p[i]);
	fputc('"', f);
}

static void put_ips(FILE *f, const uint8_t *p, size_t len)
{
	fputc('[', f);
	for (size_t i = 0; i + 17 <= len; i += 17) {
		fprintf(f, "%s", i ? "," : "");
		put_hex(f, p + i + 1, p[i] == 4 ? 4 : 16, "");
	}
	fputc(']', f);
}

static void put_column(FILE *f, sqlite3_stmt *st, int c, char how)
{
	unsigned long long v = (unsigned long long)sqlite3_column_int64(st, c);
	const uint8_t *p = strchr("hma", how) ? sqlite3_column_blob(st, c) : NULL;
	size_t len = p ? (size_t)sqlite3_column_bytes(st, c) : 0;
	if (sqlite3_column_type(st, c) == SQLITE_NULL) {
		fputs("null", f);
		return;
	}
	switch (how) {
	case 'i':
		fprintf(f, "%lld", (long long)v);
		break;
	case 'u':
		fprintf(f, "%llu", v);
		break;
	case 'x':
		fprintf(f, "\"0x%llx\"", v);
		break;
	case 'b':
		fputs(v ? "true" : "false", f);
		break;
	case 'f':
		fprintf(f, "\"%s\"", snap_fd_name(v > 255 ? 255 : (uint8_t)v));
		break;
	case 'h':
		put_hex(f, p, len, "");
		break;
	case 'm':
		put_hex(f, p, len, ":");
		break;
	case 'a':
		put_ips(f, p, len);
		break;
	default: {
		const unsigned char *t = sqlite3_column_text(st, c);
		put_string(f, t, t ? (size_t)sqlite3_column_bytes(st, c) : 0);
	}
	}
}

static enum err dump_row(const struct dump_table *t, sqlite3_stmt *st, store_line_fn *fn, void *arg, struct why *why)
{
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);
	if (!f)
		return ours(why, "out of memory");
	fprintf(f, "{\"table\":\"%s\"", t->name);
	for (int c = 0; t->format[c]; c++) {
		fprintf(f, ",\"%s\":", sqlite3_column_name(st, c));
		put_column(f, st, c, t->format[c]);
	}
	fputc('}', f);
	bool bad = ferror(f);
	if (fclose(f) != 0 || bad) {
		free(line);
		return ours(why, "out of memory");
	}
	fn(arg, line);
	free(line);
	return OK;
}

enum err store_dump(struct store *s, store_line_fn *fn, void *arg, struct why *why)
{
	enum err e = OK;
	for (unsigned i = 0; i < ARRAY_LEN(tables) && e == OK; i++) {
		sqlite3_stmt *st = NULL;
		int rc = sqlite3_prepare_v2(s->db, tables[i].sql, -1, &st, NULL);
		while (e == OK && (rc == SQLITE_OK || rc == SQLITE_ROW)) {
			rc = sqlite3_step(st);
			if (rc == SQLITE_ROW)
				e = dump_row(&tables[i], st, fn, arg, why);
		}
		if (e == OK && rc != SQLITE_DONE)
			e = db_failed(s, rc, why);
		sqlite3_finalize(st);
	}
	return e;
}

// -- a file that no daemon has open ----------------------------------------------------------------------------------------
static enum err file_copy(const char *from, const char *to, struct why *why)
{
	char buf[65536];
	enum err e = OK;
	ssize_t n = 0;
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (in < 0)
		return ours(why, "can't read %s: %s", from, strerror(errno));
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (out >= 0 && (n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			break;
	if (out < 0 || n != 0)
		e = ours(why, "can't copy %s: %s", from, errno ? strerror(errno) : "the disk is full");
	fd_reset(&in);
	fd_reset(&out);
	return e;
}

static enum err copy_dump(const char *path, const char *copy, const char *copy_wal, store_line_fn *fn, void *arg,
			  struct why *why)
{
	char wal[600];
	struct stat st;
	struct store s = { .db = NULL };
	snprintf(wal, sizeof(wal), "%s-wal", path);
	enum err e = file_copy(path, copy, why);
	if (e == OK && stat(wal, &st) == 0)
		e = file_copy(wal, copy_wal, why);
	if (e != OK)
		return e;
	int rc = sqlite3_open_v2(copy, &s.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s.db, "PRAGMA locking_mode=EXCLUSIVE;PRAGMA trusted_schema=OFF;PRAGMA cell_size_check=ON", NULL,
				  NULL, NULL);
	e = rc == SQLITE_OK ? store_dump(&s, fn, arg, why) : db_failed(&s, rc, why);
	sqlite3_close(s.db);
	return e;
}

// Of a copy: reading a database with a log means recovering it, and the file may be evidence.
enum err store_dump_file(const char *path, store_line_fn *fn, void *arg, struct why *why)
{
	if (strlen(path) > 500)
		return ours(why, "the path is longer than 500 bytes");
	enum err e = lock_probe(path, why);
	if (e != OK)
		return e;
	const char *tmp = getenv("TMPDIR");
	char dir[300], copy[320], copy_wal[330];
	if (!tmp || !*tmp || strlen(tmp) > 250)
		tmp = "/tmp";
	snprintf(dir, sizeof(dir), "%s/vringd-dump-XXXXXX", tmp);
	if (!mkdtemp(dir))
		return ours(why, "can't make a directory in %s: %s", tmp, strerror(errno));
	snprintf(copy, sizeof(copy), "%s/state.db", dir);
	snprintf(copy_wal, sizeof(copy_wal), "%s-wal", copy);
	e = copy_dump(path, copy, copy_wal, fn, arg, why);
	unlink(copy);
	unlink(copy_wal);
	rmdir(dir);
	return e;
}
