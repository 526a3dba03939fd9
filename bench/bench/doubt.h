// What makes figures of a row worthless, or doubtful. Works on the JSON of a row.
#ifndef BENCH_DOUBT_H
#define BENCH_DOUBT_H

#include <jansson.h>

// Reasons that make the whole row void: damaged frames, headers that did not arrive, a reference that is far from what it
// measured elsewhere. New reference, an array of texts.
json_t *doubt_void(const json_t *row);
// Why this ratio must not be used though its row may: the driver was the limit of a rate. NULL: nothing. Static text.
const char *doubt_ratio(const json_t *row, const char *place, const char *of, const char *to, const char *metric);
// Doubts that are told beside the figures: CPU time that disagrees with the cycle counter at paced load, loss, few pairs.
json_t *doubt_marks(const json_t *row);

#endif
