// Two guests talk at full speed while the worker under them is killed, again and again. They must not notice: their connections stay, no frame is
// lost or damaged, at most a batch a ring and kill comes twice. What a death costs is the time until the next frame, which is printed.
//
//   keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--messages] [--memory BYTES] [--caught] VRINGD
//
// Half of the kills come in the microseconds after frames were given, when the worker is at work. An eighth come while the worker takes over from the one before. A tenth are SIGSEGV, a tenth SIGABRT, with core dumps on; a
// fifth take the standby along. --messages: a front end asks something now and then. --memory: of a guest, all of which the worker has touched
// before it is killed by one of these two; a core must be small all the same. --caught: a build with a seeded bug; something must be wrong.
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/kill.h"
#include "talk.h"

struct run {
	struct talk t;
	unsigned kills, done;
	unsigned seed;
	char dir[64]; // where cores go
	unsigned cores, touches;
	uint64_t core_bytes, mapped_kb; // the largest on the disk; the least that the worker had touched
};

#define CORE_MOST (UINT64_C(256) << 20)

enum { KILLED, CORE, ALONE, IN_A_ROW }; // no standby; while the last one's successor took over
static const char *const kinds[TALK_KINDS] = { "SIGKILL", "with a core", "without a standby", "in a row" };

static void nap_us(unsigned us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
	nanosleep(&ts, NULL);
}

// -- cores ------------------------------------------------------------------------------------------------------------------

static bool core_room(struct run *r)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	snprintf(r->dir, sizeof(r->dir), "/tmp/vringd-cores-XXXXXX");
	return mkdtemp(r->dir) != NULL && chdir(r->dir) == 0 && setrlimit(RLIMIT_CORE, &all) == 0;
}

// Look at what is there, and take it away.
static void core_look(struct run *r)
{
	struct dirent *e;
	DIR *dir = opendir(r->dir);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, 0) != 0)
			continue;
		uint64_t bytes = (uint64_t)st.st_blocks * 512;
		r->cores++;
		r->core_bytes = bytes > r->core_bytes ? bytes : r->core_bytes;
		unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir != NULL)
		closedir(dir);
}

// -- kills ------------------------------------------------------------------------------------------------------------------

static uint64_t mapped_kb(pid_t worker)
{
	char path[64], line[200];
	unsigned long kb = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)worker);
	FILE *f = fopen(path, "re");
	while (f != NULL && kb == 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "RssShmem:", 9) == 0)
			kb = strtoul(line + 9, NULL, 10);
	if (f != NULL)
		fclose(f);
	return kb;
}

static void touch_all(struct run *r)
{
	r->t.touch = true;
	while (r->t.touch && !r->t.over)
		nap_us(200);
	uint64_t kb = mapped_kb(daemon_worker(&r->t.bed.d));
	r->mapped_kb = r->touches == 0 || kb < r->mapped_kb ? kb : r->mapped_kb;
	r->touches++;
}

// At any time, or in the microseconds after frames were given: for the rest a worker mostly waits.
static bool shoot(struct run *r, pid_t worker, int how)
{
	if (r->done % 2 == 0 || r->t.since_us == 0)
		return kill_one(worker, how) == 0;
	r->t.aim_signal = how;
	r->t.aim_ns = (r->seed >> 8) % 40000;
	r->t.aim = worker;
	for (unsigned i = 0; i < 10000 && r->t.aim != 0 && !r->t.over; i++)
		nap_us(100);
	return r->t.aim == 0;
}

static void *killer(void *arg)
{
	struct run *r = arg;
	bool row = false;
	while (r->done < r->kills && !r->t.over) {
		r->seed = r->seed * 1103515245u + 12345u;
		int how = r->done % 10 == 3 ? SIGSEGV : r->done % 10 == 7 ? SIGABRT : SIGKILL;
		if (r->t.memory && how != SIGKILL)
			touch_all(r);
		if (!r->t.since_us)
			nap_us(2000 + (r->seed >> 8) % 20000);
		pid_t worker = daemon_worker(&r->t.bed.d);
		r->t.kind = row ? IN_A_ROW : r->done % 5 == 4 ? ALONE : how != SIGKILL ? CORE : KILLED;
		talk_mark(&r->t, worker); // what it delivers before its death, which a core delays, is not the next one's
		pid_t standby = r->done % 5 == 4 ? daemon_standby(&r->t.bed.d) : -1; // and who waits for it, now and then
		if (standby > 0)
			kill_one(standby, SIGKILL);
		if (worker <= 0 || !shoot(r, worker, how)) {
			r->t.since_us = 0;
			continue;
		}
		r->done++;
		row = r->done % 8 == 5 && r->done < r->kills;
		if (row) { // the next one dies while it takes over, or just after
			nap_us((r->seed >> 8) % 5000);
			while (daemon_worker(&r->t.bed.d) == worker)
				nap_us(100);
			continue;
		}
		if (!talk_moves(&r->t, 10000))
			break;
		if (how != SIGKILL)
			core_look(r);
	}
	r->t.over = true;
	return NULL;
}

static bool judge(struct run *r)
{
	struct talk_sum s;
	talk_sum(&r->t, &s);
	printf("keeper_traffic: %u kills, %llu frames, %llu missing, %llu repeated (on one ring at most %llu times after a death, %llu in a row); "
	       "gap p50 %u us, p99 %u us, longest %u us%s%s\n",
	       r->done, (unsigned long long)r->t.frames, (unsigned long long)s.lost, (unsigned long long)s.repeated,
	       (unsigned long long)s.rows, (unsigned long long)s.longest_row, s.all.p50, s.all.p99, s.all.longest, r->t.wrong ? "; " : "",
	       r->t.wrong ? r->t.wrong : "");
	for (unsigned i = 0; i < TALK_KINDS; i++)
		if (s.kind[i].n)
			printf("keeper_traffic: %s: %u gaps, p50 %u us, p99 %u us, longest %u us\n", kinds[i], s.kind[i].n, s.kind[i].p50,
			       s.kind[i].p99, s.kind[i].longest);
	core_look(r);
	printf("keeper_traffic: %u cores, the largest of %llu KiB on the disk; %u times all memory was touched, of which the worker had at least "
	       "%llu MiB\n",
	       r->cores, (unsigned long long)r->core_bytes >> 10, r->touches, (unsigned long long)r->mapped_kb >> 10);
	if (r->t.since_us)
		printf("keeper_traffic: no frame moved within 10 s after kill %u\n", r->done);
	if (r->t.wrong != NULL || s.lost)
		talk_tell(&r->t);
	bool small = r->core_bytes <= CORE_MOST && (r->touches == 0 || r->mapped_kb << 10 >= r->t.memory / 10 * 9);
	return r->t.wrong == NULL && s.lost == 0 && s.longest_row <= TALK_BATCH && s.rows <= r->done && r->done == r->kills &&
	       !r->t.since_us && small;
}

int main(int argc, char **argv)
{
	static struct run r = {.t.conf = {.ring_size = 256, .pairs = 1}, .kills = 100, .seed = 1};
	bool caught = false;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			r.t.conf.packed = true;
		else if (strcmp(argv[i], "--log") == 0)
			r.t.log = true;
		else if (strcmp(argv[i], "--messages") == 0)
			r.t.messages = true;
		else if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc)
			r.t.memory = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			r.kills = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			r.seed = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			r.t.conf.pairs = (uint16_t)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || r.kills > TALK_GAPS || r.t.conf.pairs < 1 || r.t.conf.pairs > TALK_PAIRS) {
		fprintf(stderr, "usage: keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--messages] [--memory BYTES] [--caught] "
				"VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	char *bin = realpath(argv[i], NULL);
	if (bin == NULL || !core_room(&r) || !talk_open(&r.t, bin)) {
		printf("keeper_traffic: %s\n", r.t.bed.failed[0] ? r.t.bed.failed : "it could not be started");
		return 3;
	}
	pthread_t killing;
	bool well = pthread_create(&killing, NULL, killer, &r) == 0;
	if (well) {
		talk_run(&r.t);
		pthread_join(killing, NULL);
		well = judge(&r);
	}
	well = talk_close(&r.t, well == caught) && well;
	rmdir(r.dir);
	free(bin);
	return well == !caught ? 0 : 1;
}
