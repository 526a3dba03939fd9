// Two guests talk at full speed while the worker under them is killed, again and again. They must not notice: their connections stay, no frame is
// lost or damaged, at most a batch a ring and kill comes twice. What a death costs is the time until the next frame, which is printed.
//
//   keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--caught] VRINGD
//
// A tenth of the kills are SIGSEGV, a tenth SIGABRT. --caught: a build with a seeded bug; something must be wrong.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/lan.h"

#define MAX_PAIRS 4
#define MAX_KILLS 20000
#define OUT 96u // frames under way each way of a pair
#define BATCH 64u

struct way { // what guest `to` hears on a pair
	uint64_t sent, next, lost, repeated;
};

struct run {
	struct bed bed;
	struct lan lan;
	struct way way[2][MAX_PAIRS];
	unsigned pairs, kills, done;
	unsigned seed;
	_Atomic uint64_t killed_us; // the last death, until a frame came after it
	_Atomic bool over;
	_Atomic uint64_t frames;
	unsigned gap[MAX_KILLS], n_gaps;
	const char *wrong;
};

static void nap_us(unsigned us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
	nanosleep(&ts, NULL);
}

static void *killer(void *arg)
{
	struct run *r = arg;
	while (r->done < r->kills && !r->over) {
		r->seed = r->seed * 1103515245u + 12345u;
		nap_us(2000 + (r->seed >> 8) % 20000);
		pid_t worker = daemon_worker(&r->bed.d);
		int how = r->done % 10 == 3 ? SIGSEGV : r->done % 10 == 7 ? SIGABRT : SIGKILL;
		r->killed_us = clock_boot_us();
		if (worker <= 0 || kill(worker, how) != 0) {
			r->killed_us = 0;
			continue;
		}
		r->done++;
		for (unsigned k = 0; k < 20000 && r->killed_us && !r->over; k++) // until frames move again
			nap_us(500);
		if (r->killed_us)
			break;
	}
	r->over = true;
	return NULL;
}

static bool take(struct run *r, unsigned to, unsigned pair)
{
	struct way *w = &r->way[to][pair];
	struct frame_id id;
	const char *wrong = net_expect(&r->lan.net[to][pair], &id, NULL, 0);
	if (wrong == net_nothing)
		return false;
	if (wrong != NULL) {
		r->wrong = wrong;
		return false;
	}
	// which pair a frame comes out of is the switch's choice: flows are told apart by their number
	w = &r->way[to][id.flow % MAX_PAIRS];
	if (id.seq < w->next) {
		w->repeated++;
	} else {
		w->lost += id.seq - w->next;
		w->next = id.seq + 1;
	}
	uint64_t killed = r->killed_us;
	if (killed && clock_boot_us() > killed + 200 && daemon_worker(&r->bed.d) > 0) {
		if (r->n_gaps < MAX_KILLS)
			r->gap[r->n_gaps++] = (unsigned)(clock_boot_us() - killed);
		r->killed_us = 0;
	}
	r->frames++;
	return true;
}

static void give(struct run *r, unsigned to, unsigned pair)
{
	struct net *n = &r->lan.net[!to][pair];
	struct way *w = &r->way[to][pair];
	uint8_t *at;
	uint32_t slot;
	net_tx_reap(n);
	while (w->sent - w->next < OUT && n->tx_n_free > 0 && (at = net_tx_slot(n, &slot)) != NULL) {
		uint32_t len = 60 + (uint32_t)(w->sent * 37 % 1400);
		frame_fill(at, len, r->lan.mac[to], r->lan.mac[!to], pair, w->sent++, true);
		net_tx_put(n, slot, len, NULL);
	}
	net_tx_flush(n);
}

static bool connected(const struct run *r)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pollfd p = {.fd = r->lan.fe[i]->sock, .events = POLLIN | POLLRDHUP};
		if (poll(&p, 1, 0) != 0)
			return false;
	}
	return true;
}

static void pump(struct run *r, bool sending)
{
	for (unsigned to = 0; to < 2; to++)
		for (unsigned p = 0; p < r->pairs; p++) {
			if (sending)
				give(r, to, p);
			for (unsigned k = 0; k < BATCH && r->wrong == NULL && take(r, to, p); k++)
				;
		}
}

static int by_size(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	return (x > y) - (x < y);
}

// What can be seen of rings that may stand still.
static void tell(const struct run *r)
{
	for (unsigned i = 0; i < 2; i++)
		for (unsigned q = 0; q < 2 * r->pairs; q++) {
			const struct vq *v = &r->lan.fe[i]->ring[q].vq;
			const struct way *w = &r->way[i][q / 2];
			printf("guest %u ring %u: %u out", i, q, vq_out(v));
			if (!v->packed)
				printf(", avail %u, used.idx %u, taken %u, avail_event %u, used.flags %u", v->avail[1], v->used[1],
				       v->last_used, *v->avail_event, v->used[0]);
			printf("; it was sent %llu, heard %llu\n", (unsigned long long)w->sent, (unsigned long long)w->next);
		}
}

static bool judge(struct run *r)
{
	uint64_t lost = 0, repeated = 0, most = 0;
	for (unsigned to = 0; to < 2; to++)
		for (unsigned p = 0; p < r->pairs; p++) {
			struct way *w = &r->way[to][p];
			w->lost += w->sent - w->next;
			lost += w->lost;
			repeated += w->repeated;
			most = w->repeated > most ? w->repeated : most;
		}
	qsort(r->gap, r->n_gaps, sizeof(r->gap[0]), by_size);
	unsigned p50 = r->n_gaps ? r->gap[r->n_gaps / 2] : 0, p99 = r->n_gaps ? r->gap[(r->n_gaps * 99) / 100] : 0;
	printf("keeper_traffic: %u kills, %llu frames, %llu missing, %llu repeated (at most %llu on one ring); "
	       "gap p50 %u us, p99 %u us, longest %u us%s%s\n",
	       r->done, (unsigned long long)r->frames, (unsigned long long)lost, (unsigned long long)repeated,
	       (unsigned long long)most, p50, p99, r->n_gaps ? r->gap[r->n_gaps - 1] : 0, r->wrong ? "; " : "",
	       r->wrong ? r->wrong : "");
	if (r->killed_us)
		printf("keeper_traffic: no frame moved within 10 s after kill %u\n", r->done);
	if (r->wrong != NULL || lost)
		tell(r);
	return r->wrong == NULL && lost == 0 && most <= (uint64_t)BATCH * r->done && r->done == r->kills && !r->killed_us;
}

static bool talk(struct run *r)
{
	pthread_t t;
	if (pthread_create(&t, NULL, killer, r) != 0)
		return false;
	for (unsigned k = 0; !r->over && r->wrong == NULL; k++) {
		pump(r, true);
		if (k % 64 == 0 && !connected(r))
			r->wrong = "a connection was lost";
	}
	r->over = true;
	pthread_join(t, NULL);
	uint64_t end = clock_boot_us() + 2000000;
	while (clock_boot_us() < end && r->wrong == NULL)
		pump(r, false);
	for (unsigned i = 0; i < 2 && r->wrong == NULL; i++)
		if (fe_barrier(r->lan.fe[i]) != FE_OK)
			r->wrong = r->lan.fe[i]->err_text;
	return judge(r);
}

int main(int argc, char **argv)
{
	static const char *const args[] = {"--port", "vhost-user,id=a,packed=on", "--port", "vhost-user,id=a2,packed=on", NULL};
	static struct run r = {.pairs = 1, .kills = 100, .seed = 1};
	struct fe_conf conf = {.ring_size = 256};
	bool caught = false, log = false;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			conf.packed = true;
		else if (strcmp(argv[i], "--log") == 0)
			log = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			r.kills = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			r.seed = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			r.pairs = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || r.kills > MAX_KILLS || r.pairs < 1 || r.pairs > MAX_PAIRS) {
		fprintf(stderr, "usage: keeper_traffic [--kills N] [--seed S] [--packed] [--pairs N] [--log] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	conf.pairs = r.pairs;
	const struct fe_conf *confs[2] = {&conf, &conf};
	int log_fd = memfd_create("log", MFD_CLOEXEC);
	if (!daemon_start(&r.bed.d, argv[i], args) || !lan_open(&r.lan, &r.bed, 2, confs, NULL, 0) || log_fd < 0 ||
	    ftruncate(log_fd, 1 << 20) != 0 || (log && fe_log_start(r.lan.fe[0], log_fd, 1 << 20, 0) != FE_OK)) {
		printf("keeper_traffic: %s\n", r.bed.failed[0] ? r.bed.failed : "it could not be started");
		return 3;
	}
	bool well = talk(&r);
	lan_close(&r.lan);
	if (!daemon_stop(&r.bed.d, 5000)) {
		printf("keeper_traffic: the daemon did not end by itself\n");
		well = false;
	}
	if (well == caught)
		daemon_tell(&r.bed.d);
	daemon_clean(&r.bed.d);
	return well == !caught ? 0 : 1;
}
