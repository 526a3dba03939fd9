#include "store/inner.h"

#include <stdlib.h>
#include <string.h>

// Not against an attacker, who could compute it as well: against damage and half-written code. What a row says is
// validated besides.
static uint64_t sum_mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

static uint64_t sum_bytes(uint64_t h, const void *p, size_t len)
{
	const unsigned char *b = p;
	h = sum_mix(h, len + 1);
	for (; len >= 8; len -= 8, b += 8) {
		uint64_t x;
		memcpy(&x, b, 8);
		h = sum_mix(h, x);
	}
	if (len) {
		uint64_t x = 0;
		memcpy(&x, b, len);
		h = sum_mix(h, x);
	}
	return h;
}

void bind_start(struct bind *b, sqlite3_stmt *st, enum table t)
{
	*b = (struct bind){ .st = st, .col = 1, .sum = sum_mix(0, t) };
}

void bind_int(struct bind *b, uint64_t v)
{
	sqlite3_bind_int64(b->st, b->col++, (sqlite3_int64)v);
	b->sum = sum_mix(b->sum, v);
}

void bind_text(struct bind *b, const char *v)
{
	size_t len = strlen(v);
	sqlite3_bind_text(b->st, b->col++, v, (int)len, SQLITE_STATIC);
	b->sum = sum_bytes(b->sum, v, len);
}

void bind_blob(struct bind *b, const void *v, size_t len)
{
	// A NULL pointer would bind NULL, not an empty blob.
	sqlite3_bind_blob(b->st, b->col++, len ? v : "", (int)len, SQLITE_STATIC);
	b->sum = sum_bytes(b->sum, v, len);
}

void bind_seal(struct bind *b)
{
	bind_int(b, ROW_VERSION);
	bind_int(b, ROW_OLDEST);
	sqlite3_bind_int64(b->st, b->col++, (sqlite3_int64)b->sum);
}

void row_start(struct row *r, sqlite3_stmt *st, int first_col, enum table t)
{
	*r = (struct row){ .st = st, .col = first_col, .sum = sum_mix(0, t) };
}

uint64_t row_int(struct row *r)
{
	int c = r->col++;
	if (sqlite3_column_type(r->st, c) != SQLITE_INTEGER) {
		r->bad = "a number is missing";
		return 0;
	}
	uint64_t v = (uint64_t)sqlite3_column_int64(r->st, c);
	r->sum = sum_mix(r->sum, v);
	return v;
}

uint64_t row_max(struct row *r, uint64_t max)
{
	uint64_t v = row_int(r);
	if (v <= max)
		return v;
	r->bad = "a number is out of range";
	return 0;
}

bool row_bool(struct row *r)
{
	return row_max(r, 1) != 0;
}

const char *row_text(struct row *r, size_t max)
{
	int c = r->col++;
	if (sqlite3_column_type(r->st, c) != SQLITE_TEXT) {
		r->bad = "a text is missing";
		return "";
	}
	const char *t = (const char *)sqlite3_column_text(r->st, c);
	size_t len = (size_t)sqlite3_column_bytes(r->st, c);
	if (!t || len > max || memchr(t, '\0', len) != NULL) {
		r->bad = "a text is too long or holds a NUL";
		return "";
	}
	r->sum = sum_bytes(r->sum, t, len);
	return t;
}

void row_copy(struct row *r, char *dst, size_t cap)
{
	const char *t = row_text(r, cap - 1);
	size_t len = strlen(t);
	memcpy(dst, t, len + 1);
}

size_t row_blob(struct row *r, void *dst, size_t cap)
{
	int c = r->col++;
	if (sqlite3_column_type(r->st, c) != SQLITE_BLOB) {
		r->bad = "bytes are missing";
		return 0;
	}
	const void *p = sqlite3_column_blob(r->st, c);
	size_t len = (size_t)sqlite3_column_bytes(r->st, c);
	if (len > cap || (len > 0 && !p)) {
		r->bad = "there are too many bytes";
		return 0;
	}
	if (len)
		memcpy(dst, p, len);
	r->sum = sum_bytes(r->sum, dst, len);
	return len;
}

enum err row_seal(struct row *r, const char *what, struct why *why)
{
	uint64_t v = row_int(r);
	uint64_t oldest = row_int(r);
	if (!r->bad && (oldest > ROW_VERSION || v < ROW_OLDEST))
		return refuse(why, "stored %s: its row of version %llu is for readers from %llu on, this one reads %d", what,
			      (unsigned long long)v, (unsigned long long)oldest, ROW_VERSION);
	if (r->bad)
		return refuse(why, "stored %s is damaged: %s", what, r->bad);
	if (sqlite3_column_type(r->st, r->col) != SQLITE_INTEGER ||
	    (uint64_t)sqlite3_column_int64(r->st, r->col) != r->sum)
		return refuse(why, "stored %s is damaged: its checksum differs", what);
	r->col++;
	return OK;
}

enum { DROP_MAX = 64 }; // in one walk; what is left is dropped by the next

static void rows_drop(struct store *s, enum stmt drop, const int64_t *id, unsigned n)
{
	// Best effort: a row that could not be dropped is refused again the next time.
	if (n == 0 || txn_begin(s, NULL) != OK)
		return;
	enum err e = OK;
	for (unsigned i = 0; i < n && e == OK; i++)
		e = stmt_run_id(s, drop, id[i], NULL);
	txn_end(s, e, NULL);
}

enum err rows_scan(struct store *s, sqlite3_stmt *st, enum stmt drop, row_fn *load, void *arg, struct scan *sc,
		   struct why *why)
{
	int64_t id[DROP_MAX];
	unsigned n_ids = 0;
	enum err e = OK;
	int rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct why w = { "" };
		e = load(s, st, arg, &w);
		if (e == REFUSED) {
			if (sc->bad++ == 0)
				sc->first = w;
			if (drop != NO_DROP && n_ids < DROP_MAX)
				id[n_ids++] = sqlite3_column_int64(st, 0);
			e = OK;
		} else if (e != OK) {
			if (why)
				*why = w;
			break;
		}
	}
	if (e == OK && rc != SQLITE_DONE)
		e = db_failed(s, rc, why);
	sqlite3_reset(st);
	if (e == OK && !sc->keep)
		rows_drop(s, drop, id, n_ids);
	return e;
}

enum err scan_end(enum err e, const struct scan *sc, struct why *why)
{
	if (e == OK && why)
		*why = sc->first;
	return e;
}

void *vec_add(struct vec *v)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? v->cap * 2 : 16;
		unsigned char *items = reallocarray(v->items, cap, v->item);
		if (!items)
			return NULL;
		v->items = items;
		v->cap = cap;
	}
	void *p = v->items + v->n++ * v->item;
	memset(p, 0, v->item);
	return p;
}

bool text_is_id(const char *s, size_t cap)
{
	size_t n = 0;
	for (; n < cap && s[n]; n++)
		if (s[n] < 0x21 || s[n] > 0x7e)
			return false;
	return n > 0 && n < cap;
}
