// The database as bytes, for a program that is to go on with it and must show first that it can. Those bytes are as little
// trusted as the file is.
#include "store/inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define IMAGE_MAGIC UINT64_C(0x316567616d697276)
#define IMAGE_MAX (256u << 20)

struct image_head {
	uint64_t magic;
	uint32_t reader; // schema version of the program that made it: who gets the database back if all else fails
	uint32_t connections; // of this life
	uint32_t findings; // of store_check: what is wrong already is nobody's fault
	uint32_t pad;
	uint64_t life;
	uint64_t bytes; // of the database, which follows
};

static enum err count_connections(struct store *s, uint32_t *n, struct why *why)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, "SELECT count(*) FROM applied WHERE life=?", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)s->life);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	enum err e = rc == SQLITE_ROW ? OK : db_failed(s, rc, why);
	if (e == OK)
		*n = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return e;
}

static bool write_all(int fd, const void *from, size_t n)
{
	const char *p = from;
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

enum err store_image(struct store *s, int *out, struct why *why)
{
	struct image_head h = { .magic = IMAGE_MAGIC, .life = s->life };
	int version, oldest;
	sqlite3_int64 n = 0;
	schema_version(&version, &oldest);
	h.reader = (uint32_t)version;
	enum err e = store_check(s, &h.findings, why);
	if (e == OK || e == REFUSED)
		e = count_connections(s, &h.connections, why);
	if (e != OK)
		return e;
	unsigned char *db = sqlite3_serialize(s->db, "main", &n, 0);
	if (!db || n < 100)
		e = ours(why, "state.db can't be copied: out of memory");
	int fd = e == OK ? memfd_create("vringd-rows", MFD_CLOEXEC) : -1;
	if (e == OK) {
		db[18] = db[19] = 1; // "with a write-ahead log", which a copy in memory can't have
		h.bytes = (uint64_t)n;
		if (fd < 0 || !write_all(fd, &h, sizeof(h)) || !write_all(fd, db, (size_t)n))
			e = ours(why, "state.db can't be copied: %s", strerror(errno));
	}
	sqlite3_free(db);
	if (e != OK)
		fd_reset(&fd);
	*out = fd;
	return e;
}

static enum err read_head(int fd, struct image_head *h, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || pread(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h) || h->magic != IMAGE_MAGIC)
		return refuse(why, "the rows that were handed over are no image of a database");
	if (h->bytes < 100 || h->bytes > IMAGE_MAX || (uint64_t)st.st_size != sizeof(*h) + h->bytes || h->life > LIFE_MAX)
		return refuse(why, "the image of the database is damaged");
	return OK;
}

static enum err load(struct store *s, int fd, const struct image_head *h, struct why *why)
{
	unsigned char *db = sqlite3_malloc64(h->bytes);
	size_t at = 0;
	if (!db || sqlite3_open_v2(":memory:", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		sqlite3_free(db);
		return ours(why, "out of memory");
	}
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	for (ssize_t n = 1; at < h->bytes && n > 0; at += n > 0 ? (size_t)n : 0)
		n = pread(fd, db + at, h->bytes - at, (off_t)(sizeof(*h) + at));
	if (at != h->bytes) {
		sqlite3_free(db);
		return ours(why, "the image of the database can't be read: %s", strerror(errno));
	}
	// from here on the bytes are sqlite's, also if it fails
	int rc = sqlite3_deserialize(s->db, "main", db, (sqlite3_int64)h->bytes, (sqlite3_int64)h->bytes,
				     SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
	return rc == SQLITE_OK ? OK : db_failed(s, rc, why);
}

// Whoever goes on with the database changes it for good, before anybody knows that it will serve; if it does not, the one
// that runs now gets the database back.
static enum err check_way_back(const struct image_head *h, struct why *why)
{
	int version, oldest;
	schema_version(&version, &oldest);
	if ((uint32_t)oldest <= h->reader || (uint32_t)version <= h->reader)
		return OK;
	return refuse(why, "its schema %d can't be read by the version that runs (%u), and so there would be no way back: stop that one, "
			   "then start this one",
		      version, h->reader);
}

static void count(void *arg, const struct snap *snap, uint64_t seq)
{
	(void)snap;
	(void)seq;
	++*(uint32_t *)arg;
}

static enum err begin(struct store *s, const struct image_head *h, struct why *why)
{
	uint32_t n = 0;
	s->life = h->life;
	s->resumed = true;
	enum err e = stmt_prepare_all(s, why);
	unsigned findings = 0;
	if (e == OK)
		e = store_check(s, &findings, why);
	if (e == REFUSED && findings <= h->findings)
		e = OK;
	if (e == OK)
		e = store_each_connection(s, count, &n, why);
	if (e == OK && n != h->connections)
		e = refuse(why, "of %u connections %u are left with this version's rows", h->connections, n);
	return e;
}

void store_warm(void)
{
	struct why why;
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->lock_fd = -1;
	if (sqlite3_open_v2(":memory:", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
		schema_warm(s);
		stmt_prepare_all(s, &why);
	}
	store_close(s);
}

enum err store_open_image(struct store **out, int fd, struct why *why)
{
	struct image_head h;
	int version;
	*out = NULL;
	enum err e = read_head(fd, &h, why);
	if (e != OK)
		return e;
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return ours(why, "out of memory");
	s->lock_fd = -1;
	snprintf(s->boot, sizeof(s->boot), "%s", clock_boot_id());
	e = load(s, fd, &h, why);
	if (e == OK)
		e = schema_bring_image(s, &version, why);
	if (e == OK)
		e = check_way_back(&h, why);
	if (e == OK)
		e = begin(s, &h, why);
	if (e != OK) {
		store_close(s);
		return e;
	}
	*out = s;
	return OK;
}
