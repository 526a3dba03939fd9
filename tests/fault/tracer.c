#include "tracer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kill.h"

#define MOST 256
#define OPTIONS                                                                                                        \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
	 PTRACE_O_EXITKILL)

struct task {
	pid_t tid, worker; // worker: the process that it is a thread of, if the keeper started that; else 0
	unsigned born; // the order of processes
};

static struct task tasks[MOST];
static pid_t keeper, at_first; // the worker that died first
static unsigned births;

static long status_of(pid_t tid, const char *key)
{
	char path[64], line[160];
	long value = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	FILE *f = fopen(path, "re");
	while (f != NULL && value < 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtol(line + strlen(key), NULL, 10);
	if (f != NULL)
		fclose(f);
	return value;
}

// The oldest process that the keeper started and that lives is the worker.
static void reign(struct tracer *t)
{
	const struct task *oldest = NULL;
	for (unsigned i = 0; i < MOST; i++)
		if (tasks[i].tid != 0 && tasks[i].tid == tasks[i].worker && (oldest == NULL || tasks[i].born < oldest->born))
			oldest = &tasks[i];
	t->life = 0;
	t->present = oldest != NULL ? oldest->tid : 0;
}

// A process that the keeper starts is a worker, its threads are the worker's; what a worker starts is nothing to us.
static struct task *find(struct tracer *t, pid_t tid)
{
	struct task *free_one = NULL;
	for (unsigned i = 0; i < MOST; i++) {
		if (tasks[i].tid == tid)
			return &tasks[i];
		if (tasks[i].tid == 0 && free_one == NULL)
			free_one = &tasks[i];
	}
	if (free_one == NULL)
		_exit(3);
	pid_t group = (pid_t)status_of(tid, "Tgid:");
	*free_one = (struct task){.tid = tid};
	if (tid == keeper || group < 0)
		return free_one;
	if (group == tid && status_of(tid, "PPid:") == keeper) {
		free_one->worker = tid;
		free_one->born = ++births;
		if (t->present == 0)
			reign(t);
	} else {
		for (unsigned i = 0; i < MOST; i++)
			if (tasks[i].tid == group && tasks[i].worker == group)
				free_one->worker = group;
	}
	return free_one;
}

static void look(struct tracer *t, const struct task *k)
{
	struct __ptrace_syscall_info info;
	if (k->worker != t->present) // it stands by
		return;
	uint32_t n = ++t->stops, life = ++t->life, fired = t->fired;
	bool now = fired == 0 && t->first != 0 && n == t->first;
	now = now || (fired == 1 && t->second != 0 && k->worker != at_first && life == t->second);
	if (!now)
		return;
	memset(&info, 0, sizeof(info));
	ptrace(PTRACE_GET_SYSCALL_INFO, k->tid, sizeof(info), &info);
	t->entered = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	t->call = t->entered ? (uint32_t)info.entry.nr : 0;
	if (fired == 0)
		at_first = k->worker;
	kill_one(k->worker, SIGKILL);
	for (unsigned i = 0; fired == 0 && t->alone && i < MOST; i++)
		if (tasks[i].tid != 0 && tasks[i].tid == tasks[i].worker)
			kill_one(tasks[i].tid, SIGKILL);
	t->fired = fired + 1;
}

static void watch(struct tracer *t)
{
	int status;
	pid_t tid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_SEIZE, keeper, NULL, OPTIONS) != 0) {
		t->ready = -errno;
		_exit(1);
	}
	t->ready = 1;
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid <= 0)
			continue;
		struct task *k = find(t, tid);
		if (!WIFSTOPPED(status)) {
			k->tid = 0;
			if (tid == t->present)
				reign(t);
			continue;
		}
		int sig = WSTOPSIG(status), event = status >> 16;
		if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) { // stopped as a group, by somebody else
			ptrace(PTRACE_LISTEN, tid, NULL, NULL);
			continue;
		}
		if (sig == (SIGTRAP | 0x80) && k->worker != 0)
			look(t, k);
		if (sig == (SIGTRAP | 0x80) || event != 0)
			sig = 0;
		ptrace(k->worker != 0 ? PTRACE_SYSCALL : PTRACE_CONT, tid, NULL, (void *)(uintptr_t)sig);
	}
	_exit(0);
}

bool tracer_start(struct tracer **out, pid_t of)
{
	struct tracer *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return false;
	pid_t pid = fork();
	int error = errno;
	if (pid == 0) {
		keeper = of;
		watch(t);
	}
	t->pid = pid; // the page is the child's, too
	while (pid > 0 && t->ready == 0)
		usleep(200);
	if (t->ready == 1) {
		*out = t;
		return true;
	}
	if (t->ready < 0)
		error = -t->ready;
	tracer_end(t);
	errno = error;
	return false;
}

void tracer_arm(struct tracer *t, uint32_t first, uint32_t second, bool alone)
{
	t->first = t->second = 0;
	t->fired = 0;
	t->stops = 0;
	t->second = second;
	t->alone = alone;
	t->first = first;
}

void tracer_end(struct tracer *t)
{
	int status;
	if (t == NULL)
		return;
	if (t->pid > 0)
		waitpid(t->pid, &status, 0);
	munmap(t, sizeof(*t));
}
