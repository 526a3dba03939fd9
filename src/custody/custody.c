#include "custody/custody.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

void custody_init(struct custody *c)
{
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		c->name[i].fd = -1;
}

void custody_clear(struct custody *c)
{
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		fd_reset(&c->name[i].fd);
	for (unsigned i = 0; i < c->top; i++) {
		if (c->conn[i].state != CONN_FREE)
			custody_release(&c->conn[i]);
		c->conn[i].state = CONN_FREE;
	}
}

struct name *custody_named(struct custody *c, const char *text)
{
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		if (c->name[i].fd >= 0 && strcmp(c->name[i].text, text) == 0)
			return &c->name[i];
	return NULL;
}

int custody_get(struct custody *c, const char *text)
{
	const struct name *n = custody_named(c, text);
	return n ? n->fd : -1;
}

void custody_drop(struct custody *c, const char *text)
{
	struct name *n = custody_named(c, text);
	if (n)
		fd_reset(&n->fd);
}

struct name *custody_put(struct custody *c, const char *text, int fd, bool listens)
{
	struct name *n = c->name;
	custody_drop(c, text);
	while (n < c->name + CUSTODY_MAX_NAMES && n->fd >= 0)
		n++;
	if (n == c->name + CUSTODY_MAX_NAMES || strlen(text) >= sizeof(n->text) || !text[0] || fd < 0) {
		log_err("keeper: '%.40s' can't be kept: it will not outlive the worker", text);
		fd_reset(&fd);
		return NULL;
	}
	strcpy(n->text, text);
	n->fd = fd;
	n->listens = listens;
	n->told = true; // by whoever put it
	return n;
}

struct conn *custody_conn(struct custody *c, uint64_t id)
{
	for (unsigned i = 0; i < c->top; i++)
		if (c->conn[i].state != CONN_FREE && c->conn[i].id == id)
			return &c->conn[i];
	return NULL;
}

struct conn *custody_new_conn(struct custody *c)
{
	struct conn *n = c->conn;
	while (n < c->conn + CUSTODY_MAX_CONNS && n->state != CONN_FREE)
		n++;
	if (n == c->conn + CUSTODY_MAX_CONNS)
		return NULL;
	if (n == c->conn + c->top)
		c->top++;
	memset(n, 0, offsetof(struct conn, kept)); // what is behind is counted
	n->n_kept = n->kept_told = 0;
	n->reason = NULL;
	n->log_from = n->log_offset = n->log_bytes = 0;
	n->fd = -1;
	vu_frame_init(&n->frame);
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		n->fds[i] = -1;
	return n;
}

static bool named(const struct kp_ref *ref, unsigned n, uint64_t seq, uint32_t place)
{
	for (unsigned i = 0; i < n; i++)
		if (ref[i].seq == seq && ref[i].place == place)
			return true;
	return false;
}

void custody_keep_only(struct conn *c, const struct kp_ref *ref, unsigned n)
{
	unsigned to = 0;
	for (unsigned i = 0; i < c->n_kept; i++) {
		if (named(ref, n, c->kept[i].ref.seq, c->kept[i].ref.place))
			c->kept[to++] = c->kept[i];
		else
			fd_reset(&c->kept[i].fd);
	}
	c->n_kept = to;
	for (unsigned i = 0; i < c->n_fds; i++)
		if (named(ref, n, c->seq, i) && c->n_kept < KP_MAX_KEPT)
			c->kept[c->n_kept++] = (struct kept){ { c->seq, i, 0 }, fd_take(&c->fds[i]) };
}

void custody_release(struct conn *c)
{
#ifdef VRINGD_MUTANT_PINNED // seeded bug: forgotten, and not closed
	c->n_kept = 0;
#endif
	for (unsigned i = 0; i < c->n_kept; i++)
		fd_reset(&c->kept[i].fd);
	c->n_kept = 0;
	fd_reset_all(c->fds, VU_MAX_FDS);
	c->n_fds = 0;
	vu_frame_drop(&c->frame);
	fd_reset(&c->fd);
}

static void all_ones(int fd, uint64_t offset, uint64_t bytes)
{
	static uint8_t ones[65536];
	memset(ones, 0xff, sizeof(ones));
	while (bytes) {
		ssize_t n = pwrite(fd, ones, bytes < sizeof(ones) ? (size_t)bytes : sizeof(ones), (off_t)offset);
		if (n <= 0) {
			log_err("keeper: a dirty log can't be filled: %s; the front end may miss pages", strerror(errno));
			return;
		}
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
}

void custody_fill_log(const struct conn *c)
{
#ifdef VRINGD_MUTANT_UNFILLED // seeded bug
	return;
#endif
	for (unsigned i = 0; c->log_bytes && i < c->n_kept; i++)
		if (c->kept[i].ref.seq == c->log_from) {
			all_ones(c->kept[i].fd, c->log_offset, c->log_bytes);
			return;
		}
}
