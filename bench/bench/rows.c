#include "bench/rows.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "bench/judge.h"

// Where a process has its memory decides about caches, by some per cent: processes and guests are made anew this often, so that
// the spread of a run holds that, too. With fewer lives all of them may lie on one side by chance, and the interval with them.
#define LIVES 6

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

void rows_catch_interrupts(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool rows_interrupted(void)
{
	return caught != 0;
}

void row_cannot(json_t *into, const struct backend *b, const char *why)
{
	json_t *all = json_object_get(into, "cannot");
	if (!all)
		json_object_set_new(into, "cannot", all = json_object());
	json_object_set_new(all, b->spec.name, json_string(why));
	progress("  %s takes no part: %s", b->spec.name, why);
}

// One stretch of a subject into the row's samples.
static bool stretch(const struct bench *b, struct subject *s, const struct row *r, unsigned pair, int log, json_t *samples)
{
	if (!measure_is_open(s))
		return false;
	json_t *j = measure_stretch(s, r, b->opts, b->opts->duration, log);
	if (!j)
		return false;
	json_object_set_new(j, "pair", json_integer(pair));
	json_array_append_new(samples, j);
	return true;
}

// Whoever comes second finds other caches and another heap: the order changes from pair to pair, A B B A.
static unsigned in_turn(const struct bench *b, unsigned pair, unsigned i)
{
	return pair % 2 ? b->n - 1 - i : i;
}

static void turn(const struct bench *b, struct subject *s, const struct row *r, unsigned pair, json_t *into)
{
	json_t *samples = json_object_get(into, "samples");
	for (unsigned k = 0; k < b->n && !caught; k++) {
		unsigned i = in_turn(b, pair, k);
		bool ok = measure_is_open(&s[i]) && stretch(b, &s[i], r, pair, r->way == ROW_LOG ? 0 : -1, samples);
		if (ok && r->way == ROW_LOG)
			ok = stretch(b, &s[i], r, pair, 1, samples);
		if (!ok && measure_is_open(&s[i]) && !caught) {
			row_cannot(into, s[i].b, s[i].cannot);
			measure_close(&s[i]);
		}
	}
}

static void set_rate(const struct bench *b, struct subject *s, const json_t *row)
{
	double rate = json_number_value(json_object_get(row, "offered"));
	for (unsigned i = 0; i < b->n; i++)
		if (s[i].load)
			load_rate(s[i].load, (uint64_t)rate);
}

// Equal load: half of what the slower one manages.
static void pace(const struct bench *b, struct subject *s, const struct row *r, json_t *into)
{
	double slowest = 0;
	for (unsigned i = 0; i < b->n; i++) {
		if (!s[i].load)
			continue;
		load_rate(s[i].load, 0);
		json_t *j = measure_stretch(&s[i], r, b->opts, 0.2, -1);
		if (j && (slowest <= 0 || s[i].rate < slowest))
			slowest = s[i].rate;
		json_decref(j);
	}
	json_object_set_new(into, "offered", json_real(slowest / 2));
	set_rate(b, s, into);
}

static unsigned taking_part(const struct bench *b, const struct subject *s)
{
	unsigned n = 0;
	for (unsigned i = 0; i < b->n; i++)
		n += measure_is_open(&s[i]);
	return n;
}

static void open_all(struct bench *b, struct subject *s, const struct row *r, unsigned pair, json_t *into)
{
	for (unsigned k = 0; k < b->n && !caught; k++) {
		unsigned i = in_turn(b, pair, k);
		s[i].b = &b->backend[i];
		if (s[i].cannot[0])
			continue;
		if (measure_is_open(&s[i]))
			measure_close(&s[i]);
		if (!measure_open(&s[i], r, b->opts)) {
			row_cannot(into, s[i].b, s[i].cannot);
			backend_stop(s[i].b);
		}
	}
}

static void pairs_run(struct bench *b, const struct row *r, json_t *into)
{
	struct subject s[OPTS_BACKENDS];
	memset(s, 0, sizeof(s));
	open_all(b, s, r, 0, into);
	if (r->way == ROW_PACED)
		pace(b, s, r, into);
	// pairs that the placement spoilt are taken again, up to as many
	unsigned want = b->opts->trials, life = want < 2 * LIVES ? 1 : want / LIVES;
	for (unsigned pair = 0; pair < 2 * want && taking_part(b, s) && !caught; pair++) {
		if (pair && pair % life == 0) {
			open_all(b, s, r, pair, into);
			set_rate(b, s, into);
		}
		turn(b, s, r, pair, into);
		if (pair + 1 >= want && (taking_part(b, s) < 2 || judge_pairs(into) >= want))
			break;
		if (taking_part(b, s) < 2 && b->n > 1 && pair + 1 >= 3)
			break; // nothing to compare with: three stretches tell the figure
	}
	for (unsigned i = 0; i < b->n; i++)
		if (measure_is_open(&s[i]))
			measure_close(&s[i]);
}

bool rows_run(struct bench *b, const struct row *r, json_t *into)
{
	json_object_set_new(into, "samples", json_array());
	switch (r->way) {
	case ROW_PAIRS:
	case ROW_PACED:
	case ROW_LOG:
	case ROW_LATENCY:
		pairs_run(b, r, into);
		break;
	case ROW_HANDSHAKE:
		special_handshake(b, r, into);
		break;
	case ROW_ACK:
		special_ack(b, r, into);
		break;
	case ROW_IDLE:
		special_idle(b, r, into);
		break;
	case ROW_RECOVERY:
		special_recovery(b, r, into);
		break;
	case ROW_STOP:
		special_stop(b, r, into);
		break;
	case ROW_SEARCH:
		search_run(b, r, into);
		break;
	}
	return !caught;
}
