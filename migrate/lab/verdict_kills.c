#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/verdict.h"

#define REPEATS_A_KILL 64 // a batch that was shown at its destination and not yet at its source
#define CLOCKS_US 3000 // how well the guests' clocks are known

struct times { // of all kills that have one
	uint64_t *us;
	unsigned n;
};

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

uint64_t percentile_us(uint64_t *us, unsigned n, unsigned percent)
{
	if (n == 0)
		return 0;
	qsort(us, n, sizeof(*us), by_size);
	unsigned rank = (n * percent + 99) / 100; // the least that at least so many of 100 do not exceed
	return us[rank ? rank - 1 : 0];
}

static uint64_t gap_of(const struct kill *d)
{
	return d->gap_us;
}

static uint64_t serving_of(const struct kill *d)
{
	return d->serving_us;
}

// From the signal to the datagram that ended the silence, if the silence is the kill's: it began before it, as far as clocks tell.
static uint64_t first_of(const struct kill *d)
{
	bool its = d->gap_end_us > d->at_us && d->gap_end_us - d->gap_us <= d->at_us + CLOCKS_US;
	return its ? d->gap_end_us - d->at_us : 0;
}

// What came after serving: the guests see it, and datagrams go.
static uint64_t rest_of(const struct kill *d)
{
	uint64_t first = first_of(d);
	return d->serving_us && first > d->serving_us ? first - d->serving_us : 0;
}

static struct times gather(const struct results *r, uint64_t (*of)(const struct kill *))
{
	struct times t = { 0 };
	unsigned room = 0;
	for (unsigned i = 0; i < r->n_rounds; i++)
		room += r->round[i].n_kills;
	t.us = calloc(room ? room : 1, sizeof(*t.us));
	for (unsigned i = 0; i < r->n_rounds && t.us; i++)
		for (unsigned k = 0; k < r->round[i].n_kills; k++)
			if (of(&r->round[i].kill[k]))
				t.us[t.n++] = of(&r->round[i].kill[k]);
	return t;
}

static void describe(char *text, size_t size, const char *name, uint64_t *us, unsigned n)
{
	if (n == 0)
		snprintf(text, size, "%snot known", name);
	else
		snprintf(text, size, "%sp50 %.1f, p99 %.1f, max %.1f ms", name, (double)percentile_us(us, n, 50) / 1000,
			(double)percentile_us(us, n, 99) / 1000, (double)percentile_us(us, n, 100) / 1000);
}

static void describe_of(const struct results *r, char *text, size_t size, const char *name, uint64_t (*of)(const struct kill *))
{
	struct times t = gather(r, of);
	describe(text, size, name, t.us, t.n);
	free(t.us);
}

static void judge_percentile(struct results *r, const struct times *t, unsigned percent, uint64_t limit_us)
{
	char name[48], limit[60];
	uint64_t us = percentile_us(t->us, t->n, percent);
	snprintf(name, sizeof(name), "longest gap of a kill, p%u", percent);
	snprintf(limit, sizeof(limit), "%.1f ms", (double)limit_us / 1000);
	verdict_add(r, t->n > 0 && us <= limit_us, name, limit, "%.1f ms (%u kills, longest %.1f ms)", (double)us / 1000, t->n,
		(double)percentile_us(t->us, t->n, 100) / 1000);
}

static void judge_gaps_of_kills(struct results *r)
{
	struct times t = gather(r, gap_of);
	uint64_t calm[CALM_MAX], grace_us = r->opts->gap_ms * UINT64_C(1000);
	char text[100], after[100], rest[100];
	judge_percentile(r, &t, 50, grace_us * 3 / 10);
	judge_percentile(r, &t, 99, grace_us);
	free(t.us);
	memcpy(calm, r->calm_gap_us, sizeof(calm));
	describe(text, sizeof(text), "", calm, r->n_calm);
	verdict_add(r, true, "the same without a kill", "", "%s", text)->state = VERDICT_INFO;
	describe_of(r, text, sizeof(text), "", first_of);
	verdict_add(r, true, "from kill to first datagram", "", "%s", text)->state = VERDICT_INFO;
	describe_of(r, after, sizeof(after), "from death to serving ", serving_of);
	describe_of(r, rest, sizeof(rest), "the rest ", rest_of);
	verdict_add(r, true, "of which", "", "%s; %s", after, rest)->state = VERDICT_INFO;
}

struct count {
	unsigned kills, served, by[3], lost;
	unsigned least_logging, least_between; // of a migration
	char failure[160];
};

static void count_round(struct count *c, const struct round *n)
{
	unsigned logging = 0, between = 0;
	for (unsigned k = 0; k < n->n_kills; k++) {
		const struct kill *d = &n->kill[k];
		c->kills++;
		c->served += !d->failure[0] && d->next;
		c->by[d->signal == SIGSEGV ? 1 : d->signal == SIGABRT ? 2 : 0]++;
		c->lost += d->lost[0] || d->lost[1];
		logging += d->when != KILL_TRAFFIC;
		between += d->when == KILL_BETWEEN;
		if (d->failure[0] && !c->failure[0])
			snprintf(c->failure, sizeof(c->failure), "; kill %u: %.140s", d->number, d->failure);
	}
	if (n->kind != ROUND_MIGRATE)
		return;
	c->least_logging = logging < c->least_logging ? logging : c->least_logging;
	c->least_between = between < c->least_between ? between : c->least_between;
}

static struct count count_kills(const struct results *r)
{
	struct count c = { .least_logging = UINT32_MAX, .least_between = UINT32_MAX };
	for (unsigned i = 0; i < r->n_rounds; i++)
		count_round(&c, &r->round[i]);
	if (c.least_logging == UINT32_MAX)
		c.least_logging = c.least_between = 0;
	return c;
}

void verdicts_judge_kills(struct results *r)
{
	struct count c = count_kills(r);
	bool migrates = r->opts->verb == LAB_MIGRATE;
	unsigned want = migrates ? r->opts->kills * r->opts->rounds : r->opts->kills;
	char limit[80], text[100];
	snprintf(limit, sizeof(limit), "%u", want);
	if (!c.failure[0] && r->failure[0] && !migrates)
		snprintf(c.failure, sizeof(c.failure), "; %.150s", r->failure);
	verdict_add(r, c.kills == want && c.served == want && !c.failure[0], "workers killed and followed", limit, "%u of %u (%u KILL, %u SEGV, %u ABRT)%s",
		c.served, c.kills, c.by[0], c.by[1], c.by[2], c.failure);
	if (migrates) {
		snprintf(limit, sizeof(limit), "%u, 1 between two GET_VRING_BASEs", r->opts->kills);
		verdict_add(r, c.least_logging >= r->opts->kills && c.least_between >= 1, "killed while logging, at least", limit, "%u, %u between two",
			c.least_logging, c.least_between);
		describe_of(r, text, sizeof(text), "", serving_of);
		verdict_add(r, true, "from death to serving", "", "%s", text)->state = VERDICT_INFO;
	} else {
		verdict_add(r, c.lost == 0, "front ends that lost a connection", "0 kills", "%u kills", c.lost);
		judge_gaps_of_kills(r);
	}
	verdict_add(r, true, "seed", "", "%" PRIu64, r->seed)->state = VERDICT_INFO;
}

uint64_t verdict_repeats_allowed(const struct results *r)
{
	uint64_t kills = 0;
	for (unsigned i = 0; i < r->n_rounds; i++)
		kills += r->round[i].n_kills;
	return REPEATS_A_KILL * kills * r->opts->queues * 2; // each guest's queues
}
