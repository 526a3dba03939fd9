#include "lab/verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>


struct verdict *verdict_add(struct results *r, bool holds, const char *name, const char *limit, const char *fmt, ...)
{
	static struct verdict spare;
	struct verdict *v = r->n_verdicts < VERDICTS_MAX ? &r->verdict[r->n_verdicts++] : &spare;
	v->state = holds ? VERDICT_OK : VERDICT_FAILED;
	snprintf(v->name, sizeof(v->name), "%s", name);
	snprintf(v->limit, sizeof(v->limit), "%s", limit);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(v->measured, sizeof(v->measured), fmt, ap);
	va_end(ap);
	return v;
}

struct totals {
	uint64_t sent, missing, repeated, corrupt, reordered, own_drops, beyond, refused;
	uint64_t carrier_changes, reboots;
	char holes[200];
};

static void count_direction(struct totals *t, const struct direction *d, const char *to, unsigned round)
{
	t->sent += d->sent;
	t->missing += d->missing;
	t->repeated += d->got.repeated;
	t->corrupt += d->got.corrupt + d->csum_errors;
	t->reordered += d->got.reordered;
	t->own_drops += d->own_drops;
	t->beyond += d->got.beyond;
	t->refused += d->refused;
	if (d->missing && !t->holes[0])
		snprintf(t->holes, sizeof(t->holes), "; first in round %u to %s: %.120s", round, to, d->holes);
}

static void count_stretch(struct totals *t, const struct stretch *s, unsigned round)
{
	count_direction(t, &s->to_peer, "peer", round);
	count_direction(t, &s->to_mover, "mover", round);
	t->carrier_changes += s->carrier_changes;
	t->reboots += s->rebooted;
}

static struct totals count_all(const struct results *r)
{
	struct totals t = { 0 };
	if (r->have_control)
		count_stretch(&t, &r->control, 0);
	for (unsigned i = 0; i < r->n_rounds; i++)
		count_stretch(&t, &r->round[i].stretch, r->round[i].number);
	return t;
}

// With two daemons nothing is handed over between them: what reaches the old one after the guest left is dropped
// there, and counted. What it held and delivered after all is nobody's loss and explains none.
static uint64_t explained_losses(const struct results *r)
{
	uint64_t n = 0;
	for (unsigned i = 0; r->opts->two_daemons && i < r->n_rounds; i++)
		n += (uint64_t)json_integer_value(json_object_get(r->round[i].source, "dropped"));
	return n;
}

// Why vringd dropped frames, by its own count: what was lost is explained by this.
static void tell_drops(struct results *r)
{
	static const char *const dirs[] = { "in", "out" };
	char text[200] = "none";
	size_t n = 0, k;
	json_t *port, *count;
	const char *reason;
	for (unsigned i = 0; i < 2; i++)
		json_array_foreach(json_object_get(r->stats[i], "stats"), k, port)
			for (unsigned d = 0; d < 2; d++)
				json_object_foreach(json_object_get(json_object_get(port, dirs[d]), "drops"), reason, count)
					if (n + 60 < sizeof(text))
						n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %s %s %lld", n ? ", " : "",
								      json_string_value(json_object_get(port, "id")), dirs[d], reason,
								      (long long)json_integer_value(count));
	verdict_add(r, true, "dropped by vringd", "", "%s", text)->state = VERDICT_INFO;
}

static void judge_repeated(struct results *r, uint64_t repeated)
{
	uint64_t allowed = verdict_repeats_allowed(r);
	char limit[100] = "0";
	if (r->opts->kills)
		snprintf(limit, sizeof(limit), "64 for each queue and kill: %" PRIu64, allowed);
	verdict_add(r, repeated <= allowed, "repeated", limit, "%" PRIu64, repeated);
}

static void judge_traffic(struct results *r)
{
	struct totals t = count_all(r);
	if (r->opts->two_daemons) {
		uint64_t told = explained_losses(r);
		verdict_add(r, t.missing <= told, "missing, counted and explained", "what the old daemon dropped",
			"%" PRIu64 " of %" PRIu64 "; the old daemon says %" PRIu64 "%s", t.missing, t.sent, told, t.holes);
	} else {
		verdict_add(r, t.missing == 0 && t.sent > 0, "missing", "0", "%" PRIu64 " of %" PRIu64 "%s", t.missing, t.sent, t.holes);
	}
	judge_repeated(r, t.repeated);
	verdict_add(r, t.corrupt == 0, "corrupt", "0", "%" PRIu64, t.corrupt);
	if (t.beyond)
		verdict_add(r, false, "told apart", "all", "%" PRIu64 " sequence numbers were too large to check", t.beyond);
	verdict_add(r, true, "out of order", "", "%" PRIu64, t.reordered)->state = VERDICT_INFO;
	tell_drops(r);
	verdict_add(r, true, "dropped by the guests' own UDP", "", "%" PRIu64, t.own_drops)->state = VERDICT_INFO;
	verdict_add(r, t.carrier_changes == 0 && t.reboots == 0, "seen by the guests", "0 link changes, 0 reboots",
		"%" PRIu64 " link changes, %" PRIu64 " reboots", t.carrier_changes, t.reboots);
}

static uint64_t gap_grace_us(const struct results *r)
{
	return r->opts->gap_ms * UINT64_C(1000);
}

// Writing all memory of two guests to files between stop and resume leaves nothing in the host's caches that the moved guest needs: a
// gap with a comparison in it is that much longer, and has the grace once more.
static uint64_t comparison_us(const struct results *r, const struct round *round)
{
	return round->pause_us ? round->pause_us + gap_grace_us(r) : 0;
}

// control_us: the longest gap of the same direction without migration.
static uint64_t limit_us(const struct results *r, const struct round *round, uint64_t control_us)
{
	uint64_t grace = gap_grace_us(r);
	return (uint64_t)(round->downtime_ms * 1000) + comparison_us(r, round) + (control_us > grace ? control_us : grace);
}

uint64_t gap_limit_us(const struct results *r, const struct round *round)
{
	return limit_us(r, round, r->control.to_peer.got.gap_us);
}

uint64_t mover_gap_us(const struct stretch *s)
{
	return s->to_mover.got.gap_us + s->mover_stall_us;
}

// QEMU before 8 lets a guest stand still while it sets a migration up, long before it stops it, and says for how long: a gap
// there is judged by that, and the switch-over by the longest of the others.
static bool in_setup(const struct round *n)
{
	const struct direction *d = &n->stretch.to_peer;
	return n->stop_us && d->gap_end_us && d->gap_end_us < n->stop_us && d->gap_end_us > n->begin_us;
}

static void judge_setup(struct results *r)
{
	const struct round *worst = NULL;
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		if (n->kind == ROUND_MIGRATE && !n->failure[0] && in_setup(n) &&
		    (!worst || (double)n->stretch.to_peer.got.gap_us / 1000 - n->setup_ms >
				       (double)worst->stretch.to_peer.got.gap_us / 1000 - worst->setup_ms))
			worst = n;
	}
	if (!worst)
		return;
	double control = (double)r->control.to_peer.got.gap_us / 1000, grace = (double)gap_grace_us(r) / 1000;
	double limit = worst->setup_ms + (control > grace ? control : grace), gap = (double)worst->stretch.to_peer.got.gap_us / 1000;
	char text[160];
	snprintf(text, sizeof(text), "QEMU's setup %.0f + %.0f = %.1f ms", worst->setup_ms, limit - worst->setup_ms, limit);
	verdict_add(r, gap <= limit, "longest gap before the stop", text, "%.1f ms (round %u)", gap, worst->number);
}

static uint64_t peer_gap_us(const struct round *n)
{
	return in_setup(n) ? n->stretch.to_peer.got.second_us : n->stretch.to_peer.got.gap_us;
}

static uint64_t moved_gap_us(const struct round *n)
{
	return mover_gap_us(&n->stretch);
}

// twice: the measure is a bound that adds two gaps, of which one may lie elsewhere, so it has the grace twice.
static void judge_gap(struct results *r, const char *name, uint64_t (*gap_us)(const struct round *), uint64_t control_us, bool twice)
{
	const struct round *worst = NULL;
	int64_t worst_margin = INT64_MAX;
	uint64_t more_us = twice ? gap_grace_us(r) : 0;
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		int64_t margin = (int64_t)(limit_us(r, n, control_us) + more_us) - (int64_t)gap_us(n);
		if (n->kind != ROUND_MIGRATE || n->failure[0] || margin >= worst_margin)
			continue;
		worst = n;
		worst_margin = margin;
	}
	if (!worst)
		return;
	char limit[160], pause[60] = "";
	if (worst->pause_us)
		snprintf(pause, sizeof(pause), " + comparison %.0f + %.0f", (double)worst->pause_us / 1000, (double)gap_grace_us(r) / 1000);
	double grace = (double)gap_grace_us(r) / 1000, control = (double)control_us / 1000;
	snprintf(limit, sizeof(limit), "QEMU's downtime %.0f%s + %.0f%s%s = %.1f ms", worst->downtime_ms, pause,
		control > grace ? control : grace, control > grace ? " (gap without migration)" : "", twice ? " twice" : "",
		(double)(limit_us(r, worst, control_us) + more_us) / 1000);
	double gap = (double)gap_us(worst) / 1000;
	verdict_add(r, worst_margin >= 0, name, limit, "%s%.1f ms (round %u)", twice ? "at most " : "", gap, worst->number);
}

static void judge_gaps(struct results *r)
{
	uint64_t peer_us = r->control.to_peer.got.gap_us, mover_us = mover_gap_us(&r->control);
	double peer = (double)peer_us / 1000, mover = (double)mover_us / 1000;
	verdict_add(r, true, "longest gap without migration", "", "%.1f ms to the peer, %.1f ms to the mover", peer, mover)->state = VERDICT_INFO;
	judge_gap(r, "longest gap", peer_gap_us, peer_us, false);
	judge_setup(r);
	judge_gap(r, "longest gap at the moved guest", moved_gap_us, mover_us, true);
}

static void judge_ram(struct results *r)
{
	uint64_t pages = 0, differ = 0;
	const char *where = "";
	unsigned compared = 0;
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		pages += n->pages;
		differ += n->pages_differ;
		compared += n->compared;
		if (n->pages_differ && !*where)
			where = n->differ;
	}
	verdict_add(r, differ == 0 && compared == r->opts->rounds, "memory pages that differ", "0", "%" PRIu64 " of %" PRIu64 " (%u of %u rounds)%s%.100s",
		differ, pages, compared, r->opts->rounds, *where ? " at " : "", where);
}

static const char *outcome(json_t *record)
{
	const char *o = json_string_value(json_object_get(record, "outcome"));
	return o ? o : "no record";
}

static void judge_records(struct results *r)
{
	unsigned good = 0, moves = 0;
	char wrong[160] = "";
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		if (n->kind == ROUND_CANCEL) {
			verdict_add(r, !strcmp(outcome(n->source), "returned"), "outcome of the cancelled migration", "returned", "%s", outcome(n->source));
			continue;
		}
		moves++;
		bool holds = !strcmp(outcome(n->source), "left") && !strcmp(outcome(n->destination), "arrived");
		good += holds;
		if (!holds && !wrong[0])
			snprintf(wrong, sizeof(wrong), "; round %u: %s, %s", n->number, outcome(n->source), outcome(n->destination));
	}
	if (moves)
		verdict_add(r, good == moves, "recorded by vringd", "left, arrived", "%u of %u%s", good, moves, wrong);
}

static void judge_bridge(struct results *r)
{
	unsigned moved = 0, moves = 0;
	double worst_ms = 0;
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		moves += n->kind == ROUND_MIGRATE;
		if (n->kind != ROUND_MIGRATE || !n->bridge_moved_us || !n->bridge_before[0])
			continue;
		moved++;
		double ms = n->resume_us && n->bridge_moved_us > n->resume_us ? (double)(n->bridge_moved_us - n->resume_us) / 1000 : 0;
		worst_ms = ms > worst_ms ? ms : worst_ms;
	}
	verdict_add(r, moved == moves && moves > 0, "the bridge learned the move", "every round", "%u of %u, at most %.0f ms after the guest ran", moved,
		moves, worst_ms);
}

bool verdicts_judge(struct results *r)
{
	unsigned through = 0, cancelled = 0;
	const char *failure = r->failure;
	for (unsigned i = 0; i < r->n_rounds; i++) {
		bool fine = !r->round[i].failure[0];
		through += fine && r->round[i].kind == ROUND_MIGRATE;
		cancelled += fine && r->round[i].kind == ROUND_CANCEL;
	}
	r->n_verdicts = 0;
	char limit[40];
	snprintf(limit, sizeof(limit), "%u", r->opts->rounds);
	bool migrates = r->opts->verb == LAB_MIGRATE;
	if (migrates)
		verdict_add(r, through == r->opts->rounds && !*failure, r->opts->cancel_at ? "migrations after the cancelled one" : "migrations", limit,
			"%u%s%.180s", through, *failure ? ": " : "", failure);
	if (r->opts->cancel_at)
		verdict_add(r, cancelled == 1, "cancelled, guest back on the source", "1", "%u", cancelled);
	if (r->opts->kills)
		verdicts_judge_kills(r);
	judge_traffic(r);
	unsigned judged = r->n_verdicts;
	if (migrates)
		judge_gaps(r);
	for (unsigned i = judged; i < r->n_verdicts && r->opts->kills; i++) // of what a kill costs crash tells
		r->verdict[i].state = VERDICT_INFO;
	if (r->opts->verify_ram)
		judge_ram(r);
	if (!r->opts->backend && migrates)
		judge_records(r);
	if (r->opts->two_daemons)
		judge_bridge(r);
	verdict_add(r, !r->backend_failure[0], "back end still running", "yes", "%s%.180s", r->backend_failure[0] ? "no: " : "yes", r->backend_failure);
	bool all = true;
	for (unsigned i = 0; i < r->n_verdicts; i++)
		all = all && r->verdict[i].state != VERDICT_FAILED;
	return all;
}

const char *verdict_state_name(enum verdict_state s)
{
	return s == VERDICT_OK ? "ok" : s == VERDICT_FAILED ? "FAILED" : "-";
}

void verdicts_print(const struct results *r)
{
	printf("%-38s %-7s %-44s %s\n", "verdict", "", "measured", "limit");
	for (unsigned i = 0; i < r->n_verdicts; i++) {
		const struct verdict *v = &r->verdict[i];
		printf("%-38s %-7s %-44s %s\n", v->name, verdict_state_name(v->state), v->measured, v->limit);
	}
	fflush(stdout);
}
