// Front ends: their messages in, one at a time, and the answers out. Not trusted: the front end's bytes and descriptors, of which only
// the header's length is looked at. Must never happen: a message lost or given to a worker twice once it is done, two answers to one
// request, half an answer.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "keeper/inner.h"

// Edges: a front end that sends on while its message is with the worker wakes us once for it, and costs no call to watch it less.
#define READING (EPOLLIN | EPOLLRDHUP | EPOLLET)

static void watch(struct keeper *k, struct conn *c, uint32_t events)
{
	keeper_watch(k, c->fd, WATCH_CONN, (unsigned)(c - k->held.conn), events, !c->watched);
	c->watched = true;
}

void conn_watch_all(struct keeper *k)
{
	for (struct conn *c = k->held.conn; c < k->held.conn + k->held.top; c++)
		if (c->state != CONN_FREE && c->fd >= 0 && !c->watched)
			watch(k, c, c->state == CONN_REPLYING ? READING | EPOLLOUT : READING); // an edge now, if there is anything
}

// A front end that closed may be seen only after the next one has come: first things first.
static void bury(struct keeper *k, const char *port)
{
	char byte;
	for (unsigned i = 0; i < k->held.top; i++) {
		struct conn *c = &k->held.conn[i];
		if (c->state == CONN_IDLE && strcmp(c->port, port) == 0 && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			conn_ready(k, c, true);
	}
}

void conn_open(struct keeper *k, const char *port, int fd)
{
	struct ucred peer = { .pid = 0, .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	struct conn *c = strlen(port) < sizeof(c->port) && fd_set_nonblock(fd, true) == 0 ? custody_new_conn(&k->held) : NULL;
	if (!c) {
		log_warn("keeper: port %.32s: a front end was closed: %u connections are the most", port, CUSTODY_MAX_CONNS);
		fd_reset(&fd);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	c->state = CONN_IDLE;
	c->fd = fd;
	c->id = k->me.life << 32 | ++k->me.next_conn;
	c->since_us = clock_boot_us();
	strcpy(c->port, port);
	c->pid = peer.pid;
	c->uid = peer.uid;
	watch(k, c, READING);
	child_tell(k);
}

void conn_accept(struct keeper *k, struct name *n)
{
	int fd = accept4(n->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) { // it would be told again at once
		fd_reset(&k->spare);
		fd = accept4(n->fd, NULL, NULL, SOCK_CLOEXEC);
		log_err("port %.32s: a front end was closed: out of descriptors (raise LimitNOFILE)", n->text);
		fd_reset(&fd);
		k->spare = fcntl(k->ep, F_DUPFD_CLOEXEC, 3);
		return;
	}
	if (fd < 0)
		return;
	bury(k, n->text);
	conn_open(k, n->text, fd);
}

void conn_close(struct keeper *k, struct conn *c)
{
	if (c->fd >= 0 && c->watched)
		epoll_ctl(k->ep, EPOLL_CTL_DEL, c->fd, NULL);
	custody_release(c);
	c->state = CONN_FREE;
}

// Nothing of it is held from here on: guest memory must not outlive its guest, whatever the worker does.
void conn_end(struct keeper *k, struct conn *c, bool clean, const char *reason)
{
	conn_close(k, c);
	if (!c->told)
		return; // a worker that finds its rows and no connection draws its own conclusion
	c->state = CONN_ENDING;
	c->clean = clean;
	c->reason = reason;
	if (!conn_tell(k, c))
		child_tell(k);
}

void conn_give_up(struct keeper *k, struct conn *c, const char *reason)
{
	log_err("port %.32s: connection of pid %d given up: %s", c->port, (int)c->pid, reason);
	custody_fill_log(c); // before the front end can see that we are gone
	conn_end(k, c, false, reason);
}

static void send_message(struct keeper *k, struct conn *c)
{
	struct why why;
	uint8_t body[sizeof(c->hdr) + VU_MAX_PAYLOAD];
	struct kp_head h = { .type = KP_MESSAGE, .n_fds = (uint8_t)c->n_fds, .len = (uint32_t)sizeof(c->hdr) + c->hdr.size,
			     .conn = c->id, .seq = c->seq };
	memcpy(body, &c->hdr, sizeof(c->hdr));
	memcpy(body + sizeof(c->hdr), c->frame.payload, c->hdr.size);
	if (kp_send(k->me.sock, &h, body, c->fds, false, &why) != OK)
		return;
	c->state = CONN_SENT;
	c->sent_us = clock_boot_us();
	brisk_expect(&k->brisk, c->sent_us, flight_busy(k->flight));
	child_crash(k, CRASH_keep_sent);
}

static bool tell_kept(struct keeper *k, struct conn *c)
{
	struct why why;
	struct kp_ref ref[KP_MAX_FDS];
	int fds[KP_MAX_FDS];
	unsigned n = 0;
	for (; n < KP_MAX_FDS && c->kept_told + n < c->n_kept; n++) {
		ref[n] = c->kept[c->kept_told + n].ref;
		fds[n] = c->kept[c->kept_told + n].fd;
	}
	struct kp_head h = { .type = KP_KEPT, .n_fds = (uint8_t)n, .len = (uint32_t)(n * sizeof(ref[0])), .conn = c->id };
	if (kp_send(k->me.sock, &h, ref, fds, false, &why) != OK)
		return false;
	c->kept_told += n;
	return true;
}

bool conn_tell(struct keeper *k, struct conn *c)
{
	struct why why;
	if (c->state == CONN_FREE)
		return true;
	if (c->state == CONN_ENDING) {
		struct kp_head h = { .type = KP_GONE, .flags = c->clean ? KP_CLEAN : 0, .len = (uint32_t)strlen(c->reason), .conn = c->id };
		if (kp_send(k->me.sock, &h, c->reason, NULL, false, &why) == AGAIN)
			return false;
		c->state = CONN_FREE;
		return true;
	}
	if (!c->told) {
		struct kp_conn body = { .pid = c->pid, .uid = c->uid, .since_us = c->since_us };
		struct kp_head h = { .type = KP_CONN, .len = sizeof(body), .conn = c->id };
		body.deaths = c->deaths;
		body.done = c->state == CONN_STORED ? c->seq - 1 : c->seq;
		memcpy(body.port, c->port, sizeof(body.port));
		if (kp_send(k->me.sock, &h, &body, NULL, false, &why) != OK)
			return false;
		c->told = true;
	}
	while (c->kept_told < c->n_kept)
		if (!tell_kept(k, c))
			return false;
	if (c->state == CONN_STORED)
		send_message(k, c);
	return c->state != CONN_STORED;
}

static void take_message(struct keeper *k, struct conn *c)
{
	struct vu_in in;
	struct why why = { "" };
	enum err e = vu_frame_recv(&c->frame, c->fd, &in, &why);
	if (e == AGAIN)
		return;
	if (e != OK) {
		bool clean = vu_frame_eof(&c->frame);
		if (!clean)
			log_warn("keeper: port %.32s: %s", c->port, why.text);
		conn_end(k, c, clean, clean ? "closed by the front end" : "the stream is broken");
		return;
	}
	c->hdr = in.hdr;
	c->n_fds = in.n_fds;
	memcpy(c->fds, in.fds, sizeof(c->fds));
	c->seq++;
	c->deaths = 0;
	c->state = CONN_STORED;
	child_crash(k, CRASH_keep_stored);
	child_tell_one(k, c);
}

static void next_message(struct keeper *k, struct conn *c)
{
	if (c->hang_up) {
		conn_end(k, c, false, "refused, see above");
		return;
	}
	c->state = CONN_IDLE;
	take_message(k, c); // mostly it is there already
}

void conn_ready(struct keeper *k, struct conn *c, bool over)
{
	struct why why;
	c->gone |= over;
	if (over)
		hang_hurry(&k->hang);
	if (over && k->stopped_us)
		k->stopped_us = 1; // the worker has this guest's memory mapped, and nobody can tell it
	if (c->state == CONN_IDLE)
		take_message(k, c);
	if (c->gone && !k->me.serving && (c->state == CONN_STORED || c->state == CONN_SENT))
		conn_end(k, c, false, "closed by the front end"); // who knows when there will be one
	if (c->state != CONN_REPLYING)
		return;
	enum err e = vu_frame_flush(&c->frame, c->fd, &why);
	if (e == OK) {
		watch(k, c, READING);
		next_message(k, c);
	} else if (e != AGAIN) {
		conn_end(k, c, true, "closed by the front end");
	}
}

void conn_done(struct keeper *k, const struct kp_packet *p)
{
	struct conn *c = custody_conn(&k->held, p->head.conn);
	struct kp_done d;
	struct kp_ref ref[KP_MAX_KEPT];
	if (!c || c->state != CONN_SENT || c->seq != p->head.seq || p->head.len < sizeof(d))
		return; // of a connection that was given up meanwhile
	memcpy(&d, p->body, sizeof(d));
	if (d.n_keep > KP_MAX_KEPT || p->head.len != sizeof(d) + d.n_keep * sizeof(ref[0]) || d.reply_len > sizeof(d.reply))
		return;
	memcpy(ref, p->body + sizeof(d), d.n_keep * sizeof(ref[0]));
	child_crash(k, CRASH_keep_got_done);
	if (p->head.flags & KP_KEEP)
		custody_keep_only(c, ref, d.n_keep);
	c->kept_told = c->n_kept; // whoever is done with the message has its descriptors
	fd_reset_all(c->fds, VU_MAX_FDS);
	c->n_fds = 0;
	c->log_from = d.log_from;
	c->log_offset = d.log_offset;
	c->log_bytes = d.log_bytes;
	c->hang_up = (p->head.flags & KP_HANG_UP) != 0;
	c->behind = (p->head.flags & KP_BEHIND) != 0;
	c->deaths = 0;
	brisk_expect(&k->brisk, clock_boot_us(), flight_busy(k->flight));
	struct why why;
	enum err e = d.reply_len ? vu_frame_send(&c->frame, c->fd, d.reply, d.reply_len, &why) : OK;
	if (e == OK) {
		child_crash(k, CRASH_keep_replied);
		next_message(k, c);
	} else if (e == AGAIN) {
		c->state = CONN_REPLYING;
		watch(k, c, READING | EPOLLOUT);
	} else {
		conn_end(k, c, true, "closed by the front end");
	}
}
