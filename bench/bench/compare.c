#include "bench/compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/judge.h"
#include "bench/stat.h"
#include "bench/table.h"

#define MAX_SAMPLES 512
#define MIN_SAMPLES 3

struct tally {
	unsigned compared, regressed, improved;
};

static const json_t *row_named(const json_t *record, const char *name)
{
	const json_t *row;
	size_t i;
	json_array_foreach(json_object_get(record, "rows"), i, row)
		if (strcmp(table_text(row, "row"), name) == 0)
			return row;
	return NULL;
}

static size_t values(const json_t *row, const char *place, const char *backend, const char *metric, double *v)
{
	const json_t *s;
	size_t i, n = 0;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(table_text(s, "placement"), place) == 0 && strcmp(table_text(s, "backend"), backend) == 0 &&
		    n < MAX_SAMPLES && isfinite(judge_metric(s, metric)))
			v[n++] = judge_metric(s, metric);
	return n;
}

// A rate says nothing where the driver or the pace was the limit.
static bool rate_limited(const json_t *row, const json_t *entry, const char *backend)
{
	return strcmp(table_text(row, "way"), "paced") == 0 || table_median(row, entry, backend, "driver_busy") > 0.95;
}

static void one(FILE *f, const json_t *a, const json_t *b, const json_t *figure, const json_t *entry, bool lower,
		uint64_t seed, struct tally *t)
{
	double x[MAX_SAMPLES], y[MAX_SAMPLES];
	const char *backend = table_text(figure, "backend"), *metric = table_text(figure, "metric"),
		   *place = table_text(entry, "placement");
	size_t nx = values(a, place, backend, metric, x), ny = values(b, place, backend, metric, y);
	if (nx < MIN_SAMPLES || ny < MIN_SAMPLES)
		return;
	if (strcmp(metric, "rate") == 0 && (rate_limited(a, entry, backend) || rate_limited(b, entry, backend)))
		return;
	struct interval iv = stat_ratio(y, ny, x, nx, seed);
	bool sure = iv.low > 1 || iv.high<1, large = fabs(iv.median - 1)> COMPARE_NOISE;
	bool worse = lower ? iv.median > 1 : iv.median < 1;
	const char *verdict = !sure || !large ? "same" : worse ? "WORSE" : "better";
	t->compared++;
	t->regressed += sure && large && worse;
	t->improved += sure && large && !worse;
	fprintf(f, "%-22s %-14s %-6s %-16s new / old %.3f  95 %% %.3f..%.3f  n %zu, %zu  %s\n", table_text(a, "row"),
		backend, place, metric, iv.median, iv.low, iv.high, nx, ny, verdict);
}

static void rows(FILE *f, const json_t *a, const json_t *b, uint64_t seed, struct tally *t)
{
	const json_t *entry, *figure;
	size_t i, k;
	const char *lower;
	const char *const *metric = judge_metrics(table_text(a, "way"), &lower);
	json_array_foreach(json_object_get(a, "summary"), i, entry)
		json_array_foreach(json_object_get(entry, "figures"), k, figure)
			for (unsigned m = 0; metric[m]; m++)
				if (strcmp(metric[m], table_text(figure, "metric")) == 0)
					one(f, a, b, figure, entry, lower[m] == '1', seed, t);
}

static void machines(FILE *f, const json_t *old, const json_t *new)
{
	static const char *const keys[] = { "cpu", "microcode", "kernel", "kernel_command_line", "hugepages" };
	const json_t *a = json_object_get(old, "machine"), *b = json_object_get(new, "machine");
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(table_text(a, keys[i]), table_text(b, keys[i])) != 0)
			fprintf(f, "not the same machine: %s was %s, is %s\n", keys[i], table_text(a, keys[i]),
				table_text(b, keys[i]));
}

int compare_print(FILE *f, const json_t *old, const json_t *new)
{
	struct tally t = { 0 };
	const json_t *a;
	size_t i;
	uint64_t seed = strtoull(table_text(new, "seed"), NULL, 10);
	machines(f, old, new);
	json_array_foreach(json_object_get(old, "rows"), i, a) {
		const json_t *b = row_named(new, table_text(a, "row"));
		if (b && json_array_size(json_object_get(a, "void")) + json_array_size(json_object_get(b, "void")) != 0)
			fprintf(f, "%-22s void, not compared\n", table_text(a, "row"));
		else if (b)
			rows(f, a, b, seed, &t);
	}
	fprintf(f, "%u figures compared: %u worse, %u better\n", t.compared, t.regressed, t.improved);
	return t.compared ? (int)t.regressed : -1;
}
