#include "wire/vu_frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"
#include "wire/vu_table.h"

void vu_frame_init(struct vu_frame *f)
{
	f->have = f->n_fds = f->out_len = f->out_at = 0;
	f->eof = false;
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		f->fds[i] = -1;
}

void vu_frame_drop(struct vu_frame *f)
{
	fd_reset_all(f->fds, VU_MAX_FDS);
	f->n_fds = 0;
}

struct vu_frame *vu_frame_new(void)
{
	struct vu_frame *f = calloc(1, sizeof(*f));
	if (f)
		vu_frame_init(f);
	return f;
}

void vu_frame_free(struct vu_frame *f)
{
	if (!f)
		return;
	vu_frame_drop(f);
	free(f);
}

static void take_fds(struct vu_frame *f, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (f->n_fds < VU_MAX_FDS)
				f->fds[f->n_fds++] = fd;
			else
				fd_reset(&fd);
		}
	}
}

// Bytes read, 0 at the end of the stream, -1 with errno. Only the read of byte 0 asks for descriptors.
static ssize_t read_some(struct vu_frame *f, int fd, void *to, size_t len, bool *truncated)
{
	if (f->have != 0)
		return recv(fd, to, len, MSG_DONTWAIT);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n >= 0) {
		take_fds(f, &msg);
		*truncated = (msg.msg_flags & MSG_CTRUNC) != 0;
	}
	return n;
}

static enum err read_failed(struct vu_frame *f, ssize_t n, struct why *why)
{
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return AGAIN;
	if (n < 0 && errno != ECONNRESET)
		return ours(why, "reading from the front end: %s", strerror(errno));
	f->eof = f->have == 0;
	if (f->eof)
		return desync(why, "the front end closed the connection");
	return desync(why, "the front end closed the connection inside a message");
}

static void hand_over(struct vu_frame *f, struct vu_in *in)
{
	in->hdr = f->head.hdr;
	in->payload = f->payload;
	in->n_fds = f->n_fds;
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		in->fds[i] = fd_take(&f->fds[i]);
	f->n_fds = 0;
	f->have = 0;
}

enum err vu_frame_recv(struct vu_frame *f, int fd, struct vu_in *in, struct why *why)
{
	const uint32_t head = sizeof(f->head);
	for (;;) {
		uint8_t *to = f->have < head ? f->head.bytes + f->have : f->payload + (f->have - head);
		size_t left = f->have < head ? head - f->have : (size_t)head + f->head.hdr.size - f->have;
		bool truncated = false;
		ssize_t n = read_some(f, fd, to, left, &truncated);
		if (n < 0 && errno == EINTR)
			continue;
		if (truncated) {
			fd_reset_all(f->fds, VU_MAX_FDS);
			return desync(why, "%s: file descriptors were lost on the way: over %u, or our limit of open files",
				      f->have + (n > 0 ? (uint32_t)n : 0) >= head ? vu_name(f->head.hdr.request) : "a message", VU_MAX_FDS);
		}
		if (n <= 0)
			return read_failed(f, n, why);
		f->have += (uint32_t)n;
		if (f->have < head)
			continue;
		if (f->head.hdr.size > VU_MAX_PAYLOAD)
			return desync(why, "%s: payload of %u bytes is over %u", vu_name(f->head.hdr.request), (unsigned)f->head.hdr.size,
				      VU_MAX_PAYLOAD);
		if (f->have == head + f->head.hdr.size) {
			hand_over(f, in);
			return OK;
		}
	}
}

bool vu_frame_eof(const struct vu_frame *f)
{
	return f->eof;
}

enum err vu_frame_send(struct vu_frame *f, int fd, const uint8_t *bytes, uint32_t len, struct why *why)
{
	if (vu_frame_pending(f) || len > sizeof(f->out))
		return ours(why, "a reply is pending already, or is longer than %zu bytes", sizeof(f->out));
	memcpy(f->out, bytes, len);
	f->out_len = len;
	f->out_at = 0;
	return vu_frame_flush(f, fd, why);
}

enum err vu_frame_flush(struct vu_frame *f, int fd, struct why *why)
{
	while (f->out_at < f->out_len) {
		ssize_t n = send(fd, f->out + f->out_at, f->out_len - f->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return AGAIN;
		if (n < 0)
			return desync(why, "sending a reply: %s", strerror(errno));
		f->out_at += (uint32_t)n;
	}
	f->out_len = f->out_at = 0;
	return OK;
}

bool vu_frame_pending(const struct vu_frame *f)
{
	return f->out_at < f->out_len;
}
