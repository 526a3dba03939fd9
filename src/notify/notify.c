#include "notify/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define ROOM_MS 1000
#define TEXT_MAX 512

static const char *where(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	return path && (path[0] == '/' || path[0] == '@') && path[1] && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path) ? path : NULL;
}

bool notify_wanted(void)
{
	return where() != NULL;
}

// One socket for the life of the process; the manager knows us by the credentials of each datagram.
static int out(void)
{
	static int sock = -1;
	if (sock < 0)
		sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return sock;
}

enum err notify_send(const char *text, const int *fds, unsigned n_fds, struct why *why)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * NOTIFY_MAX_FDS)];
	} control;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = where();
	if (!path)
		return OK;
	if (n_fds > NOTIFY_MAX_FDS || out() < 0)
		return ours(why, "the service manager: %s", n_fds > NOTIFY_MAX_FDS ? "too many descriptors" : strerror(errno));
	size_t len = strlen(path);
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; // an abstract one
	char words[TEXT_MAX];
	struct iovec iov = { words, (size_t)snprintf(words, sizeof(words), "%s", text) };
	if (iov.iov_len >= sizeof(words))
		return ours(why, "the service manager: a text of %zu bytes", iov.iov_len);
	struct msghdr msg = { .msg_name = &to, .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len),
			      .msg_iov = &iov, .msg_iovlen = 1 };
	if (n_fds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	for (unsigned waited = 0;;) {
		if (sendmsg(out(), &msg, MSG_NOSIGNAL) >= 0)
			return OK;
		if (errno == EINTR)
			continue;
		if ((errno != EAGAIN && errno != ENOBUFS && errno != ETOOMANYREFS) || waited >= ROOM_MS)
			return ours(why, "telling the service manager: %s", strerror(errno));
		waited += 5;
		poll(NULL, 0, 5); // a socket that is not connected is always ready: time alone helps
	}
}

void notify_say(const char *text)
{
	struct why why;
	if (notify_send(text, NULL, 0, &why) != OK)
		log_warn("%s", why.text);
}

enum err notify_barrier(unsigned timeout_ms, struct why *why)
{
	int end[2];
	if (!notify_wanted())
		return OK;
	if (pipe2(end, O_CLOEXEC) != 0)
		return ours(why, "the service manager: %s", strerror(errno));
	enum err e = notify_send("BARRIER=1", &end[1], 1, why);
	fd_reset(&end[1]);
	struct pollfd p = { .fd = end[0], .events = 0 };
	if (e == OK && poll(&p, 1, (int)timeout_ms) != 1) // it closes its end when it comes to it
		e = ours(why, "the service manager did not handle what was sent within %u ms", timeout_ms);
	fd_reset(&end[0]);
	return e;
}

// A number in the environment; 0: none.
static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	return text ? strtoull(text, NULL, 10) : 0;
}

uint64_t notify_watchdog_us(void)
{
	uint64_t pid = number("WATCHDOG_PID");
	return pid == 0 || pid == (uint64_t)getpid() ? number("WATCHDOG_USEC") : 0;
}

static uint64_t beat_us;

uint64_t notify_beat_due(void)
{
	uint64_t every = notify_watchdog_us();
	return every ? beat_us + every / 2 : 0;
}

void notify_beat(uint64_t now_us)
{
	uint64_t due = notify_beat_due();
	if (due == 0 || now_us < due)
		return;
	beat_us = now_us;
	notify_say("WATCHDOG=1");
}

unsigned notify_fds(void)
{
	return number("LISTEN_PID") == (uint64_t)getpid() ? (unsigned)number("LISTEN_FDS") : 0;
}

void notify_each(notify_each_fn *fn, void *arg)
{
	const char *at = getenv("LISTEN_FDNAMES");
	for (int i = 0; at && i < (int)notify_fds(); i++) {
		size_t n = strcspn(at, ":");
		fn(arg, at, (unsigned)n, NOTIFY_FIRST_FD + i);
		at = at[n] ? at + n + 1 : NULL;
	}
}

struct unstore {
	const char *prefix;
	enum err e;
	struct why *why;
};

static void unstore_one(void *arg, const char *name, unsigned len, int fd)
{
	struct unstore *u = arg;
	char text[TEXT_MAX];
	size_t prefix = strlen(u->prefix);
	(void)fd;
	if (u->e != OK || len < prefix || len >= 256 || strncmp(name, u->prefix, prefix) != 0)
		return;
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%.*s", (int)len, name);
	u->e = notify_send(text, NULL, 0, u->why);
}

enum err notify_unstore(const char *prefix, struct why *why)
{
	struct unstore u = { .prefix = prefix, .e = OK, .why = why };
	notify_each(unstore_one, &u);
	return u.e;
}

void notify_forget(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}
