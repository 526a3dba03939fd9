#include "lab/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/kill.h"

static volatile sig_atomic_t caught;

static void on_interrupt(int sig)
{
	caught = sig;
}

void interrupt_catch(void)
{
	struct sigaction sa = { .sa_handler = on_interrupt };
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool interrupted(void)
{
	return caught != 0;
}

void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	while (nanosleep(&ts, &ts) < 0 && errno == EINTR && !interrupted())
		;
}

enum err folder_make(const char *path, struct why *why)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? OK : ours(why, "%s: %s", path, strerror(errno));
}

// What is measured are gaps of milliseconds: where we may, our children go before whatever else this machine does. In a session of
// its own a child is a group of its own to a scheduler that groups by session, and the group has a priority, too.
static void go_first(int nice)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", nice);
	setsid(); // and the terminal's ^C is for vringlab, which then ends its children in order
	setpriority(PRIO_PROCESS, 0, nice);
	int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t told = write(fd, text, (size_t)n); // without the right to it: as it was
		(void)told;
		close(fd);
	}
}

// The child: from fork to exec. An error goes up the pipe, which exec closes.
static void child_run(char *const argv[], int nice, const char *log, int report, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	go_first(nice);
	int in = open("/dev/null", O_RDONLY);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (getppid() == parent && in >= 0 && out >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0)
		execvp(argv[0], argv);
	int e = errno;
	if (write(report, &e, sizeof(e)) < 0)
		_exit(126);
	_exit(127);
}

enum err proc_start(struct proc *p, const char *name, char *const argv[], int nice, const char *log, struct why *why)
{
	int report[2];
	*p = (struct proc){ 0 };
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->log, sizeof(p->log), "%s", log);
	if (pipe2(report, O_CLOEXEC) < 0)
		return ours(why, "pipe: %s", strerror(errno));
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		child_run(argv, nice, log, report[1], parent);
	close(report[1]);
	int e = 0;
	if (pid > 0 && read(report[0], &e, sizeof(e)) == sizeof(e)) {
		waitpid(pid, NULL, 0);
		pid = -1;
	} else if (pid < 0) {
		e = errno;
	}
	close(report[0]);
	if (pid < 0)
		return ours(why, "%s: %s cannot be started: %s", name, argv[0], strerror(e));
	p->pid = pid;
	return OK;
}

bool proc_running(struct proc *p)
{
	if (p->pid <= 0)
		return false;
	if (waitpid(p->pid, &p->status, WNOHANG) == p->pid)
		p->pid = 0;
	return p->pid > 0;
}

void proc_end(struct proc *p, unsigned grace_ms)
{
	pid_t group = p->pid; // it is the leader of its own
	if (!proc_running(p))
		return;
	kill_one(p->pid, SIGTERM);
	for (unsigned waited = 0; waited < grace_ms && proc_running(p); waited += 10)
		usleep(10000);
	if (p->pid > 0) {
		kill_one(p->pid, SIGKILL);
		waitpid(p->pid, &p->status, 0);
		p->pid = 0;
	}
	kill_group(group, SIGKILL); // a shell's children, say
}

static void last_line(const char *path, char *buf, size_t size)
{
	char line[512];
	buf[0] = 0;
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = 0;
		if (line[0])
			snprintf(buf, size, "%.100s", line);
	}
	fclose(f);
}

void proc_describe(const struct proc *p, char *buf, size_t size)
{
	char line[120];
	last_line(p->log, line, sizeof(line));
	if (p->pid > 0)
		snprintf(buf, size, "%s is running (last line: %s)", p->name, line);
	else if (WIFSIGNALED(p->status))
		snprintf(buf, size, "%s died of signal %d: %s", p->name, WTERMSIG(p->status), line);
	else
		snprintf(buf, size, "%s ended with %d: %s", p->name, WEXITSTATUS(p->status), line);
}
