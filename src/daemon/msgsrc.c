#include "daemon/msgsrc.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "loop/loop.h"
#include "wire/vu_frame.h"

#define BUDGET 16 // messages per turn: a chatty front end does not keep the others waiting

struct plain {
	struct msgsrc base;
	int fd;
	struct watch *watch;
	struct vu_frame *frame;
	uint64_t seq;
	bool close_after; // when the reply is out
};

static void release(struct msgsrc *m)
{
	struct plain *src = (struct plain *)m;
	watch_free(src->watch); // before its descriptor
	vu_frame_free(src->frame);
	fd_reset(&src->fd);
	free(src);
}

static void end(struct plain *src, bool clean, const char *reason)
{
	if (!src->base.dead)
		src->base.user->end(src->base.arg, clean, reason);
}

static bool one_message(struct plain *src)
{
	struct vu_in in;
	struct why why = { "" };
	enum err e = vu_frame_recv(src->frame, src->fd, &in, &why);
	if (e == AGAIN)
		return false;
	if (e != OK) {
		bool clean = vu_frame_eof(src->frame);
		end(src, clean, clean ? "closed by the front end" : why.text);
		return false;
	}
	struct dev_msg msg = { .seq = ++src->seq, .hdr = in.hdr, .payload = in.payload, .n_fds = in.n_fds };
	struct dev_reply reply;
	memcpy(msg.fds, in.fds, sizeof(msg.fds));
	src->base.user->message(src->base.arg, &msg, &reply);
	if (src->base.dead)
		return false;
	src->close_after = reply.close;
	e = reply.len ? vu_frame_send(src->frame, src->fd, reply.bytes, reply.len, &why) : OK;
	if (e == AGAIN) { // the rest goes when the peer reads; nothing more is read from it before
		watch_set(src->watch, LOOP_WRITE);
		return false;
	}
	if (e != OK || reply.close) {
		end(src, false, e != OK ? why.text : "refused, see above");
		return false;
	}
	return true;
}

static void on_ready(void *arg, int fd, int ready)
{
	struct plain *src = arg;
	(void)fd;
	src->base.inside = true;
	if (ready & LOOP_WRITE) {
		struct why why = { "" };
		enum err e = vu_frame_flush(src->frame, src->fd, &why);
		if (e == OK && src->close_after)
			end(src, false, "refused, see above");
		else if (e == OK)
			watch_set(src->watch, LOOP_READ);
		else if (e != AGAIN)
			end(src, false, why.text);
	} else {
		for (unsigned i = 0; i < BUDGET && one_message(src); i++)
			;
	}
	src->base.inside = false;
	if (src->base.dead)
		release(&src->base);
}

static bool hung_up(const struct msgsrc *m)
{
	const struct plain *src = (const struct plain *)m;
	struct pollfd pfd = { .fd = src->fd, .events = 0 };
	return !m->inside && poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR));
}

struct msgsrc *msgsrc_new(struct loop *loop, int fd, const struct msgsrc_user *user, void *arg)
{
	struct plain *src = calloc(1, sizeof(*src));
	if (!src)
		return NULL;
	src->frame = vu_frame_new();
	src->watch = src->frame && fd_set_nonblock(fd, true) == 0 ? watch_new(loop, fd, LOOP_READ, on_ready, src) : NULL;
	src->fd = -1;
	if (!src->watch) {
		release(&src->base);
		return NULL;
	}
	src->fd = fd;
	src->base = (struct msgsrc){ .free = release, .hung_up = hung_up, .user = user, .arg = arg };
	return &src->base;
}

void msgsrc_free(struct msgsrc *src)
{
	if (!src)
		return;
	if (src->inside)
		src->dead = true;
	else
		src->free(src);
}

bool msgsrc_waits(const struct msgsrc *src)
{
	return src->waits;
}

bool msgsrc_hung_up(const struct msgsrc *src)
{
	return src->hung_up && src->hung_up(src);
}
