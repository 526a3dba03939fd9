#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"
#include "bench/prio.h"

struct text { // the latest of what came, ended by 0
	size_t n;
	char s[CHILD_TEXT];
};

struct reader {
	pthread_t id;
	int tty, stop; // stop: an eventfd
	pthread_mutex_t lock;
	struct text text; // not taken yet
};

// The older half goes where there is no room.
static void append(char *text, size_t *n, const char *s, size_t len)
{
	if (*n + len > CHILD_TEXT - 1) {
		size_t keep = *n < CHILD_TEXT / 2 ? *n : CHILD_TEXT / 2;
		if (keep + len > CHILD_TEXT - 1)
			keep = CHILD_TEXT - 1 - len;
		memmove(text, text + *n - keep, keep);
		*n = keep;
	}
	for (size_t i = 0; i < len; i++)
		text[*n + i] = s[i] == '\0' ? ' ' : s[i];
	*n += len;
	text[*n] = '\0';
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	struct pollfd p[2] = { { .fd = r->tty, .events = POLLIN }, { .fd = r->stop, .events = POLLIN } };
	char some[4096];
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		ssize_t got = read(r->tty, some, sizeof(some));
		if (got > 0) {
			pthread_mutex_lock(&r->lock);
			append(r->text.s, &r->text.n, some, (size_t)got);
			pthread_mutex_unlock(&r->lock);
		} else if (p[1].revents || (p[0].revents & (POLLHUP | POLLERR))) {
			break; // stopped, or the child has ended, and nothing is left
		}
	}
	return NULL;
}

static struct reader *reader_start(int tty)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->tty = tty;
	r->stop = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&r->lock, NULL);
	if (r->stop >= 0 && pthread_create(&r->id, NULL, reader_main, r) == 0)
		return r;
	if (r->stop >= 0)
		close(r->stop);
	free(r);
	return NULL;
}

static void exec_in_child(char *const argv[], int tty, int report, const int *cpus, unsigned n_cpus, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	cpu_set_t set;
	CPU_ZERO(&set);
	for (unsigned i = 0; i < n_cpus; i++)
		CPU_SET((size_t)cpus[i], &set);
	if (n_cpus)
		sched_setaffinity(0, sizeof(set), &set);
	signal(SIGPIPE, SIG_DFL);
	setsid(); // a group of its own
	prio_own_session();
	if (getppid() == parent && dup2(tty, 0) >= 0 && dup2(tty, 1) >= 0 && dup2(tty, 2) >= 0)
		execvp(argv[0], argv);
	int e = errno;
	if (write(report, &e, sizeof(e)) < 0)
		_exit(126);
	_exit(127);
}

enum err child_start(struct child *c, char *const argv[], const int *cpus, unsigned n_cpus, struct why *why)
{
	int ours_fd, theirs, report[2];
	*c = (struct child){ .tty = -1 };
	struct termios raw;
	memset(&raw, 0, sizeof(raw));
	cfmakeraw(&raw);
	struct winsize wide = { .ws_row = 50, .ws_col = 250 };
	if (openpty(&ours_fd, &theirs, NULL, &raw, &wide) != 0)
		return ours(why, "no pseudo-terminal: %s", strerror(errno));
	fcntl(ours_fd, F_SETFD, FD_CLOEXEC);
	fcntl(theirs, F_SETFD, FD_CLOEXEC);
	fcntl(ours_fd, F_SETFL, O_NONBLOCK);
	if (pipe2(report, O_CLOEXEC) != 0) {
		close(ours_fd);
		close(theirs);
		return ours(why, "pipe: %s", strerror(errno));
	}
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		exec_in_child(argv, theirs, report[1], cpus, n_cpus, parent);
	close(theirs);
	close(report[1]);
	int e = 0;
	if (pid > 0 && read(report[0], &e, sizeof(e)) == (ssize_t)sizeof(e))
		waitpid(pid, NULL, 0);
	else if (pid < 0)
		e = errno;
	close(report[0]);
	if (e) {
		close(ours_fd);
		return ours(why, "%s cannot be started: %s", argv[0], strerror(e));
	}
	c->pid = pid;
	c->tty = ours_fd;
	c->reader = reader_start(ours_fd);
	if (c->reader)
		return OK;
	child_kill(c);
	return ours(why, "no thread for %s", argv[0]);
}

static void take(struct child *c)
{
	struct reader *r = c->reader;
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	append(c->text, &c->n, r->text.s, r->text.n);
	r->text.n = 0;
	pthread_mutex_unlock(&r->lock);
}

// The child has ended: what it said last, and nobody reads any more.
static void take_last(struct child *c)
{
	struct reader *r = c->reader;
	uint64_t one = 1;
	if (!r || write(r->stop, &one, sizeof(one)) < 0)
		return;
	pthread_join(r->id, NULL);
	take(c);
	close(r->stop);
	pthread_mutex_destroy(&r->lock);
	free(r);
	c->reader = NULL;
}

bool child_alive(struct child *c)
{
	take(c);
	if (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid) {
		c->pid = 0;
		take_last(c);
	}
	return c->pid > 0;
}

void child_forget(struct child *c)
{
	take(c);
	c->n = 0;
	c->text[0] = '\0';
}

bool child_tell(struct child *c, const char *line)
{
	char text[300];
	int n = snprintf(text, sizeof(text), "%s\n", line);
	return c->tty >= 0 && write(c->tty, text, (size_t)n) == n;
}

const char *child_wait(struct child *c, const char *sign, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	for (;;) {
		bool alive = child_alive(c);
		const char *at = strstr(c->text, sign);
		if (at || !alive || clock_boot_us() >= end)
			return at;
		usleep(1000);
	}
}

void child_pause(struct child *c, bool stop)
{
	if (c->pid > 0 && c->stopped != stop)
		kill_group(c->pid, stop ? SIGSTOP : SIGCONT); // its group: a shell's children, too
	c->stopped = stop;
}

void child_kill(struct child *c)
{
	if (c->pid > 0) {
		kill_group(c->pid, SIGKILL);
		waitpid(c->pid, &c->status, 0);
	}
	c->pid = 0;
	take_last(c);
	if (c->tty >= 0)
		close(c->tty);
	c->tty = -1;
}

void child_end(struct child *c, unsigned grace_ms)
{
	uint64_t end = clock_boot_us() + grace_ms * UINT64_C(1000);
	if (c->pid > 0) {
		child_pause(c, false);
		kill_group(c->pid, SIGTERM);
	}
	while (child_alive(c) && clock_boot_us() < end)
		usleep(5000);
	child_kill(c);
}

const char *child_last_line(const struct child *c, char *buf, size_t size)
{
	buf[0] = '\0';
	const char *from = c->text;
	while (*from) {
		size_t len = strcspn(from, "\r\n");
		if (len && strspn(from, " \t") < len)
			snprintf(buf, size, "%.*s", (int)(len < 150 ? len : 150), from);
		from += len;
		from += strspn(from, "\r\n");
	}
	return buf;
}
