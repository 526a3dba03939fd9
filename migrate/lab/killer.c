#include "lab/killer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"

#define AWAIT_LIMIT_US 10000000
#define LOG_TAIL 16384 // what a death and a start say is far shorter

// splitmix64
static uint64_t next_random(struct killer *k)
{
	uint64_t x = k->random += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t killer_random(struct killer *k, uint64_t below)
{
	return next_random(k) % below;
}

enum err killer_open(struct killer *k, struct backend *b, uint64_t seed, unsigned total, struct why *why)
{
	*k = (struct killer){ .backend = b, .random = seed, .total = total };
	k->signal = calloc(total ? total : 1, sizeof(*k->signal));
	if (!k->signal)
		return ours(why, "no memory");
	unsigned tenth = total < 3 ? 0 : total < 10 ? 1 : total / 10;
	for (unsigned i = 0; i < total; i++)
		k->signal[i] = i < tenth ? SIGSEGV : i < 2 * tenth ? SIGABRT : SIGKILL;
	for (unsigned i = total; i > 1; i--) {
		unsigned j = (unsigned)killer_random(k, i);
		int s = k->signal[i - 1];
		k->signal[i - 1] = k->signal[j];
		k->signal[j] = s;
	}
	return OK;
}

void killer_close(struct killer *k)
{
	free(k->signal);
	k->signal = NULL;
}

// vringd's worker has a process that takes its memory down; killing that one kills nobody who works.
static bool works(pid_t pid)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, name, sizeof(name) - 1) : -1;
	fd_reset(&fd);
	return n > 0 && strncmp(name, "vringd-memory", 13) != 0;
}

static pid_t first_child(pid_t pid)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	fd_reset(&fd);
	pid_t child = n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
	return child > 0 && works(child) ? child : 0;
}

pid_t killer_victim(pid_t started)
{
	pid_t pid = started;
	for (pid_t child = pid; child > 0; child = first_child(pid))
		pid = child;
	return pid > 0 ? pid : 0;
}

enum err killer_strike(struct killer *k, struct kill *d, struct why *why)
{
	d->number = k->done + 1;
	d->signal = k->signal[k->done % k->total];
	d->pid = killer_victim(k->backend->proc[0].pid);
	d->at_us = clock_boot_us();
	if (d->pid <= 0 || kill_one(d->pid, d->signal) != 0)
		return ours(why, "kill %u: nobody is there to be killed", d->number);
	k->done++;
	return OK;
}

uint64_t killer_serving_us(const char *text, pid_t pid)
{
	char said[64];
	unsigned long long us;
	snprintf(said, sizeof(said), "worker %d serves, ", (int)pid);
	const char *at = strstr(text, said);
	return at && sscanf(at + strlen(said), "%llu us", &us) == 1 ? us : 0;
}

static uint64_t serving_said(const struct killer *k, pid_t pid)
{
	char text[LOG_TAIL + 1];
	int fd = open(k->backend->proc[0].log, O_RDONLY | O_CLOEXEC);
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n = fd >= 0 ? pread(fd, text, LOG_TAIL, end > LOG_TAIL ? end - LOG_TAIL : 0) : -1;
	fd_reset(&fd);
	text[n > 0 ? n : 0] = 0;
	return killer_serving_us(text, pid);
}

enum err killer_await(struct killer *k, struct kill *d, struct why *why)
{
	uint64_t until = clock_boot_us() + AWAIT_LIMIT_US;
	char how[150] = "";
	do {
		if (!backend_running(k->backend, how, sizeof(how)))
			return refuse(why, "nobody follows: the back end is one process, and is gone: %s", how);
		pid_t now = killer_victim(k->backend->proc[0].pid);
		// of a shell's children none may be there for a moment: it is not who follows
		d->next = now != d->pid && now != k->backend->proc[0].pid ? now : 0;
		d->serving_us = d->next ? serving_said(k, d->next) : 0;
		if (d->next && (d->serving_us || k->backend->kind != BACKEND_VRINGD))
			return OK;
		sleep_ms(2);
	} while (clock_boot_us() < until && !interrupted());
	return refuse(why, d->next ? "who follows, %d, does not serve in time" : "nobody follows in time (%d died)", (int)(d->next ? d->next : d->pid));
}

void sockets_read(struct sockets *s, pid_t pid)
{
	char path[64], to[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	s->n = 0;
	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = 0;
		if (strncmp(to, "socket:[", 8) == 0 && s->n < SOCKETS_MAX)
			s->inode[s->n++] = strtoull(to + 8, NULL, 10);
	}
	if (dir)
		closedir(dir);
}

bool sockets_kept(const struct sockets *before, const struct sockets *now)
{
	for (unsigned i = 0; i < before->n; i++) {
		unsigned k = 0;
		while (k < now->n && now->inode[k] != before->inode[i])
			k++;
		if (k == now->n)
			return false;
	}
	return before->n > 0;
}
