// From samples to figures: per placement, medians, ratios of pairs with their intervals, and what makes them void.
// Works on the JSON of a row, so that a file can be judged again.
#ifndef BENCH_JUDGE_H
#define BENCH_JUDGE_H

#include <stdint.h>

#include <jansson.h>

// A metric of a sample; NAN if it has none. "cycles", "rate", "latency_us.p99".
double judge_metric(const json_t *sample, const char *metric);
// Most valid pairs (all back ends in one placement, which stayed the same) that one placement has.
unsigned judge_pairs(const json_t *row);
// Fill "summary" (one entry a placement: figures, ratios), "marks" (doubts) and "void" (reasons that forbid to compare).
void judge_row(json_t *row, uint64_t seed);
// Metrics that a row's way is judged by, ended by NULL; *lower: less is better, one flag each.
const char *const *judge_metrics(const char *way, const char **lower);
// Ratios of the entry that compare cost, in the order of trust: busy cycles, else CPU time.
const json_t *judge_cost_ratio(const json_t *entry, const char *of, const char *to);

#endif
