// Every named crash point x every message and bout of traffic of a session: the worker dies exactly there, also twice and three
// times in a row, and nobody sees it. Wants a build with crash points.
//
//   keeper_points [--pairs N] [--log] [--packed] [--acks] [--full] [--only N] [--caught] VRINGD
//
// --full: each pair of points, and not only each point; --only: that run alone; --caught: a build with a seeded bug, which must be seen.
// Exit status 0: as expected; 1: not; 3: could not be run.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "points.h"
#include "wire/vu_table.h"

#define MOST 4u
#define SELDOM 7u

static const enum crash_point message_points[] = {CRASH_msg_taken,   CRASH_msg_planned, CRASH_msg_committed,
						  CRASH_msg_applied, CRASH_msg_done,    CRASH_keep_stored,
						  CRASH_keep_sent,   CRASH_keep_got_done, CRASH_keep_replied};
static const enum crash_point adopt_points[] = {CRASH_adopt_told,   CRASH_adopt_opened, CRASH_adopt_built,
						CRASH_adopt_leased, CRASH_adopt_logged, CRASH_adopt_run};
static const enum crash_point frame_points[] = {CRASH_frame_copied,  CRASH_frame_filled,   CRASH_frame_logged,   CRASH_frame_shown,
						CRASH_frame_settled, CRASH_frame_returned, CRASH_ledger_saved, CRASH_ledger_written,
						CRASH_ledger_filled, CRASH_ledger_shown};
// A message that was not done when its worker died is done once more, and passes these.
static const enum crash_point again[] = {CRASH_msg_done, CRASH_keep_got_done, CRASH_keep_replied};
// It was not even committed before one of these.
static const enum crash_point early[] = {CRASH_msg_taken, CRASH_msg_planned, CRASH_keep_stored};

enum combination {
	COMBINE_ONE, // the point
	COMBINE_ADOPT, // any point, then the point in adoption
	COMBINE_ADOPT_ROW, // any point, then three points in adoption, one worker after the other; the first of them is the point
	COMBINE_AGAIN, // any point before the message was done, then one after that
	COMBINE_LOST_TAKEN, // before the commit, then any
	COMBINE_FILLED, // committed, then where the log was filled for want of knowledge
	COMBINE_SELDOM, // any point, in one step of some: what a worker did itself is taken over, and not what it took over
	COMBINE_UNDONE, // in the middle of a batch of a packed ring, then where that is taken back
};

struct run {
	enum combination how;
	enum crash_point point;
	unsigned turn; // which of "any" meets which step
};

static struct {
	struct points p;
	struct run run;
	bool full;
	enum crash_point planned[MOST];
	unsigned first; // number of the pass at which the first one is to be met
	unsigned n;
	bool possible[CRASH_N][POINTS_STEPS], hit[CRASH_N][POINTS_STEPS];
	unsigned deaths, runs;
} t;

#define PICK(list, i) (list)[(i) % ARRAY_LEN(list)]

static bool passed(const struct step *s, enum crash_point c)
{
	return s->passes[c] != 0;
}

// The i-th of the points that this bout of traffic passes, round and round.
static enum crash_point frame_point(const struct step *s, unsigned i)
{
	enum crash_point can[ARRAY_LEN(frame_points)];
	unsigned n = 0;
	for (unsigned k = 0; k < ARRAY_LEN(frame_points); k++)
		if (passed(s, frame_points[k]))
			can[n++] = frame_points[k];
	return n ? can[i % n] : CRASH_frame_copied;
}

static bool fills_log(const struct points *p, const struct step *s)
{
	return p->lan.fe[0]->log_fd >= 0 && p->live && strcmp(s->name, "SET_VRING_ADDR") == 0;
}

// What shall befall step number i.
static unsigned plan(const struct points *p, const struct step *s, enum crash_point out[MOST])
{
	const struct run *r = &t.run;
	unsigned i = p->at + r->turn;
	bool frames = s->kind == STEP_FRAMES;
	enum crash_point any = frames ? frame_point(s, p->at + t.runs) : PICK(message_points, i);
	out[0] = any;
	switch (r->how) {
	case COMBINE_ONE:
		if (!frames)
			out[0] = r->point;
		return 1;
	case COMBINE_ADOPT:
		out[1] = r->point;
		return 2;
	case COMBINE_ADOPT_ROW:
		for (unsigned k = 0; k < 3; k++)
			out[1 + k] = (enum crash_point)(r->point + k); // of any three the first or the last may be met first
		return 4;
	case COMBINE_AGAIN:
		if (frames)
			return 1;
		out[0] = PICK(message_points, i % 4);
		out[1] = PICK(again, i / 4);
		return 2;
	case COMBINE_LOST_TAKEN:
		if (frames)
			return 1;
		out[0] = PICK(early, i);
		out[1] = PICK(message_points, i / ARRAY_LEN(early) % 5);
		return 2;
	case COMBINE_FILLED:
		out[0] = CRASH_msg_committed;
		out[1] = CRASH_log_filled;
		return fills_log(p, s) ? 2 : 0;
	case COMBINE_SELDOM:
		if (!frames)
			out[0] = PICK(message_points, p->at / SELDOM + r->turn);
		return (p->at + r->turn) % SELDOM == 0;
	case COMBINE_UNDONE:
		out[0] = PICK(((const enum crash_point[]){CRASH_ledger_saved, CRASH_ledger_written, CRASH_ledger_filled}), i);
		out[1] = CRASH_ledger_undone;
		return frames && passed(s, out[0]) ? 2 : 0;
	}
	return 0;
}

static void begin(struct points *p, struct step *s)
{
	unsigned nth[MOST] = {1, 1, 1, 1};
	t.n = p->deaths = plan(p, s, t.planned);
	if (t.n != 0 && s->kind == STEP_FRAMES) // any frame of a batch, but for those that come when they like
		nth[0] = 1 + (p->at + t.run.turn + t.runs) % (s->passes[t.planned[0]] > s->foreign ? s->passes[t.planned[0]] - s->foreign : 1);
	if (t.n != 0 && s->kind == STEP_MESSAGE && p->live && p->at % 2 == 0)
		frames_silent(p);
	for (unsigned q = 0; q < p->lan.fe[0]->rings; q++)
		for (unsigned i = 0; i < 2; i++)
			fe_take_calls(p->lan.fe[i], q);
	t.first = nth[0];
	crash_arm(p->page, t.planned, nth, t.n);
}

// Each ring that went on is rung once by each worker that took it over: somebody may have been told by the dead one, or not.
static void look_for_calls(struct points *p)
{
	for (unsigned i = 0; i < 2; i++)
		for (unsigned q = 0; q < p->lan.fe[i]->rings; q++) {
			uint64_t n = fe_take_calls(p->lan.fe[i], q), end = clock_boot_us() + 2000000;
			while (n == 0 && clock_boot_us() < end) {
				usleep(200);
				n = fe_take_calls(p->lan.fe[i], q);
			}
			if (n == 0 || n > p->deaths + 2)
				points_fail(p, "guest %u ring %u: %llu calls after %u deaths", i, q, (unsigned long long)n, p->deaths);
		}
}

static void end(struct points *p, struct step *s)
{
	uint64_t limit = clock_boot_us() + 4000000;
	while (p->page->fired != t.n && clock_boot_us() < limit)
		usleep(50);
	unsigned fired = p->page->fired;
	crash_arm(p->page, NULL, NULL, 0);
	t.deaths += fired;
	for (unsigned i = 0; i < fired && i < t.n; i++)
		t.hit[t.planned[i]][p->at] = true;
	if (fired < t.n) {
		enum crash_point c = t.planned[fired];
		points_fail(p, "%s%s%s: %u passes, its death was to be number %u, and there are %u without one", fired ? crash_name(t.planned[fired - 1]) : "",
			    fired ? ", then " : "", crash_name(c), p->page->passes[c] - p->cur.passes[c], fired ? 1 : t.first, s->passes[c]);
	}
	unsigned taken = p->page->passes[CRASH_msg_taken] - p->cur.passes[CRASH_msg_taken];
	if (t.n == 1 && p->cur.names && (t.planned[0] == CRASH_msg_committed || t.planned[0] == CRASH_msg_applied) && taken != 1)
		points_fail(p, "it was committed, and done again: taken %u times, %u deaths", taken, fired);
	if (t.n != 0 && s->kind == STEP_MESSAGE && p->live && !p->silent)
		look_for_calls(p);
}

static bool is_frame(unsigned c)
{
	for (unsigned i = 0; i < ARRAY_LEN(frame_points); i++)
		if (frame_points[i] == c)
			return true;
	return false;
}

static void possible(void)
{
	const struct points *p = &t.p;
	for (unsigned i = 0; i < p->n_steps; i++) {
		for (unsigned c = 0; c < CRASH_N; c++) // frames beside a message are the switch's own
			t.possible[c][i] = passed(&p->step[i], (enum crash_point)c) && (is_frame(c) == (p->step[i].kind == STEP_FRAMES));
		for (unsigned c = 0; c < ARRAY_LEN(adopt_points); c++)
			t.possible[adopt_points[c]][i] = true;
	}
}

static bool one(enum combination how, enum crash_point point, unsigned turn, unsigned only)
{
	t.run = (struct run){how, point, turn};
	t.runs++;
	if (only != 0 && only != t.runs)
		return true;
	bool ok = points_run(&t.p, false);
	if (!ok)
		printf("keeper_points: run %u (combination %u, %s, turn %u): %s\n", t.runs, how, crash_name(point), turn, t.p.bed.failed);
	return ok;
}

// False: a run saw something.
static bool all(unsigned only)
{
	unsigned turns = t.full ? ARRAY_LEN(message_points) : 1;
	bool ok = true;
	static_assert(CRASH_adopt_run == CRASH_adopt_told + 5, "two rows of three");
	for (unsigned i = 0; i < ARRAY_LEN(message_points) && ok; i++)
		ok = one(COMBINE_ONE, message_points[i], i, only);
	for (unsigned k = 0; k < turns && ok; k++)
		ok = one(COMBINE_ADOPT_ROW, CRASH_adopt_told, k, only) && one(COMBINE_ADOPT_ROW, CRASH_adopt_built, k + 4, only);
	for (unsigned k = 0; k < turns && ok && t.full; k++)
		for (unsigned i = 0; i < ARRAY_LEN(adopt_points) && ok; i++)
			ok = one(COMBINE_ADOPT, adopt_points[i], i + k, only);
	for (unsigned k = 0; k < turns && ok && (t.full || t.p.conf.pairs == 1); k++)
		ok = one(COMBINE_AGAIN, CRASH_msg_done, k, only) && one(COMBINE_LOST_TAKEN, CRASH_msg_taken, k, only);
	for (unsigned k = 0; k < SELDOM * turns && ok; k++)
		ok = one(COMBINE_SELDOM, CRASH_msg_taken, k, only);
	if (ok && t.p.conf.log)
		ok = one(COMBINE_FILLED, CRASH_log_filled, 0, only);
	for (unsigned k = 0; k < 3 && ok && t.p.conf.packed; k++)
		ok = one(COMBINE_UNDONE, CRASH_ledger_undone, k, only);
	return ok;
}

// Points x steps: how many there are, how many were died at. False: not all.
static bool report(void)
{
	unsigned can = 0, did = 0;
	for (unsigned c = 0; c < CRASH_N; c++) {
		unsigned a = 0, b = 0;
		for (unsigned i = 0; i < t.p.n_steps; i++) {
			a += t.possible[c][i] || t.hit[c][i];
			b += t.hit[c][i];
		}
		if (a != 0)
			printf("  %-15s %3u of %3u\n", crash_name((enum crash_point)c), b, a);
		can += a;
		did += b;
	}
	printf("keeper_points: %u pairs, %s rings, logging %s: %u runs of %u steps, %u deaths; %u of %u points x steps hit (%.1f %%); %llu "
	       "frames, %llu repeated\n",
	       t.p.conf.pairs, t.p.conf.packed ? "packed" : "split", t.p.conf.log ? "on" : "off", t.runs, t.p.n_steps, t.deaths, did, can,
	       can ? 100.0 * did / can : 0, (unsigned long long)t.p.frames, (unsigned long long)t.p.repeated);
	return did == can;
}

int main(int argc, char **argv)
{
	bool caught = false;
	unsigned only = 0;
	int i = 1;
	struct points *p = &t.p;
	p->conf.pairs = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--log") == 0)
			p->conf.log = true;
		else if (strcmp(argv[i], "--packed") == 0)
			p->conf.packed = true;
		else if (strcmp(argv[i], "--acks") == 0)
			p->conf.acks = true;
		else if (strcmp(argv[i], "--full") == 0)
			t.full = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--pairs") == 0 && i + 1 < argc)
			p->conf.pairs = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || p->conf.pairs < 1 || p->conf.pairs > POINTS_PAIRS) {
		fprintf(stderr, "usage: keeper_points [--pairs N] [--log] [--packed] [--acks] [--full] [--only N] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	p->bin = argv[i];
	p->begin = begin;
	p->end = end;
	bool ok = points_run(p, true);
	if (!ok) {
		printf("keeper_points: the session without a death: %s\n", p->bed.failed);
		points_free(p);
		return 3;
	}
	possible();
	bool well = all(only);
	bool every = report();
	points_free(p);
	if (caught)
		return well ? 1 : 0;
	return well && (every || only != 0) ? 0 : 1;
}
