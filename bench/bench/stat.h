// Figures of a handful of samples: order statistics and bootstrap intervals. Pure; all randomness comes from the seed.
#ifndef BENCH_STAT_H
#define BENCH_STAT_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t s;
};
uint64_t rng_next(struct rng *r);

struct interval {
	double median, low, high; // low, high: 95 %
	double min, max, q1, q3;
	size_t n;
};

// Value below which a share q (0..1) lies, interpolated; v is sorted by the call. NaN if n is 0.
double stat_quantile(double *v, size_t n, double q);
// Median of v with its 95 % interval (percentile bootstrap of the median). v is sorted by the call. n 0: all NaN.
struct interval stat_median(double *v, size_t n, uint64_t seed);
// Ratio of medians a/b of two unpaired sets, 95 % bootstrap interval; min..q3 are NaN. Both n > 0, else NaN.
struct interval stat_ratio(const double *a, size_t na, const double *b, size_t nb, uint64_t seed);

#endif
