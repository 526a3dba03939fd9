// Coming back after a kill. A back end that has a worker loses that, and its guests' connections stay; any other is killed, started again, and
// its guests connect again.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"
#include "base/progress.h"
#include "bench/guest.h"
#include "bench/rows.h"
#include "bench/stat.h"

#define LIMIT_US 10000000 // until a frame came through again
#define LEAD_US 30000 // of traffic before the kill
#define LEAD_SPREAD_US 100000
#define SETTLE_US 100000 // of traffic after it

struct pair { // two guests, and what is killed under them
	struct guest g[2];
	bool busy; // both send as much as goes; else one frame at a time is on its way, and none before a kill
	struct backend *be;
	struct need need;
	struct rng rng;
};

struct outcome { // microseconds since the kill
	uint64_t died_us, first_us, listening_us;
};

static bool failed(char *why, unsigned size, const char *what)
{
	snprintf(why, size, "%s", what);
	return false;
}

// Frames from a to b: those that came are thrown away and counted, then as many are sent as there is room for (busy) or one, if none is out.
static unsigned turn(struct guest *a, struct guest *b, bool busy)
{
	struct net_frame f;
	uint8_t *to;
	uint32_t slot;
	unsigned came = 0;
	while (net_rx(&b->net, &f)) {
		net_rx_release(&b->net);
		came++;
	}
	if (came)
		net_rx_post(&b->net);
	net_tx_reap(&a->net);
	while ((busy || a->net.tx_n_free == a->net.tx_slots) && (to = net_tx_slot(&a->net, &slot)) != NULL) {
		frame_fill(to, 64, b->mac, a->mac, 1, 0, true);
		net_tx_put(&a->net, slot, 64, NULL);
	}
	net_tx_flush(&a->net);
	return came;
}

static unsigned turns(struct pair *p)
{
	unsigned came = turn(&p->g[0], &p->g[1], p->busy);
	if (p->busy)
		came += turn(&p->g[1], &p->g[0], true);
	else
		usleep(20); // the CPU is somebody else's to come back on
	return came;
}

static void talk(struct pair *p, uint64_t us)
{
	if (!p->busy)
		usleep((useconds_t)us);
	for (uint64_t end = clock_boot_us() + us; p->busy && clock_boot_us() < end;)
		turns(p);
}

static bool until_frame(struct pair *p)
{
	for (uint64_t end = clock_boot_us() + LIMIT_US; clock_boot_us() < end;)
		if (turns(p))
			return true;
	return false;
}

// The worker dies; what it had delivered by its death is taken, and the next frame is its successor's.
static bool kill_worker(struct pair *p, pid_t worker, struct outcome *out, char *why, unsigned size)
{
	int pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
	struct pollfd death = { .fd = pidfd, .events = POLLIN };
	if (pidfd < 0)
		return failed(why, size, "the worker can't be watched");
	uint64_t from = clock_boot_us();
	bool ok = kill_one(worker, SIGKILL) == 0;
	while (ok && poll(&death, 1, 0) == 0 && clock_boot_us() - from < LIMIT_US)
		turns(p);
	out->died_us = clock_boot_us() - from;
	turns(p);
	close(pidfd);
	if (!ok || !until_frame(p))
		return failed(why, size, "no frame came through within 10 s after the kill");
	out->first_us = clock_boot_us() - from;
	return true;
}

static bool kill_all(struct pair *p, struct outcome *out, char *why, unsigned size)
{
	struct why w = { "" };
	uint64_t from = clock_boot_us();
	if (backend_kill_again(p->be, &p->need, &w) != OK)
		return failed(why, size, w.text);
	out->listening_us = clock_boot_us() - from;
	for (unsigned k = 0; k < 2; k++)
		if (!guest_again(&p->g[k], p->be->sock[k], why, size))
			return false;
	if (!until_frame(p))
		return failed(why, size, "no frame came through within 10 s after the kill");
	out->first_us = clock_boot_us() - from;
	return true;
}

static bool kill_once(struct pair *p, uint64_t memory, struct outcome *out, char *why, unsigned size)
{
	*out = (struct outcome){ 0 };
	if (memory && !guest_touch_all(&p->g[0], &p->g[1]))
		return failed(why, size, "frames from all over the memory do not get through");
	if (!until_frame(p))
		return failed(why, size, "no frame came through before the kill");
	talk(p, LEAD_US + rng_next(&p->rng) % LEAD_SPREAD_US);
	pid_t worker = backend_worker(p->be);
	bool ok = worker ? kill_worker(p, worker, out, why, size) : kill_all(p, out, why, size);
	if (ok)
		talk(p, SETTLE_US);
	return ok;
}

// Of guest memory, what the process that serves it has mapped by now.
static double mapped_mib(const struct backend *be)
{
	char path[64], line[200];
	unsigned long kb = 0;
	pid_t worker = backend_worker(be);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)(worker ? worker : be->pid));
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssShmem: %lu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return (double)kb / 1024;
}

static void put(const struct bench *b, const struct pair *p, unsigned i, double line, const struct outcome *out, json_t *into)
{
	json_t *j = special_sample(b, p->be, i, line);
	json_object_set_new(j, "ms", json_real((double)out->first_us / 1e3));
	if (out->died_us)
		json_object_set_new(j, "died_ms", json_real((double)out->died_us / 1e3));
	if (out->listening_us)
		json_object_set_new(j, "listening_ms", json_real((double)out->listening_us / 1e3));
	json_array_append_new(json_object_get(into, "samples"), j);
}

static void recover(struct bench *b, struct backend *be, const struct row *r, json_t *into)
{
	struct pair p = { .busy = r->busy, .be = be, .need = { .ports = 2, .pairs = 1 }, .rng = { .s = b->opts->seed } };
	char why[LOAD_WHY] = "";
	uint64_t memory = b->opts->memory_bytes;
	unsigned n = b->opts->kills ? b->opts->kills : b->opts->trials;
	bool ok = guest_open_with(&p.g[0], be->sock[0], 1, memory, why, sizeof(why)) && guest_open(&p.g[1], be->sock[1], 2, why, sizeof(why));
	double mapped = 0;
	for (unsigned i = 0; ok && i < n && !rows_interrupted(); i++) {
		struct outcome out;
		double line = special_line(b);
		if (i == 0 && memory) { // once: is it as it should be?
			ok = guest_touch_all(&p.g[0], &p.g[1]);
			mapped = mapped_mib(be);
			progress("  %s: %.0f of %.0f MiB of guest memory touched", be->spec.name, mapped, (double)memory / (1 << 20));
		}
		ok = ok && kill_once(&p, memory, &out, why, sizeof(why));
		if (ok)
			put(b, &p, i, line, &out, into);
	}
	json_t *touched = json_object_get(into, "touched_mib");
	if (!touched)
		json_object_set_new(into, "touched_mib", touched = json_object());
	json_object_set_new(touched, be->spec.name, json_real(mapped));
	if (!ok)
		row_cannot(into, be, why);
	guest_close(&p.g[0]);
	guest_close(&p.g[1]);
}

void special_recovery(struct bench *b, const struct row *r, json_t *into)
{
	struct need n = { .ports = 2, .pairs = 1 };
	for (unsigned i = 0; i < b->n && !rows_interrupted(); i++) {
		if (special_start(b, i, &n, into))
			recover(b, &b->backend[i], r, into);
		backend_stop(&b->backend[i]);
	}
}
