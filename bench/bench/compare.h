// Two records against each other: what became dearer, or slower, beyond the noise.
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include <stdio.h>

#include <jansson.h>

// Print a line for each figure of a back end that both records have in one placement. Returns how many regressed;
// -1: they have nothing in common. A change counts if the 95 % interval of the ratio leaves out 1 and its median differs by
// more than COMPARE_NOISE: two runs of one program on a shared machine were seen to differ by up to 9 %.
#define COMPARE_NOISE 0.10
int compare_print(FILE *f, const json_t *old, const json_t *new);

#endif
