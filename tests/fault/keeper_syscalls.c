// The worker dies before and after every system call that it makes in the course of a session (handshake, rings started, traffic, log on,
// switch-over, started again), and at every one that its successor makes while it takes over. Nobody sees it: what holds is what holds in
// keeper_points. A dry run counts the calls; each step of a session dies at one of its calls, so a session is as many kills. How many calls a
// successor makes until it is done with the message depends on the step (which rings run, what the store has), and a little on what else
// happens: what counts is the least that was seen at a step, and of these the most.
//
//   keeper_syscalls [--packed] [--pairs N] [--seconds S] [--seed N] [--full] [--caught] VRINGD
//
// Wants a build with crash points, for what they count; none is planned. --seconds: as many sessions as fit, at calls that are drawn; --full:
// until each call was died at; --caught: a build with a seeded bug, which must be seen. Exit status 77: it may not trace (needs root).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"
#include "points.h"
#include "tracer.h"

#define STOPS 4096u
#define TELL_US UINT64_C(20000000)
#define IDLE_SESSIONS 8u // that hit nothing new: what is left was not done again by any worker

static struct {
	struct points p;
	struct tracer *tracer;
	bool full, may, adopts, alone; // adopts: this session is about taking over; alone: by a process that did not stand by
	uint32_t seed;
	uint32_t stops[POINTS_STEPS], reach[2][POINTS_STEPS]; // counted: of each step, of taking over at it (by alone); 0: not yet
	bool hit[POINTS_STEPS][STOPS], hit_taking[2][STOPS];
	uint32_t turn[POINTS_STEPS], turn_taking[2][POINTS_STEPS]; // tried last
	uint32_t first, second, drawn; // drawn: the seed of all
	unsigned sessions, deaths, fresh;
} t;

static uint32_t draw(uint32_t n)
{
	t.seed = t.seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)t.seed * n >> 32);
}

// One that was not hit yet, of 1 to n: any, or in turn: one that is not met, since calls are not always the same ones, would
// else be tried again and again, and none behind it.
static uint32_t pick(const bool *hit, uint32_t n, uint32_t *turn)
{
	if (n == 0)
		return 0;
	uint32_t from = t.full ? *turn : draw(n);
	for (uint32_t i = 0; i < n; i++)
		if (!hit[(from + i) % n + 1]) {
			*turn = (from + i) % n + 1;
			return *turn;
		}
	return 0;
}

// The same of taking over, downwards: what is far along only few steps reach.
static uint32_t pick_taking(const bool *hit, uint32_t n, uint32_t *turn)
{
	uint32_t from = t.full && *turn <= n ? *turn : draw(n + 1);
	for (uint32_t i = 1; i <= n; i++) {
		uint32_t k = (from + n - i) % n + 1;
		if (!hit[k]) {
			*turn = k - 1;
			return k;
		}
	}
	return 0;
}

static uint32_t taking(unsigned alone)
{
	uint32_t most = 0;
	for (unsigned i = 0; i < t.p.n_steps; i++)
		most = t.reach[alone][i] > most ? t.reach[alone][i] : most;
	return most;
}

static uint32_t least(uint32_t before, uint32_t now)
{
	now = now < STOPS - 1 ? now : STOPS - 1;
	return before == 0 || now < before ? now : before;
}

// Worker 0 was not watched from its first call on, nor was who stood by for it; those after them are.
static bool started(struct points *p)
{
	pid_t old = -1;
	for (unsigned i = 0; i < 4000 && (old = daemon_worker(&p->bed.d)) <= 0; i++)
		daemon_nap(1);
	free(points_state(p)); // it serves
	t.tracer = NULL;
	bool traces = tracer_start(&t.tracer, p->bed.d.pid);
	t.may = t.may || traces || errno != EPERM;
	if (!traces)
		return points_fail(p, "tracing: %s", strerror(errno));
	tracer_arm(t.tracer, 0, 0, false);
	for (unsigned i = 0; i < 20 && t.tracer->present != old; i++) {
		kill_one(old, SIGKILL);
		daemon_nap(20);
		free(points_state(p)); // the next one serves, or stands by no more
		old = daemon_worker(&p->bed.d);
	}
	return t.tracer->present == old || points_fail(p, "the tracer sees no worker");
}

static void begin(struct points *p, struct step *s)
{
	t.first = t.second = 0;
	if (!p->dry) {
		uint32_t n = t.stops[p->at];
		t.first = pick(t.hit[p->at], n, &t.turn[p->at]);
		t.first = t.first == 0 && t.adopts && n ? 1 : t.first;
		if (t.adopts && t.first != 0)
			t.second = pick_taking(t.hit_taking[t.alone], t.reach[t.alone][p->at], &t.turn_taking[t.alone][p->at]);
	}
	p->deaths = (t.first != 0) + (t.second != 0);
	if (t.first != 0 && s->kind == STEP_MESSAGE && p->live)
		frames_silent(p);
	tracer_arm(t.tracer, t.first, t.second, t.alone);
}

static void end(struct points *p, struct step *s)
{
	(void)s;
	uint64_t limit = clock_boot_us() + 150000;
	if (t.tracer->fired == 1) // it is done with the message
		t.reach[t.alone][p->at] = least(t.reach[t.alone][p->at], t.tracer->life);
	if (p->dry) {
		usleep(3000); // what it does after the answer
		t.stops[p->at] = least(0, t.tracer->stops);
		return;
	}
	while (t.tracer->fired < p->deaths && clock_boot_us() < limit) // calls are not always the same ones
		usleep(100);
	uint32_t fired = t.tracer->fired;
	tracer_arm(t.tracer, 0, 0, false);
	if (fired >= 1 && !t.hit[p->at][t.first]) {
		t.hit[p->at][t.first] = true;
		t.fresh++;
	}
	if (fired >= 2 && !t.hit_taking[t.alone][t.second]) {
		t.hit_taking[t.alone][t.second] = true;
		t.fresh++;
	}
	t.deaths += fired;
	if (fired == 0 && p->silent)
		for (unsigned i = 0; i < 2; i++)
			vq_kick(p->lan.net[i][0].tx);
}

static bool session(bool dry, bool adopts, bool alone)
{
	t.adopts = adopts;
	t.alone = alone;
	t.fresh = 0;
	bool ok = points_run(&t.p, dry);
	tracer_end(t.tracer);
	t.tracer = NULL;
	t.sessions += !dry;
	return ok;
}

static void count(unsigned *did, unsigned *can, unsigned did_taking[2])
{
	*did = *can = did_taking[0] = did_taking[1] = 0;
	for (unsigned i = 0; i < t.p.n_steps; i++) {
		*can += t.stops[i];
		for (uint32_t k = 1; k <= t.stops[i]; k++)
			*did += t.hit[i][k];
	}
	for (unsigned a = 0; a < 2; a++)
		for (uint32_t k = 1; k <= taking(a); k++)
			did_taking[a] += t.hit_taking[a][k];
}

static unsigned beyond(void) // what only some successors came to
{
	unsigned n = 0;
	for (unsigned a = 0; a < 2; a++)
		for (uint32_t k = taking(a) + 1; k < STOPS; k++)
			n += t.hit_taking[a][k];
	return n;
}

// All of them take the better part of an hour.
static void tell(void)
{
	unsigned did, can, did_taking[2];
	count(&did, &can, did_taking);
	fprintf(stderr, "keeper_syscalls: %u sessions, %u kills; %u of %u instants, of taking over %u of %u and %u of %u\n", t.sessions, t.deaths, did,
		can, did_taking[0], taking(0), did_taking[1], taking(1));
}

// The four kinds of session take turns, of --full those that have something left to meet. False: none has.
static bool next_kind(unsigned *kind)
{
	unsigned did, can, did_taking[2];
	count(&did, &can, did_taking);
	for (unsigned i = 0; i < 4; i++) {
		*kind = (*kind + 1) % 4;
		if (!t.full || t.sessions < 4 || (*kind < 2 ? did < can : did_taking[*kind & 1] < taking(*kind & 1)))
			return true;
	}
	return false;
}

static bool all(unsigned seconds)
{
	uint64_t end_us = clock_boot_us() + seconds * UINT64_C(1000000), told_us = clock_boot_us();
	unsigned kind = 3;
	bool ok = true;
	for (unsigned idle = 0; ok && (t.full ? idle < IDLE_SESSIONS : clock_boot_us() < end_us); idle = t.fresh ? 0 : idle + 1) {
		if (!next_kind(&kind))
			break;
		ok = session(false, kind >= 2, kind % 2 == 1);
		if (t.full && clock_boot_us() >= told_us + TELL_US) {
			tell();
			told_us = clock_boot_us();
		}
	}
	return ok;
}

int main(int argc, char **argv)
{
	unsigned seconds = 30, did, can, did_taking[2];
	bool caught = false;
	struct points *p = &t.p;
	int i = 1;
	p->conf = (struct session_conf){.pairs = 1, .log = true};
	t.seed = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			p->conf.packed = true;
		else if (strcmp(argv[i], "--full") == 0)
			t.full = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			p->conf.pairs = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			seconds = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			t.seed = (uint32_t)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || p->conf.pairs < 1 || p->conf.pairs > POINTS_PAIRS) {
		fprintf(stderr, "usage: keeper_syscalls [--packed] [--pairs N] [--seconds S] [--seed N] [--full] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	p->bin = argv[i];
	p->started = started;
	p->begin = begin;
	p->end = end;
	p->dry_too = true;
	t.drawn = t.seed;
	bool ok = session(true, false, false) && all(seconds);
	count(&did, &can, did_taking);
	if (!ok)
		printf("keeper_syscalls: session %u%s: %s\n", t.sessions, t.adopts ? " (taking over)" : "", p->bed.failed);
	printf("keeper_syscalls: %s rings, seed %u: %u sessions of %u steps, %u kills; before and after %u system calls of the session %u of %u "
	       "instants, of taking over %u of %u, of a start and taking over %u of %u, and %u beyond\n",
	       p->conf.packed ? "packed" : "split", t.drawn, t.sessions, p->n_steps, t.deaths, can / 2, did, can, did_taking[0], taking(0),
	       did_taking[1], taking(1), beyond());
	points_free(p);
	return !t.may ? 77 : ok != caught && did != 0 ? 0 : 1;
}
