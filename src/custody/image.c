#include "custody/image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define MAGIC UINT64_C(0x31647473756376)
#define VERSION 1
#define MAX_FDS (1 + 2 * VU_MAX_FDS + KP_MAX_KEPT)
#define MAX_BODY 16384

enum kind { KEEPER = 1, NAME, CONN };

struct head {
	uint64_t magic;
	uint32_t version, records;
};

struct record { // then the numbers of its descriptors, then its body
	uint16_t kind, n_fds;
	uint32_t len;
};

struct keeper_body {
	uint64_t life, started_us, died_us;
	uint32_t next_conn, worker;
	uint32_t spoken;
	int32_t pid;
	uint8_t serving, hello_told, ready_told, pad[5];
};

struct conn_body { // then n_kept refs, the payload of the message in hand, what was received and what is to be sent
	uint64_t id, seq, since_us, sent_us, log_from, log_offset, log_bytes;
	char port[KP_NAME_MAX];
	int32_t pid;
	uint32_t uid;
	struct vu_hdr hdr;
	uint32_t have, out; // bytes
	uint16_t n_fds, n_half, n_kept, kept_told; // descriptors, behind the socket
	uint8_t state, told, hang_up, gone, clean, behind, deaths, pad;
};

struct buf {
	int fds[MAX_FDS];
	unsigned n_fds;
	uint8_t body[MAX_BODY];
	uint32_t len, at; // at: of reading
	bool bad;
	const int *same;
};

static void add(struct buf *b, const void *from, size_t n)
{
	if (n > sizeof(b->body) - b->len)
		b->bad = true;
	else if (n)
		memcpy(b->body + b->len, from, n);
	b->len += b->bad ? 0 : (uint32_t)n;
}

static void add_fds(struct buf *b, const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		b->fds[b->n_fds++] = fds[i];
}

static bool write_all(int fd, const void *from, size_t n)
{
	return n == 0 || write(fd, from, n) == (ssize_t)n; // a memfd takes all of it, or has no memory
}

static bool put(int fd, enum kind kind, struct buf *b)
{
	for (unsigned i = 0; b->same && i < b->n_fds; i++)
		if (b->fds[i] >= 0 && b->fds[i] < CUSTODY_SAME_MAX)
			b->fds[i] = b->same[b->fds[i]];
	struct record r = { .kind = (uint16_t)kind, .n_fds = (uint16_t)b->n_fds, .len = b->len };
	return !b->bad && write_all(fd, &r, sizeof(r)) && write_all(fd, b->fds, b->n_fds * sizeof(int)) && write_all(fd, b->body, b->len);
}

static bool put_keeper(int fd, const struct custody_keeper *k, struct buf *b)
{
	const int fds[2] = { k->exe, k->sock };
	struct keeper_body body = { .life = k->life, .started_us = k->started_us, .died_us = k->died_us, .next_conn = k->next_conn,
				    .worker = k->worker, .spoken = k->spoken, .pid = k->pid, .serving = k->serving, .hello_told = k->hello_told,
				    .ready_told = k->ready_told };
	b->n_fds = b->len = 0;
	add_fds(b, fds, 2);
	add(b, &body, sizeof(body));
	return put(fd, KEEPER, b);
}

static bool put_name(int fd, const struct name *n, struct buf *b)
{
	uint8_t listens = n->listens;
	b->n_fds = b->len = 0;
	add_fds(b, &n->fd, 1);
	add(b, n->text, sizeof(n->text));
	add(b, &listens, 1);
	return put(fd, NAME, b);
}

static bool in_hand(const struct conn *c)
{
	return c->state == CONN_STORED || c->state == CONN_SENT;
}

static bool put_conn(int fd, const struct conn *c, struct buf *b)
{
	const struct vu_frame *f = &c->frame;
	struct conn_body body = { .id = c->id, .seq = c->seq, .since_us = c->since_us, .sent_us = c->sent_us, .log_from = c->log_from,
				  .log_offset = c->log_offset, .log_bytes = c->log_bytes, .pid = c->pid, .uid = c->uid, .hdr = c->hdr,
				  .have = f->have, .out = f->out_len - f->out_at, .n_fds = (uint16_t)c->n_fds,
				  .n_half = (uint16_t)f->n_fds, .n_kept = (uint16_t)c->n_kept, .kept_told = (uint16_t)c->kept_told,
				  .state = (uint8_t)c->state, .told = c->told, .hang_up = c->hang_up, .gone = c->gone,
				  .clean = c->clean, .behind = c->behind, .deaths = c->deaths };
	memcpy(body.port, c->port, sizeof(body.port));
	b->n_fds = b->len = 0;
	add_fds(b, &c->fd, 1);
	add_fds(b, c->fds, c->n_fds);
	add_fds(b, f->fds, f->n_fds);
	add(b, &body, sizeof(body));
	for (unsigned i = 0; i < c->n_kept; i++) {
		add_fds(b, &c->kept[i].fd, 1);
		add(b, &c->kept[i].ref, sizeof(c->kept[i].ref));
	}
	if (in_hand(c))
		add(b, f->payload, c->hdr.size);
	add(b, f->head.bytes, f->have < sizeof(f->head) ? f->have : sizeof(f->head));
	add(b, f->payload, f->have > sizeof(f->head) ? f->have - sizeof(f->head) : 0);
	add(b, f->out + f->out_at, f->out_len - f->out_at);
	return put(fd, CONN, b);
}

enum err custody_save(const struct custody *c, const struct custody_keeper *k, const int *same, int *out, struct why *why)
{
	static struct buf b;
	struct head h = { .magic = MAGIC, .version = VERSION, .records = 1 };
	int fd = memfd_create("vringd-image", MFD_CLOEXEC);
	b.bad = false;
	b.same = same;
	bool ok = fd >= 0 && lseek(fd, sizeof(h), SEEK_SET) >= 0 && put_keeper(fd, k, &b);
	for (unsigned i = 0; ok && i < CUSTODY_MAX_NAMES; i++)
		if (c->name[i].fd >= 0) {
			ok = put_name(fd, &c->name[i], &b);
			h.records++;
		}
	for (unsigned i = 0; ok && i < c->top; i++)
		if (c->conn[i].state != CONN_FREE) {
			ok = put_conn(fd, &c->conn[i], &b);
			h.records++;
		}
	if (!ok || pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h)) {
		fd_reset(&fd);
		return ours(why, "what is kept can't be written down: %s", strerror(errno));
	}
	*out = fd;
	return OK;
}

void custody_each_fd(const struct custody *c, const struct custody_keeper *k, custody_fd_fn *fn, void *arg)
{
	if (k->exe >= 0)
		fn(arg, k->exe);
	if (k->sock >= 0)
		fn(arg, k->sock);
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		if (c->name[i].fd >= 0)
			fn(arg, c->name[i].fd);
	for (unsigned i = 0; i < c->top; i++) {
		const struct conn *n = &c->conn[i];
		if (n->state == CONN_FREE)
			continue;
		if (n->fd >= 0)
			fn(arg, n->fd);
		for (unsigned j = 0; j < n->n_fds; j++)
			fn(arg, n->fds[j]);
		for (unsigned j = 0; j < n->frame.n_fds; j++)
			fn(arg, n->frame.fds[j]);
		for (unsigned j = 0; j < n->n_kept; j++)
			fn(arg, n->kept[j].fd);
	}
}

// -- and back ---------------------------------------------------------------------------------------------------------------

// Bytes from the body; of a shorter one the rest is zeros only where a record may be shorter.
static void take(struct buf *b, void *to, size_t n)
{
	if (n > b->len - b->at) {
		b->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, b->body + b->at, n);
	b->at += (uint32_t)n;
}

static bool get(int fd, off_t *at, struct record *r, struct buf *b)
{
	b->at = b->n_fds = 0; // numbers that mean nothing yet are nobody's to close
	b->bad = false;
	if (pread(fd, r, sizeof(*r), *at) != (ssize_t)sizeof(*r) || r->n_fds > MAX_FDS || r->len > MAX_BODY)
		return false;
	*at += (off_t)sizeof(*r);
	b->len = r->len;
	size_t ids = r->n_fds * sizeof(int);
	if (pread(fd, b->fds, ids, *at) != (ssize_t)ids || pread(fd, b->body, r->len, *at + (off_t)ids) != (ssize_t)r->len)
		return false;
	b->n_fds = r->n_fds;
	*at += (off_t)ids + (off_t)r->len;
	return true;
}

static bool get_keeper(struct custody_keeper *k, struct buf *b)
{
	struct keeper_body body;
	take(b, &body, sizeof(body));
	if (b->bad || b->n_fds < 2)
		return false;
	*k = (struct custody_keeper){ .life = body.life, .started_us = body.started_us, .died_us = body.died_us,
				      .next_conn = body.next_conn, .worker = body.worker, .spoken = body.spoken, .pid = body.pid, .exe = fd_take(&b->fds[0]),
				      .sock = fd_take(&b->fds[1]), .serving = body.serving, .hello_told = body.hello_told,
				      .ready_told = body.ready_told };
	return true;
}

static bool get_name(struct custody *c, struct buf *b)
{
	char text[KP_NAME_MAX];
	uint8_t listens;
	take(b, text, sizeof(text));
	take(b, &listens, 1);
	if (b->bad || b->n_fds < 1 || !memchr(text, '\0', sizeof(text)))
		return false;
	if (b->fds[0] < 0) {
		log_warn("keeper: what was kept as '%s' is lost", text);
		return true;
	}
	return custody_put(c, text, fd_take(&b->fds[0]), listens != 0) != NULL;
}

static bool body_fits(const struct conn_body *d, const struct buf *b)
{
	const struct vu_frame *f = NULL;
	return !b->bad && d->state > CONN_FREE && d->state <= CONN_ENDING && memchr(d->port, '\0', sizeof(d->port)) && d->n_fds <= VU_MAX_FDS &&
	       d->n_half <= VU_MAX_FDS && d->n_kept <= KP_MAX_KEPT && d->kept_told <= d->n_kept && d->hdr.size <= VU_MAX_PAYLOAD &&
	       d->have <= sizeof(f->head) + VU_MAX_PAYLOAD && d->out <= sizeof(f->out) &&
	       b->n_fds == 1u + d->n_fds + d->n_half + d->n_kept;
}

static bool get_conn(struct custody *c, struct buf *b)
{
	struct conn_body d;
	take(b, &d, sizeof(d));
	struct conn *n = body_fits(&d, b) ? custody_new_conn(c) : NULL;
	if (!n)
		return false;
	struct vu_frame *f = &n->frame;
	unsigned at = 0;
	bool lost = d.state != CONN_ENDING && b->fds[0] < 0;
	*n = (struct conn){ .state = d.state, .told = d.told, .hang_up = d.hang_up, .gone = d.gone, .clean = d.clean, .behind = d.behind,
			    .deaths = d.deaths, .id = d.id, .seq = d.seq, .since_us = d.since_us, .sent_us = d.sent_us, .pid = d.pid,
			    .uid = d.uid, .hdr = d.hdr, .n_fds = d.n_fds, .n_kept = d.n_kept, .kept_told = d.kept_told,
			    .log_from = d.log_from, .log_offset = d.log_offset, .log_bytes = d.log_bytes,
			    .reason = d.state == CONN_ENDING ? "closed" : NULL };
	memcpy(n->port, d.port, sizeof(n->port));
	vu_frame_init(f);
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		n->fds[i] = -1;
	n->fd = fd_take(&b->fds[at++]);
	for (unsigned i = 0; i < d.n_fds; i++, at++) {
		lost = lost || b->fds[at] < 0;
		n->fds[i] = fd_take(&b->fds[at]);
	}
	for (; f->n_fds < d.n_half; f->n_fds++, at++) {
		lost = lost || b->fds[at] < 0;
		f->fds[f->n_fds] = fd_take(&b->fds[at]);
	}
	for (unsigned i = 0; i < d.n_kept; i++, at++) {
		lost = lost || b->fds[at] < 0;
		n->kept[i].fd = fd_take(&b->fds[at]);
		take(b, &n->kept[i].ref, sizeof(n->kept[i].ref));
	}
	if (in_hand(n))
		take(b, f->payload, d.hdr.size);
	f->have = d.have;
	take(b, f->head.bytes, d.have < sizeof(f->head) ? d.have : sizeof(f->head));
	if (d.have > sizeof(f->head))
		take(b, f->payload, d.have - sizeof(f->head));
	f->out_len = d.out;
	take(b, f->out, d.out);
	if (d.have >= sizeof(f->head) && (f->head.hdr.size > VU_MAX_PAYLOAD || d.have >= sizeof(f->head) + f->head.hdr.size))
		return false; // it would have been a whole message
	if (b->bad)
		return false;
	if (!lost)
		return true;
	log_err("port %s: connection of pid %d closed: a descriptor of it is lost", n->port, (int)n->pid);
	custody_fill_log(n);
	custody_release(n);
	n->state = CONN_FREE;
	return true;
}

enum err custody_load(struct custody *c, struct custody_keeper *k, int fd, custody_at_fn *at_fn, void *arg, struct why *why)
{
	static struct buf b;
	struct head h;
	struct record r;
	off_t at = sizeof(h);
	bool ok = true, known = false;
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || h.magic != MAGIC)
		return refuse(why, "this is no image of what a keeper keeps");
	if (h.version != VERSION)
		return refuse(why, "the image of what is kept has version %u, this program reads %u", h.version, VERSION);
	for (uint32_t i = 0; ok && i < h.records; i++) {
		ok = get(fd, &at, &r, &b);
		for (unsigned j = 0; ok && j < b.n_fds; j++)
			b.fds[j] = b.fds[j] >= 0 ? at_fn(arg, b.fds[j]) : -1;
		if (ok && r.kind == KEEPER)
			ok = !known && (known = get_keeper(k, &b));
		else if (ok && r.kind == NAME)
			ok = get_name(c, &b);
		else if (ok)
			ok = r.kind == CONN && get_conn(c, &b);
		fd_reset_all(b.fds, b.n_fds); // what nobody took
	}
	return ok && known ? OK : refuse(why, "the image of what is kept is damaged");
}
