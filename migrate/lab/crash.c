// Around each kill a window of traffic: it opens a random while before the kill and ends when the restart is over and datagrams came at both
// guests after it. The longest silence that overlaps the time from the kill to shortly after the restart is that kill's gap. Windows without a
// kill show what is the guests' own.
#include "lab/crash.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/kill.h"
#include "base/progress.h"
#include "lab/guest_run.h"
#include "lab/killer.h"

#define KILLS_A_STRETCH 50 // what is missing is known after each
#define CALM_WINDOWS 20
#define LEAD_US 30000 // at least this long before a kill
#define LEAD_SPREAD_US 250000
#define SETTLE_US 20000 // a silence that begins so soon after the restart is still its
#define CALM_US 30000 // as long as a restart, with that
#define TAIL_MS 150 // after the restart
#define WARM_MS 500 // before the first of a stretch
#define FLOW_LIMIT_US 15000000 // until datagrams flow again
#define ASK_LIMIT_US 10000000

// The silences at one guest, in times of this machine: their answers' text, which may be a few looks' long.
struct window {
	struct tally_gap gap[4 * TALLY_GAPS];
	unsigned n;
	uint64_t last_us;
};

static uint64_t host_us(const struct vm *vm, uint64_t guest_us)
{
	return guest_us ? (uint64_t)((int64_t)guest_us + vm->agent.clock_offset_us) : 0;
}

static enum err look(struct vm *vm, struct window *w, struct why *why)
{
	char answer[1000], list[900];
	enum err e = agent_ask(&vm->agent, clock_boot_us() + ASK_LIMIT_US, answer, sizeof(answer), why, "LOOK");
	if (e != OK)
		return vm_explain(vm, e, why);
	w->last_us = host_us(vm, answer_number(answer, "last_us"));
	answer_text(answer, "gaps", list, sizeof(list));
	for (char *p = list; *p && w->n < ARRAY_LEN(w->gap); w->n++) {
		w->gap[w->n].us = strtoull(p, &p, 10);
		p += *p == '@';
		w->gap[w->n].end_us = host_us(vm, strtoull(p, &p, 10));
		p += *p == ',';
	}
	return OK;
}

static enum err look_both(struct lab *lab, struct window w[2], struct why *why)
{
	enum err e = look(&lab->peer, &w[0], why);
	return e == OK ? look(&lab->mover, &w[1], why) : e;
}

// Forget what was.
static enum err open_windows(struct lab *lab, struct why *why)
{
	struct window ignored[2] = { { .n = 0 } };
	return look_both(lab, ignored, why);
}

// The longest silence that overlaps this time.
static struct tally_gap longest(const struct window w[2], uint64_t from_us, uint64_t to_us)
{
	struct tally_gap best = { 0 };
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < w[i].n; k++) {
			const struct tally_gap *g = &w[i].gap[k];
			if (g->us > best.us && g->end_us > from_us && g->end_us - g->us < to_us)
				best = *g;
		}
	return best;
}

// The longest silence at a guest that overlaps this time, once datagrams came at both after it. One of less than 3 ms is told as that.
static enum err close_windows(struct lab *lab, uint64_t from_us, uint64_t to_us, struct tally_gap *gap, struct why *why)
{
	struct window w[2] = { { .n = 0 } };
	uint64_t until = clock_boot_us() + FLOW_LIMIT_US;
	for (;;) {
		enum err e = look_both(lab, w, why);
		if (e != OK)
			return e;
		if (w[0].last_us > to_us && w[1].last_us > to_us)
			break;
		if (clock_boot_us() > until || interrupted())
			return refuse(why, "no datagram comes at the %s any more", w[0].last_us > to_us ? "mover" : "peer");
		sleep_ms(100);
	}
	*gap = longest(w, from_us, to_us);
	if (!gap->us)
		gap->us = TALLY_GAP_US;
	return OK;
}

static void lead(struct killer *k)
{
	sleep_ms((unsigned)((LEAD_US + killer_random(k, LEAD_SPREAD_US)) / 1000));
}

static enum err calm_windows(struct lab *lab, struct killer *k, struct why *why)
{
	struct results *r = lab->results;
	progress("%u windows of traffic without a kill", CALM_WINDOWS);
	enum err e = stretch_begin(&r->control, &lab->peer, &lab->mover, lab->opts, why);
	if (e == OK)
		e = agent_sync(&lab->peer.agent, why);
	sleep_ms(WARM_MS);
	while (e == OK && r->n_calm < CALM_WINDOWS && !interrupted()) {
		struct tally_gap gap = { 0 };
		e = open_windows(lab, why);
		lead(k);
		uint64_t now = clock_boot_us();
		sleep_ms(TAIL_MS);
		if (e == OK)
			e = close_windows(lab, now, now + CALM_US, &gap, why);
		if (e == OK)
			r->calm_gap_us[r->n_calm++] = gap.us;
	}
	if (e == OK)
		e = stretch_end(&r->control, &lab->peer, &lab->mover, lab->opts, why);
	r->have_control = e == OK;
	return e;
}

static enum err kill_and_judge(struct lab *lab, struct killer *k, struct kill *d, struct why *why)
{
	struct vm *both[2] = { &lab->peer, &lab->mover };
	struct sockets before[2], after[2];
	struct tally_gap gap = { 0 };
	for (unsigned i = 0; i < 2; i++)
		sockets_read(&before[i], both[i]->proc.pid);
	enum err e = open_windows(lab, why);
	lead(k);
	if (e == OK)
		e = killer_strike(k, d, why);
	if (e == OK)
		e = killer_await(k, d, why);
	uint64_t back = clock_boot_us();
	sleep_ms(TAIL_MS);
	if (e == OK)
		e = close_windows(lab, d->at_us, back + SETTLE_US, &gap, why);
	d->gap_us = gap.us;
	d->gap_end_us = gap.end_us;
	for (unsigned i = 0; i < 2 && d->at_us; i++) {
		sockets_read(&after[i], both[i]->proc.pid);
		d->lost[i] = !sockets_kept(&before[i], &after[i]);
	}
	return e;
}

static void tell(const struct killer *k, const struct kill *d)
{
	if (k->total > 20 && d->number % 10 && d->number != k->total)
		return;
	progress("kill %u of %u (%s): %d followed by %d, gap %.1f ms", d->number, k->total, strsignal(d->signal), (int)d->pid, (int)d->next,
		(double)d->gap_us / 1000);
}

static enum err kill_some(struct lab *lab, struct killer *k, unsigned n, struct why *why)
{
	struct round *r = results_add_round(lab->results);
	struct why ended;
	if (!r || !round_plan_kills(r, n))
		return ours(why, "no memory");
	r->kind = ROUND_CRASH;
	enum err e = stretch_begin(&r->stretch, &lab->peer, &lab->mover, lab->opts, why);
	if (e == OK)
		e = agent_sync(&lab->peer.agent, why);
	if (e != OK)
		return e;
	r->begin_us = clock_boot_us();
	sleep_ms(WARM_MS);
	while (r->n_kills < n && e == OK) {
		struct kill *d = &r->kill[r->n_kills];
		e = interrupted() ? ours(why, "interrupted") : kill_and_judge(lab, k, d, why);
		r->n_kills += d->at_us != 0;
		if (e == OK)
			tell(k, d);
		else
			snprintf(d->failure, sizeof(d->failure), "%s", why->text);
	}
	r->completed_us = clock_boot_us();
	// whatever became of the back end: what did not arrive is counted
	enum err end = stretch_end(&r->stretch, &lab->peer, &lab->mover, lab->opts, &ended);
	if (e == OK && end != OK)
		*why = ended;
	e = e == OK ? end : e;
	if (e != OK)
		snprintf(r->failure, sizeof(r->failure), "%s", why->text);
	return e;
}

enum err crash_run(struct lab *lab, struct why *why)
{
	struct killer k;
	unsigned total = lab->opts->kills;
	enum err e = killer_open(&k, lab->backend, lab->results->seed, total, why);
	if (e != OK)
		return e;
	progress("seed %" PRIu64, lab->results->seed);
	e = calm_windows(lab, &k, why);
	while (e == OK && k.done < total)
		e = kill_some(lab, &k, total - k.done < KILLS_A_STRETCH ? total - k.done : KILLS_A_STRETCH, why);
	killer_close(&k);
	return e;
}
