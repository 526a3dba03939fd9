// Two guests talk at full speed while the worker under them is killed, again and again. They must not notice: their connections stay, no frame is
// lost or damaged, at most a batch a ring and kill comes twice. What a death costs is the time until the next frame, which is printed.
//
//   keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--caught] VRINGD
//
// A tenth of the kills are SIGSEGV, a tenth SIGABRT; a fifth take the standby along. --caught: a build with a seeded bug; something must be wrong.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "talk.h"

struct run {
	struct talk t;
	unsigned kills, done;
	unsigned seed;
};

static void nap_us(unsigned us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
	nanosleep(&ts, NULL);
}

static void *killer(void *arg)
{
	struct run *r = arg;
	while (r->done < r->kills && !r->t.over) {
		r->seed = r->seed * 1103515245u + 12345u;
		nap_us(2000 + (r->seed >> 8) % 20000);
		pid_t worker = daemon_worker(&r->t.bed.d);
		int how = r->done % 10 == 3 ? SIGSEGV : r->done % 10 == 7 ? SIGABRT : SIGKILL;
		talk_mark(&r->t, 0);
		pid_t standby = r->done % 5 == 4 ? daemon_standby(&r->t.bed.d) : -1; // and who waits for it, now and then
		if (standby > 0)
			kill(standby, SIGKILL);
		if (worker <= 0 || kill(worker, how) != 0) {
			r->t.since_us = 0;
			continue;
		}
		r->done++;
		if (!talk_moves(&r->t, 10000))
			break;
	}
	r->t.over = true;
	return NULL;
}

static bool judge(struct run *r)
{
	struct talk_sum s;
	talk_sum(&r->t, &s);
	printf("keeper_traffic: %u kills, %llu frames, %llu missing, %llu repeated (at most %llu on one ring); "
	       "gap p50 %u us, p99 %u us, longest %u us%s%s\n",
	       r->done, (unsigned long long)r->t.frames, (unsigned long long)s.lost, (unsigned long long)s.repeated,
	       (unsigned long long)s.most, s.p50, s.p99, s.longest, r->t.wrong ? "; " : "", r->t.wrong ? r->t.wrong : "");
	if (r->t.since_us)
		printf("keeper_traffic: no frame moved within 10 s after kill %u\n", r->done);
	if (r->t.wrong != NULL || s.lost)
		talk_tell(&r->t);
	return r->t.wrong == NULL && s.lost == 0 && s.most <= (uint64_t)TALK_BATCH * r->done && r->done == r->kills && !r->t.since_us;
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
		fprintf(stderr, "usage: keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!talk_open(&r.t, argv[i])) {
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
	return well == !caught ? 0 : 1;
}
