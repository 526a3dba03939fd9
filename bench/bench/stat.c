#include "bench/stat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS 2000
#define MAX_SAMPLES 512

uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->s += UINT64_C(0x9e3779b97f4a7c15)); // splitmix64
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double sorted_quantile(const double *v, size_t n, double q)
{
	double at = q * (double)(n - 1);
	size_t i = (size_t)at;
	return i + 1 < n ? v[i] + (at - (double)i) * (v[i + 1] - v[i]) : v[n - 1];
}

double stat_quantile(double *v, size_t n, double q)
{
	if (n == 0)
		return NAN;
	qsort(v, n, sizeof(*v), by_value);
	return sorted_quantile(v, n, q);
}

static double draw_median(const double *v, size_t n, struct rng *r)
{
	double d[MAX_SAMPLES];
	for (size_t i = 0; i < n; i++)
		d[i] = v[rng_next(r) % n];
	return stat_quantile(d, n, 0.5);
}

static struct interval nothing(void)
{
	return (struct interval){ NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0 };
}

static void bounds(struct interval *iv, double *draws)
{
	iv->low = stat_quantile(draws, DRAWS, 0.025);
	iv->high = sorted_quantile(draws, DRAWS, 0.975);
}

struct interval stat_median(double *v, size_t n, uint64_t seed)
{
	struct interval iv = nothing();
	if (n == 0)
		return iv;
	if (n > MAX_SAMPLES)
		n = MAX_SAMPLES;
	iv.n = n;
	iv.median = stat_quantile(v, n, 0.5);
	iv.min = v[0];
	iv.max = v[n - 1];
	iv.q1 = sorted_quantile(v, n, 0.25);
	iv.q3 = sorted_quantile(v, n, 0.75);
	static double draws[DRAWS];
	struct rng r = { seed };
	for (unsigned i = 0; i < DRAWS; i++)
		draws[i] = draw_median(v, n, &r);
	bounds(&iv, draws);
	return iv;
}

struct interval stat_ratio(const double *a, size_t na, const double *b, size_t nb, uint64_t seed)
{
	struct interval iv = nothing();
	if (na == 0 || nb == 0)
		return iv;
	if (na > MAX_SAMPLES)
		na = MAX_SAMPLES;
	if (nb > MAX_SAMPLES)
		nb = MAX_SAMPLES;
	iv.n = na < nb ? na : nb;
	double x[MAX_SAMPLES], y[MAX_SAMPLES];
	memcpy(x, a, na * sizeof(*x));
	memcpy(y, b, nb * sizeof(*y));
	iv.median = stat_quantile(x, na, 0.5) / stat_quantile(y, nb, 0.5);
	static double draws[DRAWS];
	struct rng r = { seed };
	for (unsigned i = 0; i < DRAWS; i++)
		draws[i] = draw_median(a, na, &r) / draw_median(b, nb, &r);
	bounds(&iv, draws);
	return iv;
}
