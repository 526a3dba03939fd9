#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/daemon.h"

#define MAX 1024
#define FIRST 3

static struct {
	int sock;
	char path[108];
	uint64_t watchdog_us;
	pthread_t thread;
	pthread_mutex_t lock;
	struct {
		char name[64];
		int fd;
	} kept[MAX];
	unsigned n, room;
	bool tells_room;
	_Atomic bool ready, stopping, over;
	_Atomic pid_t main_pid;
	_Atomic unsigned beats;
	const char *_Atomic wrong;
} m = {.sock = -1, .room = MAX, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *value(const char *text, const char *key, char *out, size_t room)
{
	size_t len = strlen(key);
	for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, key, len) == 0 && line[len] == '=') {
			snprintf(out, room, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
			return out;
		}
	return NULL;
}

static void forget(const char *name)
{
	for (unsigned i = 0; i < m.n;)
		if (strcmp(m.kept[i].name, name) == 0) {
			close(m.kept[i].fd);
			m.n--;
			memmove(&m.kept[i], &m.kept[i + 1], (m.n - i) * sizeof(m.kept[0]));
		} else {
			i++;
		}
}

// As systemd does: an open file once, as many as there is room for, and the last one comes first. What is not kept nobody is told of.
static void keep(const char *name, int *fd)
{
	for (unsigned i = 0; i < m.n; i++)
		if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, m.kept[i].fd, *fd) == 0)
			return;
	if (m.n >= m.room)
		return;
	memmove(&m.kept[1], &m.kept[0], m.n++ * sizeof(m.kept[0]));
	snprintf(m.kept[0].name, sizeof(m.kept[0].name), "%s", name);
	m.kept[0].fd = *fd;
	*fd = -1;
}

static void hear(const char *text, int *fds, unsigned n_fds)
{
	char name[64] = "", word[64];
	value(text, "FDNAME", name, sizeof(name));
	if (value(text, "FDSTORE", word, sizeof(word)) != NULL) {
		if (name[0] == '\0' || strchr(name, ':') != NULL || n_fds == 0 || strstr(text, "FDPOLL=0") == NULL)
			m.wrong = "FDSTORE without a name, a descriptor or FDPOLL=0";
		for (unsigned i = 0; i < n_fds; i++)
			keep(name, &fds[i]);
	} else if (value(text, "FDSTOREREMOVE", word, sizeof(word)) != NULL) {
		forget(name);
	} else if (value(text, "READY", word, sizeof(word)) != NULL) {
		m.ready = true;
	} else if (value(text, "STOPPING", word, sizeof(word)) != NULL) {
		m.stopping = true;
	} else if (value(text, "WATCHDOG", word, sizeof(word)) != NULL) {
		m.beats++;
	} else if (value(text, "BARRIER", word, sizeof(word)) == NULL) {
		m.wrong = "a datagram that means nothing";
	} else if (n_fds != 1) {
		m.wrong = "BARRIER without its descriptor";
	}
	if (value(text, "MAINPID", word, sizeof(word)) != NULL)
		m.main_pid = (pid_t)atoi(word);
}

static void *listener(void *arg)
{
	(void)arg;
	while (!m.over) {
		char text[512];
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int) * 32)];
		} control;
		struct iovec iov = {text, sizeof(text) - 1};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
		int fds[32];
		unsigned n_fds = 0;
		ssize_t n = recvmsg(m.sock, &msg, MSG_CMSG_CLOEXEC);
		if (n < 0)
			continue; // a time-out: look whether it is over
		text[n] = '\0';
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
				n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
				memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
			}
		pthread_mutex_lock(&m.lock);
		hear(text, fds, n_fds);
		pthread_mutex_unlock(&m.lock);
		for (unsigned i = 0; i < n_fds; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
	return NULL;
}

// Between fork and exec, of a process with threads: setenv takes its chance, as tests may.
static void in_child(void)
{
	static char names[MAX * 66];
	static int high[MAX];
	char text[32];
	size_t at = 0;
	setenv("NOTIFY_SOCKET", m.path, 1);
	if (m.watchdog_us != 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)m.watchdog_us);
		setenv("WATCHDOG_USEC", text, 1);
	}
	if (m.tells_room) {
		snprintf(text, sizeof(text), "%u", m.room);
		setenv("FDSTORE", text, 1);
	}
	if (m.n == 0)
		return;
	for (unsigned i = 0; i < m.n; i++) {
		high[i] = fcntl(m.kept[i].fd, F_DUPFD, FIRST + MAX);
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ":" : "", m.kept[i].name);
	}
	for (unsigned i = 0; i < m.n; i++) {
		dup2(high[i], (int)(FIRST + i));
		close(high[i]);
	}
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%u", m.n);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

bool manager_start(bool abstract, uint64_t watchdog_us)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval look = {.tv_usec = 50000};
	snprintf(m.path, sizeof(m.path), "%svringd-test-manager-%d", abstract ? "@" : "/tmp/", (int)getpid());
	memcpy(sa.sun_path, m.path, strlen(m.path));
	if (abstract)
		sa.sun_path[0] = '\0';
	m.watchdog_us = watchdog_us;
	m.sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!abstract)
		unlink(m.path);
	if (m.sock < 0 || bind(m.sock, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m.path))) != 0 ||
	    setsockopt(m.sock, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look)) != 0)
		return false;
	daemon_in_child = in_child;
	return pthread_create(&m.thread, NULL, listener, NULL) == 0;
}

void manager_stop(void)
{
	m.over = true;
	pthread_join(m.thread, NULL);
	close(m.sock);
	if (m.path[0] == '/')
		unlink(m.path);
	for (unsigned i = 0; i < m.n; i++)
		close(m.kept[i].fd);
	daemon_in_child = NULL;
}

unsigned manager_kept(void)
{
	pthread_mutex_lock(&m.lock);
	unsigned n = m.n;
	pthread_mutex_unlock(&m.lock);
	return n;
}

void manager_lose(bool image)
{
	pthread_mutex_lock(&m.lock);
	for (unsigned i = 0; i < m.n;)
		if ((strstr(m.kept[i].name, "-image") != NULL) == image) {
			close(m.kept[i].fd);
			m.kept[i] = m.kept[--m.n];
		} else {
			i++;
		}
	pthread_mutex_unlock(&m.lock);
}

void manager_room(unsigned n, bool told)
{
	m.room = n < MAX ? n : MAX;
	m.tells_room = told;
}

void manager_again(void)
{
	m.ready = m.stopping = false;
}

bool manager_await_ready(unsigned timeout_ms)
{
	for (unsigned i = 0; i < timeout_ms && !m.ready; i++)
		daemon_nap(1);
	return m.ready;
}

pid_t manager_main_pid(void)
{
	return m.main_pid;
}

unsigned manager_beats(void)
{
	return m.beats;
}

bool manager_stopping(void)
{
	return m.stopping;
}

const char *manager_wrong(void)
{
	return m.wrong;
}
