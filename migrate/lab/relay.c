#include "lab/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/progress.h"
#include "wire/vu_frame.h"

#define LINES 4 // two front ends of a port, and those that are about to leave

struct line {
	int front, back; // -1: none
	unsigned number;
	struct vu_frame frame;
};

struct relay {
	pthread_t thread;
	int listener, stop;
	char to[108];
	relay_fn *fn;
	void *arg;
	unsigned lines;
	struct line line[LINES];
};

static void hang_up(struct line *l)
{
	fd_reset(&l->front);
	fd_reset(&l->back);
	vu_frame_drop(&l->frame);
	vu_frame_init(&l->frame);
}

static bool address(struct sockaddr_un *sa, const char *path)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa->sun_path))
		return false;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return true;
}

static void pick_up(struct relay *r)
{
	struct sockaddr_un sa;
	struct line *l = r->line;
	while (l < r->line + LINES && l->front >= 0)
		l++;
	int front = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC), back = -1;
	if (l < r->line + LINES && front >= 0)
		back = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (back < 0 || !address(&sa, r->to) || connect(back, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		fd_reset(&front); // it sees what it would have seen there: a connection that does not last
		fd_reset(&back);
		return;
	}
	l->front = front;
	l->back = back;
	l->number = ++r->lines;
}

// All of it, descriptors with the first byte. They stay the caller's.
static bool pass(int to, const void *bytes, size_t n, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
	} control;
	const char *at = bytes;
	while (n) {
		struct iovec iov = { .iov_base = (void *)(uintptr_t)at, .iov_len = n };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (n_fds) {
			memset(&control, 0, sizeof(control));
			m.msg_control = control.bytes;
			m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
			control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int)) };
			memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
		}
		ssize_t done = sendmsg(to, &m, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		n_fds = 0;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

static bool forward(struct relay *r, struct line *l)
{
	struct vu_in in;
	struct why why;
	enum err e = vu_frame_recv(&l->frame, l->front, &in, &why);
	if (e != OK)
		return e == AGAIN;
	r->fn(r->arg, r, l->number, &in.hdr, in.payload);
	uint8_t message[sizeof(in.hdr) + VU_MAX_PAYLOAD];
	memcpy(message, &in.hdr, sizeof(in.hdr));
	memcpy(message + sizeof(in.hdr), in.payload, in.hdr.size);
	bool ok = pass(l->back, message, sizeof(in.hdr) + in.hdr.size, in.fds, in.n_fds);
	fd_reset_all(in.fds, VU_MAX_FDS);
	return ok;
}

// Replies carry no descriptors that a network card's front end asks for.
static bool answer(struct line *l)
{
	uint8_t bytes[4096];
	ssize_t n = recv(l->back, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	return n > 0 && pass(l->front, bytes, (size_t)n, NULL, 0);
}

static void *relay_run(void *arg)
{
	struct relay *r = arg;
	for (;;) {
		struct pollfd p[2 + 2 * LINES] = { { .fd = r->stop, .events = POLLIN }, { .fd = r->listener, .events = POLLIN } };
		for (unsigned i = 0; i < LINES; i++) {
			p[2 + 2 * i] = (struct pollfd){ .fd = r->line[i].front, .events = POLLIN };
			p[3 + 2 * i] = (struct pollfd){ .fd = r->line[i].back, .events = POLLIN };
		}
		if (poll(p, 2 + 2 * LINES, -1) < 0)
			continue;
		if (p[0].revents)
			return NULL;
		for (unsigned i = 0; i < LINES; i++) {
			struct line *l = &r->line[i];
			if (l->front < 0)
				continue;
			if ((p[3 + 2 * i].revents && !answer(l)) || (p[2 + 2 * i].revents && !forward(r, l)))
				hang_up(l);
		}
		if (p[1].revents)
			pick_up(r);
	}
}

enum err relay_open(struct relay **out, const char *path, const char *to, relay_fn *fn, void *arg, struct why *why)
{
	struct sockaddr_un sa;
	struct relay *r = calloc(1, sizeof(*r));
	*out = r;
	if (!r)
		return ours(why, "no memory");
	*r = (struct relay){ .listener = -1, .stop = -1, .fn = fn, .arg = arg };
	for (unsigned i = 0; i < LINES; i++) {
		r->line[i].front = r->line[i].back = -1;
		vu_frame_init(&r->line[i].frame);
	}
	enum err e = OK;
	if (!address(&sa, to) || !address(&sa, path))
		e = ours(why, "%s: a socket's path has at most %zu bytes", path, sizeof(sa.sun_path) - 1);
	strncpy(r->to, to, sizeof(r->to) - 1);
	r->stop = eventfd(0, EFD_CLOEXEC);
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (e == OK && (r->stop < 0 || r->listener < 0 || bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(r->listener, 4) != 0))
		e = ours(why, "%s: %s", path, strerror(errno));
	if (e == OK && (errno = pthread_create(&r->thread, NULL, relay_run, r)) != 0)
		e = ours(why, "no thread: %s", strerror(errno));
	if (e == OK)
		return OK;
	fd_reset(&r->stop);
	fd_reset(&r->listener);
	free(r);
	*out = NULL;
	return e;
}

void relay_close(struct relay *r)
{
	uint64_t one = 1;
	if (!r)
		return;
	if (write(r->stop, &one, sizeof(one)) < 0)
		complain("the relay cannot be told to end: %s", strerror(errno));
	pthread_join(r->thread, NULL);
	for (unsigned i = 0; i < LINES; i++)
		hang_up(&r->line[i]);
	fd_reset(&r->stop);
	fd_reset(&r->listener);
	free(r);
}
