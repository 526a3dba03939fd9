// Rows measured in turns, A B B A.
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <jansson.h>

#include "bench/measure.h"

struct bench {
	const struct opts *opts;
	struct plan *plan;
	struct backend backend[OPTS_BACKENDS];
	unsigned n;
};

// Measure a row of whatever kind into its JSON object ("samples", "cannot"). False: interrupted.
bool rows_run(struct bench *b, const struct row *r, json_t *into);
bool rows_interrupted(void);
void rows_catch_interrupts(void);

// -- the kinds that are not pairs of stretches --
void special_handshake(struct bench *b, const struct row *r, json_t *into);
void special_ack(struct bench *b, const struct row *r, json_t *into);
void special_idle(struct bench *b, const struct row *r, json_t *into);
void special_stop(struct bench *b, const struct row *r, json_t *into);
void special_recovery(struct bench *b, const struct row *r, json_t *into);
// A sample with its placement; how long a line takes from CPU to CPU now; a back end started, or its "cannot".
json_t *special_sample(const struct bench *b, const struct backend *be, unsigned pair, double line_before);
double special_line(const struct bench *b);
bool special_start(struct bench *b, unsigned i, const struct need *n, json_t *into);
void search_run(struct bench *b, const struct row *r, json_t *into);
// "cannot" of the row: why a back end takes no part.
void row_cannot(json_t *into, const struct backend *b, const char *why);

#endif
