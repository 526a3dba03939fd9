#include "bench/usage.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The numbers behind the keys of a file of "key: number" lines, added up.
static uint64_t status_sum(const char *path, const char *const *keys)
{
	char line[256];
	uint64_t sum = 0;
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		for (unsigned i = 0; keys[i]; i++)
			if (strncmp(line, keys[i], strlen(keys[i])) == 0)
				sum += strtoull(line + strlen(keys[i]), NULL, 10);
	fclose(f);
	return sum;
}

static void add_schedstat(const char *path, struct usage *u)
{
	unsigned long long ran = 0, waited = 0;
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	if (fscanf(f, "%llu %llu", &ran, &waited) == 2) {
		u->cpu_ns += ran;
		u->wait_ns += waited;
	}
	fclose(f);
}

struct usage usage_own(void)
{
	struct usage u = { 0 };
	add_schedstat("/proc/thread-self/schedstat", &u);
	return u;
}

uint64_t usage_stolen_ns(const int *cpu, unsigned n)
{
	char line[300];
	uint64_t ticks = 0;
	FILE *f = fopen("/proc/stat", "re");
	while (f && fgets(line, sizeof(line), f)) {
		int number;
		unsigned long long steal;
		if (sscanf(line, "cpu%d %*u %*u %*u %*u %*u %*u %*u %llu", &number, &steal) != 2)
			continue;
		for (unsigned i = 0; i < n; i++)
			if (cpu[i] == number)
				ticks += steal;
	}
	if (f)
		fclose(f);
	return ticks * 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void add_process(pid_t pid, struct usage *u)
{
	static const char *const switches[] = { "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:", NULL };
	static const char *const anon[] = { "RssAnon:", NULL };
	char path[300];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, e->d_name);
		add_schedstat(path, u);
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, e->d_name);
		u->switches += status_sum(path, switches);
	}
	closedir(dir);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	u->anon_kb += status_sum(path, anon);
}

struct usage usage_of(pid_t pid)
{
	struct usage u = { 0 };
	char path[64];
	long child;
	add_process(pid, &u);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fscanf(f, "%ld", &child) == 1)
		add_process((pid_t)child, &u);
	if (f)
		fclose(f);
	return u;
}

// Inode of a listening unix socket, 0: none.
static uint64_t listener_inode(const char *want)
{
	char line[400], path[200];
	uint64_t inode = 0;
	FILE *f = fopen("/proc/net/unix", "re");
	if (!f)
		return 0;
	while (!inode && fgets(line, sizeof(line), f)) {
		unsigned flags;
		uint64_t n;
		// Num RefCount Protocol Flags Type St Inode Path; flag 0x10000: listening
		if (sscanf(line, "%*s %*s %*s %x %*s %*s %" SCNu64 " %199[^\n]", &flags, &n, path) == 3 &&
		    (flags & 0x10000) && strcmp(path, want) == 0)
			inode = n;
	}
	fclose(f);
	return inode;
}

bool usage_listening(const char *path)
{
	return listener_inode(path) != 0;
}

static int has_socket(const char *pid, uint64_t inode)
{
	char path[300], want[40], link[100];
	snprintf(want, sizeof(want), "socket:[%" PRIu64 "]", inode);
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	DIR *dir = opendir(path);
	int found = 0;
	for (struct dirent *e; dir && !found && (e = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, e->d_name);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		if (n > 0) {
			link[n] = '\0';
			found = strcmp(link, want) == 0;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

pid_t usage_listener(const char *path)
{
	uint64_t inode = listener_inode(path);
	DIR *proc = inode ? opendir("/proc") : NULL;
	pid_t pid = 0;
	for (struct dirent *e; proc && !pid && (e = readdir(proc));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && has_socket(e->d_name, inode))
			pid = atoi(e->d_name);
	if (proc)
		closedir(proc);
	return pid;
}
