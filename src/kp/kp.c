#include "kp/kp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * KP_MAX_FDS)];
};

enum err kp_send(int sock, const struct kp_head *head, const void *body, const int *fds, bool wait, struct why *why)
{
	union control control;
	uint8_t packet[sizeof(*head) + KP_MAX_BODY];
	struct kp_head h = *head;
	if (h.len > KP_MAX_BODY || h.n_fds > KP_MAX_FDS)
		return ours(why, "a packet of %u bytes and %u descriptors", h.len, h.n_fds);
	struct iovec iov = { packet, sizeof(h) + h.len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	memcpy(packet, &h, sizeof(h));
	if (h.len)
		memcpy(packet + sizeof(h), body, h.len);
	if (h.n_fds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * h.n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * h.n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * h.n_fds);
	}
	ssize_t n;
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return OK;
	// too many descriptors in flight: they are taken out in a moment
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS)
		return AGAIN;
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return desync(why, "the other side is gone");
	return ours(why, "sending to the other side: %s", strerror(errno));
}

enum err kp_recv(int sock, struct kp_packet *p, bool wait, struct why *why)
{
	union control control;
	struct iovec iov[2] = { { &p->head, sizeof(p->head) }, { p->body, KP_MAX_BODY } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
	for (unsigned i = 0; i < KP_MAX_FDS; i++)
		p->fds[i] = -1;
	ssize_t n;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return AGAIN;
	if (n <= 0)
		return desync(why, "the other side is gone");
	unsigned got = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			got = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(p->fds, CMSG_DATA(c), got * sizeof(int)); // there was no room for more than KP_MAX_FDS
		}
	p->fds_lost = (msg.msg_flags & MSG_CTRUNC) != 0;
	if ((size_t)n < sizeof(p->head) || (msg.msg_flags & MSG_TRUNC) || p->head.len != (size_t)n - sizeof(p->head) ||
	    (p->head.n_fds != got && !p->fds_lost)) {
		kp_drop(p);
		return desync(why, "a packet that is none of ours");
	}
	p->body[p->head.len] = '\0';
	return OK;
}

enum err kp_tell(int sock, uint16_t type, uint8_t flags, const char *text, int fd, struct why *why)
{
	struct kp_head h = { .type = type, .flags = flags, .n_fds = fd >= 0, .len = (uint32_t)strlen(text) };
	return kp_send(sock, &h, text, &fd, false, why);
}

void kp_drop(struct kp_packet *p)
{
	fd_reset_all(p->fds, KP_MAX_FDS);
}
