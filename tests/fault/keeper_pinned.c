// When a front end goes away, so does our hold on its guest's memory: within a second, whatever the worker is doing, and all descriptors
// of keeper and worker with it. Looked for by the inode, among the descriptors and maps of all processes but this one: who
// takes a dead worker's mappings down is nobody's child.
//
//   keeper_pinned [--caught] VRINGD [WORD]     VRINGD: the build with crash points; --caught: one that keeps something
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"
#include "poison.h"

#define RELEASED_MS 1000u
#define GUEST_BYTES (64u << 20)

static unsigned fds_with(pid_t pid, const struct stat *want)
{
	char path[300];
	struct stat st;
	unsigned n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, e->d_name);
		n += stat(path, &st) == 0 && st.st_ino == want->st_ino && st.st_dev == want->st_dev;
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

static unsigned maps_with(pid_t pid, const struct stat *want)
{
	char path[40], line[512];
	unsigned long ino;
	unsigned n = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		n += sscanf(line, "%*s %*s %*s %*s %lu", &ino) == 1 && ino == want->st_ino && strstr(line, "memfd:") != NULL;
	if (f != NULL)
		fclose(f);
	return n;
}

static unsigned holds(const struct stat *want)
{
	unsigned n = 0;
	DIR *dir = opendir("/proc");
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		pid_t pid = (pid_t)atoi(e->d_name);
		n += pid > 0 && pid != getpid() ? fds_with(pid, want) + maps_with(pid, want) : 0;
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

static long shmem_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Shmem: %ld", &kb) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kb;
}

static bool settled(struct scene *s, int fds)
{
	for (unsigned i = 0; i < 500; i++, daemon_nap(10))
		if (daemon_worker(&s->bed.d) > 0 && daemon_fds(&s->bed.d) == fds)
			return true;
	bed_fail(&s->bed, "%d descriptors instead of %d", daemon_fds(&s->bed.d), fds);
	return false;
}

enum how { SERVING, STOPPED, STOPPED_BUSY, LOOPING, FAILING, DIES };

// A guest comes on port a3, all of its memory touched on both sides, and goes away just then.
static void pinned(struct scene *s, enum how how)
{
	const struct fe_conf conf = {.ring_size = 64, .mem = {.region_bytes = GUEST_BYTES}};
	int fds = daemon_fds(&s->bed.d);
	struct stat st;
	struct fe *fe = bed_front_end(&s->bed, "a3", BED_RUNNING, &conf, -1);
	if (fe == NULL)
		return;
	const struct gmem_region *r = &fe->mem->region[0];
	memset(r->host, 1, r->size);
	WANT(s, fstat(r->fd, &st) == 0 && holds(&st) > 0, "nobody holds the memory of a guest that runs");
	long before = shmem_kb();
	pid_t worker = daemon_worker(&s->bed.d);
	if (how == FAILING || how == DIES)
		kill_one(worker, SIGKILL);
	if (how == FAILING)
		daemon_nap(300); // one tries after the other
	if (how == STOPPED || how == STOPPED_BUSY) {
		kill_one(worker, SIGSTOP);
		daemon_nap(50);
	}
	if (how == LOOPING)
		poison_set(s, "message a3 1 loop");
	if (how == STOPPED_BUSY || how == LOOPING)
		fe_send(fe, 1, 0, NULL, 0, NULL, 0);
	if (how == LOOPING)
		daemon_nap(50);
	uint64_t from = clock_boot_us();
	fe_free(fe);
	while (holds(&st) > 0 && clock_boot_us() < from + 10000000)
		daemon_nap(2);
	unsigned took = (unsigned)(clock_boot_us() - from) / 1000;
	printf("keeper_pinned: released after %u ms, Shmem %+ld KiB\n", took, shmem_kb() - before);
	WANT(s, holds(&st) == 0, "the memory of a guest that is gone is held for ever");
	WANT(s, took <= RELEASED_MS, "the memory of a guest that is gone is held for %u ms", took);
	settled(s, fds);
}

static void run_serving(struct scene *s) { pinned(s, SERVING); }
static void run_stopped(struct scene *s) { pinned(s, STOPPED); }
static void run_stopped_busy(struct scene *s) { pinned(s, STOPPED_BUSY); }
static void run_looping(struct scene *s) { pinned(s, LOOPING); }
static void run_dies(struct scene *s) { pinned(s, DIES); }
static void run_failing(struct scene *s) { pinned(s, FAILING); }

// At each stage of a connection, again and again, with deaths in between.
static void run_baseline(struct scene *s)
{
	int fds = daemon_fds(&s->bed.d);
	static const struct fe_conf all = {.pairs = 16, .ring_size = 64, .mem = {.region_bytes = 4 << 20}};
	for (unsigned i = 0; i < 60 && s->bed.failed[0] == '\0'; i++) {
		struct fe *fe = bed_front_end(&s->bed, "a3", (enum bed_stage)(i % 5), i % 3 ? NULL : &all, -1);
		if (i % 4 == 1)
			kill_one(daemon_worker(&s->bed.d), SIGKILL);
		fe_free(fe);
	}
	settled(s, fds);
}

static const struct {
	const char *name, *plan; // of VRINGD_CRASH
	void (*run)(struct scene *s);
} rows[] = {
	{"serving", "", run_serving}, {"stopped", "", run_stopped}, {"stopped, a message out", "", run_stopped_busy}, {"in a loop", "", run_looping},
	{"dies", "", run_dies},
	{"failing to start",
	 "1:adopt_told:1,2:adopt_told:1,3:adopt_told:1,4:adopt_told:1,5:adopt_told:1,6:adopt_told:1,7:adopt_told:1,8:adopt_told:1,9:adopt_told:1",
	 run_failing},
	{"baseline", "", run_baseline},
};

int main(int argc, char **argv)
{
	static struct scene s;
	int i = argc > 1 && strcmp(argv[1], "--caught") == 0 ? 2 : 1;
	unsigned bad = 0, n = 0;
	if (argc < i + 1) {
		fprintf(stderr, "usage: keeper_pinned [--caught] VRINGD [WORD]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (unsigned k = 0; k < ARRAY_LEN(rows); k++) {
		if (argc > i + 1 && strstr(rows[k].name, argv[i + 1]) == NULL)
			continue;
		setenv("VRINGD_CRASH", rows[k].plan, 1);
		bool opened = scene_open(&s, argv[i]);
		if (opened)
			rows[k].run(&s);
		bool well = scene_close(&s) && opened;
		printf("%-22s %s%s\n", rows[k].name, well ? "holds" : "FAILED: ", s.bed.failed);
		fflush(stdout);
		bad += !well;
		n++;
	}
	return (bad != 0) == (i == 2) && n > 0 ? 0 : 1;
}
