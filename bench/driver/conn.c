#include "driver/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

static uint64_t conn_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int conn_address(struct sockaddr_un *sa, const char *path)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sa->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa->sun_path, path, strlen(path));
	return 0;
}

int conn_connect(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un sa;
	if (conn_address(&sa, path) != 0)
		return -1;
	uint64_t end = conn_now_ms() + timeout_ms;
	for (;;) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -1;
		if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
			return fd;
		fd_reset(&fd);
		if ((errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) || conn_now_ms() >= end)
			return -1;
		struct timespec nap = {.tv_nsec = 2000000};
		nanosleep(&nap, NULL);
	}
}

int conn_listen(const char *path)
{
	struct sockaddr_un sa;
	if (conn_address(&sa, path) != 0)
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	unlink(path);
	if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 8) != 0)
		fd_reset(&fd);
	return fd;
}

int conn_accept(int listener, unsigned timeout_ms)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	if (poll(&p, 1, (int)timeout_ms) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

bool conn_send(int sock, const void *bytes, size_t n, const int *fds, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(CONN_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	const uint8_t *at = bytes;
	bool first = true;
	if (n_fds > CONN_MAX_FDS) {
		errno = EINVAL;
		return false;
	}
	while (n > 0) {
		uint8_t *base = (uint8_t *)(uintptr_t)at;
		struct iovec iov = {.iov_base = base, .iov_len = n};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
		if (first && n_fds > 0) {
			memset(&control, 0, sizeof(control));
			mh.msg_control = control.buf;
			mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
			struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
			memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
		}
		ssize_t done = sendmsg(sock, &mh, MSG_NOSIGNAL);
		if (done < 0) {
			if (errno == EINTR)
				continue;
			return false;
		}
		first = false;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

bool conn_send_msg(int sock, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
	uint8_t bytes[sizeof(struct vu_hdr) + VU_MAX_PAYLOAD];
	struct vu_hdr h = {.request = id, .flags = flags, .size = size};
	if (size > VU_MAX_PAYLOAD) {
		errno = EMSGSIZE;
		return false;
	}
	memcpy(bytes, &h, sizeof(h));
	if (size > 0)
		memcpy(bytes + sizeof(h), payload, size);
	return conn_send(sock, bytes, sizeof(h) + size, fds, n_fds);
}

static void conn_take_fds(struct msghdr *mh, struct conn_msg *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (msg->n_fds < VU_MAX_FDS)
				msg->fds[msg->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

// Exactly n bytes, or why not.
static enum conn_got conn_read(int sock, uint8_t *to, size_t n, struct conn_msg *msg, uint64_t end)
{
	while (n > 0) {
		uint64_t now = conn_now_ms();
		struct pollfd p = {.fd = sock, .events = POLLIN};
		if (poll(&p, 1, end > now ? (int)(end - now) : 0) == 0)
			return CONN_TIMEOUT;
		union {
			char buf[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {.iov_base = to, .iov_len = n};
		struct msghdr mh = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
		ssize_t got = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got == 0)
			return CONN_CLOSED;
		if (got < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return CONN_CLOSED;
		}
		conn_take_fds(&mh, msg);
		to += got;
		n -= (size_t)got;
	}
	return CONN_MSG;
}

enum conn_got conn_recv(int sock, struct conn_msg *msg, unsigned timeout_ms)
{
	uint64_t end = conn_now_ms() + timeout_ms;
	uint8_t raw[sizeof(struct vu_hdr)];
	msg->n_fds = 0;
	enum conn_got got = conn_read(sock, raw, sizeof(raw), msg, end);
	if (got == CONN_MSG) {
		memcpy(&msg->hdr, raw, sizeof(raw));
		if (msg->hdr.size > VU_MAX_PAYLOAD)
			got = CONN_JUNK;
		else
			got = conn_read(sock, msg->payload, msg->hdr.size, msg, end);
	}
	if (got != CONN_MSG)
		conn_msg_close_fds(msg);
	return got;
}

void conn_msg_close_fds(struct conn_msg *msg)
{
	fd_reset_all(msg->fds, msg->n_fds);
	msg->n_fds = 0;
}

const char *conn_got_name(enum conn_got got)
{
	static const char *const names[] = {
		[CONN_MSG] = "message", [CONN_CLOSED] = "closed", [CONN_TIMEOUT] = "silence", [CONN_JUNK] = "junk"};
	return (size_t)got < sizeof(names) / sizeof(names[0]) ? names[got] : "?";
}
