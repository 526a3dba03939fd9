#include "proto/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"

void daemon_nap(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&ts, NULL);
}

void (*daemon_in_child)(void);

static void daemon_child(const struct daemon *d)
{
	const char *argv[DAEMON_MAX_ARGS + 6] = {d->bin, "--runtime-dir", d->run, "--state-dir", d->state};
	unsigned n = 5;
	for (unsigned i = 0; i < DAEMON_MAX_ARGS && d->arg[i] != NULL; i++)
		argv[n++] = d->arg[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL); // a test that dies leaves no daemon behind
	int fd = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 2) < 0 || dup2(fd, 1) < 0)
		_exit(126);
	close(fd);
	if (daemon_in_child != NULL)
		daemon_in_child();
	execv(d->bin, (char *const *)(uintptr_t)argv);
	_exit(127);
}

bool daemon_again(struct daemon *d)
{
	d->pid = fork();
	if (d->pid == 0)
		daemon_child(d);
	return d->pid > 0;
}

bool daemon_start(struct daemon *d, const char *bin, const char *const *args)
{
	const char *tmp = getenv("TMPDIR");
	memset(d, 0, sizeof(*d));
	d->pid = -1;
	d->bin = bin;
	for (unsigned i = 0; i < DAEMON_MAX_ARGS - 1 && args[i] != NULL; i++)
		d->arg[i] = args[i];
	if (tmp == NULL || strlen(tmp) > 30) // socket paths are short
		tmp = "/tmp";
	snprintf(d->dir, sizeof(d->dir), "%s/vringd-test-XXXXXX", tmp);
	if (mkdtemp(d->dir) == NULL)
		return false;
	snprintf(d->run, sizeof(d->run), "%s/run", d->dir);
	snprintf(d->state, sizeof(d->state), "%s/state", d->dir);
	snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
	if (mkdir(d->run, 0700) != 0 || mkdir(d->state, 0700) != 0)
		return false;
	return daemon_again(d);
}

bool daemon_alive(struct daemon *d)
{
	if (d->pid <= 0)
		return false;
	pid_t got = waitpid(d->pid, &d->status, WNOHANG);
	if (got == 0)
		return true;
	d->pid = -1;
	return false;
}

// The children of a process, at most max; how many.
static unsigned daemon_children(pid_t pid, pid_t *out, unsigned max)
{
	char path[64];
	unsigned n = 0;
	long child;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *f = fopen(path, "re");
	while (f != NULL && n < max && fscanf(f, "%ld", &child) == 1)
		out[n++] = (pid_t)child;
	if (f != NULL)
		fclose(f);
	return n;
}

static bool daemon_has_keeper(const struct daemon *d)
{
	for (unsigned i = 0; i < DAEMON_MAX_ARGS && d->arg[i] != NULL; i++)
		if (strcmp(d->arg[i], "--no-keeper") == 0)
			return false;
	return true;
}

pid_t daemon_worker(const struct daemon *d)
{
	pid_t child;
	if (!daemon_has_keeper(d))
		return d->pid;
	return daemon_children(d->pid, &child, 1) == 1 ? child : -1;
}

pid_t daemon_standby(const struct daemon *d)
{
	pid_t child[2];
	return daemon_has_keeper(d) && daemon_children(d->pid, child, 2) == 2 ? child[1] : -1;
}

// How many "fd" or "task" (threads) a process has; -1: it can't be seen.
static int daemon_count(pid_t pid, const char *what)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return -1;
	int n = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

// Dead, all of its threads (one that still ends has the descriptors of all), though nobody may have asked for its status yet: it is no child of ours.
static bool daemon_dead(pid_t pid)
{
	char path[64], text[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return true;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	const char *state = n > 0 ? strrchr(text, ')') : NULL;
	return state == NULL || ((state[2] == 'Z' || state[2] == 'X') && daemon_count(pid, "task") <= 1);
}

void daemon_kill(struct daemon *d)
{
	pid_t child[2];
	if (d->pid <= 0)
		return;
	unsigned n = daemon_has_keeper(d) ? daemon_children(d->pid, child, 2) : 0;
	kill_one(d->pid, SIGKILL);
	waitpid(d->pid, &d->status, 0);
	for (unsigned i = 0; n > 0 && i < 5000;) // worker and standby die with their keeper
		if (daemon_dead(child[n - 1]))
			n--;
		else
			i++, daemon_nap(1);
	d->pid = -1;
}

bool daemon_stop(struct daemon *d, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	if (d->pid > 0)
		kill_one(d->pid, SIGTERM);
	while (daemon_alive(d)) {
		if (clock_boot_us() >= end) {
			daemon_kill(d);
			return false;
		}
		daemon_nap(2);
	}
	return WIFEXITED(d->status) && WEXITSTATUS(d->status) == 0;
}

static int daemon_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void daemon_tell(const struct daemon *d)
{
	long from = 0;
	char *said = daemon_said(d, &from);
	size_t n = said != NULL ? strlen(said) : 0;
	if (n > 0)
		printf("it said:%s\n%s", n > 4000 ? " ..." : "", said + (n > 4000 ? n - 4000 : 0));
	free(said);
}

void daemon_clean(struct daemon *d)
{
	daemon_kill(d);
	if (strstr(d->dir, "/vringd-test-") != NULL)
		nftw(d->dir, daemon_remove, 8, FTW_DEPTH | FTW_PHYS);
}

const char *daemon_path(const struct daemon *d, const char *port)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s.sock", d->run, port);
	return path;
}

int daemon_fds(const struct daemon *d)
{
	pid_t worker = daemon_worker(d);
	int n = daemon_count(d->pid, "fd"), more = worker > 0 && worker != d->pid ? daemon_count(worker, "fd") : 0;
	return n < 0 || more < 0 ? -1 : n + more;
}

typedef uint64_t daemon_task_fn(const char *folder);

static uint64_t daemon_sum_of(pid_t pid, daemon_task_fn *fn)
{
	char path[320];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s", (int)pid, e->d_name);
		sum += fn(path);
	}
	closedir(dir);
	return sum;
}

// Of a process and of all that it has started: keeper, worker, whoever stands by.
static uint64_t daemon_sum_tree(pid_t pid, daemon_task_fn *fn)
{
	pid_t child[8];
	uint64_t sum = daemon_sum_of(pid, fn);
	unsigned n = daemon_children(pid, child, 8);
	for (unsigned i = 0; i < n; i++)
		sum += daemon_sum_tree(child[i], fn);
	return sum;
}

static uint64_t daemon_sum(const struct daemon *d, daemon_task_fn *fn)
{
	return d->pid > 0 ? daemon_sum_tree(d->pid, fn) : 0;
}

// The number behind the first of `keys` in a file of "key: number" lines, added up over all keys.
static uint64_t daemon_status_sum(const char *path, const char *const *keys)
{
	char line[256];
	uint64_t sum = 0;
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		for (unsigned i = 0; keys[i] != NULL; i++)
			if (strncmp(line, keys[i], strlen(keys[i])) == 0)
				sum += strtoull(line + strlen(keys[i]), NULL, 10);
	fclose(f);
	return sum;
}

static uint64_t daemon_task_ns(const char *folder)
{
	char path[340], line[128];
	uint64_t ns = 0;
	snprintf(path, sizeof(path), "%s/schedstat", folder);
	FILE *f = fopen(path, "re");
	if (f != NULL && fgets(line, sizeof(line), f) != NULL)
		ns = strtoull(line, NULL, 10);
	if (f != NULL)
		fclose(f);
	return ns;
}

uint64_t daemon_cpu_us(const struct daemon *d)
{
	return daemon_sum(d, daemon_task_ns) / 1000;
}

static uint64_t daemon_task_switches(const char *folder)
{
	static const char *const keys[] = {"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:", NULL};
	char path[340];
	snprintf(path, sizeof(path), "%s/status", folder);
	return daemon_status_sum(path, keys);
}

uint64_t daemon_switches(const struct daemon *d)
{
	return daemon_sum(d, daemon_task_switches);
}

uint64_t daemon_rss_kb(const struct daemon *d)
{
	static const char *const keys[] = {"RssAnon:", NULL};
	char path[64];
	pid_t worker = daemon_worker(d);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)d->pid);
	uint64_t sum = daemon_status_sum(path, keys);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)worker);
	return sum + (worker > 0 && worker != d->pid ? daemon_status_sum(path, keys) : 0);
}

char *daemon_said(const struct daemon *d, long *from)
{
	FILE *f = fopen(d->log, "re");
	char *text = NULL;
	if (f != NULL && fseek(f, 0, SEEK_END) == 0) {
		long end = ftell(f);
		size_t n = end > *from ? (size_t)(end - *from) : 0;
		text = calloc(1, n + 1);
		if (text != NULL && fseek(f, *from, SEEK_SET) == 0)
			*from += (long)fread(text, 1, n, f);
	}
	if (f != NULL)
		fclose(f);
	return text != NULL ? text : calloc(1, 1);
}
