#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/prio.h"

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
	return OK;
}

static void take(struct child *c)
{
	for (;;) {
		if (c->n > CHILD_TEXT / 2 + CHILD_TEXT / 4) { // the older half goes
			memmove(c->text, c->text + CHILD_TEXT / 2, c->n - CHILD_TEXT / 2);
			c->n -= CHILD_TEXT / 2;
		}
		ssize_t got = c->tty < 0 ? 0 : read(c->tty, c->text + c->n, CHILD_TEXT - 1 - c->n);
		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got; i++)
			if (c->text[c->n + (size_t)i] == '\0')
				c->text[c->n + (size_t)i] = ' ';
		c->n += (size_t)got;
	}
	c->text[c->n] = '\0';
}

bool child_alive(struct child *c)
{
	take(c);
	if (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid) {
		c->pid = 0;
		take(c);
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
		struct pollfd p = { .fd = c->tty, .events = POLLIN };
		poll(&p, 1, 10);
	}
}

void child_pause(struct child *c, bool stop)
{
	if (c->pid > 0 && c->stopped != stop)
		kill(-c->pid, stop ? SIGSTOP : SIGCONT); // its group: a shell's children, too
	c->stopped = stop;
}

void child_kill(struct child *c)
{
	if (c->pid > 0) {
		kill(-c->pid, SIGKILL);
		waitpid(c->pid, &c->status, 0);
	}
	c->pid = 0;
	take(c);
	if (c->tty >= 0)
		close(c->tty);
	c->tty = -1;
}

void child_end(struct child *c, unsigned grace_ms)
{
	uint64_t end = clock_boot_us() + grace_ms * UINT64_C(1000);
	if (c->pid > 0) {
		child_pause(c, false);
		kill(-c->pid, SIGTERM);
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
