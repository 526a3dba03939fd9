// What the figures of a run mean: one verdict a row.
#ifndef LAB_VERDICT_H
#define LAB_VERDICT_H

#include "lab/result.h"

// Fill r->verdict from everything else in r. Returns whether all hold.
bool verdicts_judge(struct results *r);
// The longest gap that a round may show, in microseconds: QEMU's own downtime (and what the lab itself paused) plus 50 ms or
// the longest gap of the stretch without migration, whichever is more.
uint64_t gap_limit_us(const struct results *r, const struct round *round);
// The longest time without a datagram at the guest that moves, by this machine's clock, at most: a guest's clock stands still
// with it, so what it measured itself would show nothing of the move.
uint64_t mover_gap_us(const struct stretch *s);
const char *verdict_state_name(enum verdict_state s); // "ok", "FAILED", "-"
// What kills add; verdict_kills.c.
void verdicts_judge_kills(struct results *r);
// What percent of n times do not exceed; sorts them. 0 of none.
uint64_t percentile_us(uint64_t *us, unsigned n, unsigned percent);
uint64_t verdict_repeats_allowed(const struct results *r); // of datagrams, in all
// A row at the end.
struct verdict *verdict_add(struct results *r, bool holds, const char *name, const char *limit, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void verdicts_print(const struct results *r);

#endif
