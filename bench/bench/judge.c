#include "bench/judge.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench/doubt.h"
#include "bench/place.h"
#include "bench/stat.h"

#define MAX_PAIRS 1024
#define MAX_NAMES 8
#define SAME_LINE 1.5 // hand-over times of a pair may differ by this factor

double judge_metric(const json_t *sample, const char *metric)
{
	char head[32];
	size_t n = strcspn(metric, ".");
	snprintf(head, sizeof(head), "%.*s", (int)n, metric);
	const json_t *j = json_object_get(sample, head);
	if (metric[n])
		j = json_object_get(j, metric + n + 1);
	return json_is_number(j) ? json_number_value(j) : NAN;
}

const char *const *judge_metrics(const char *way, const char **lower)
{
	static const char *const traffic[] = { "cycles", "cpu_cycles", "rate", NULL };
	static const char *const latency[] = { "latency_us.p50", "latency_us.p99", "latency_us.p999", NULL };
	static const char *const time[] = { "ms", NULL };
	static const char *const search[] = { "found", NULL };
	*lower = strcmp(way, "search") == 0 ? "0" : strcmp(way, "latency") == 0 ? "111" : "110";
	if (strcmp(way, "latency") == 0)
		return latency;
	if (strcmp(way, "time") == 0)
		return time;
	return strcmp(way, "search") == 0 ? search : traffic;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

struct names {
	const char *name[MAX_NAMES];
	unsigned n;
};

static void names_of(const json_t *row, struct names *out)
{
	const json_t *s;
	size_t i;
	out->n = 0;
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		unsigned k = 0;
		while (k < out->n && strcmp(out->name[k], text(s, "backend")) != 0)
			k++;
		if (k == out->n && k < MAX_NAMES)
			out->name[out->n++] = text(s, "backend");
	}
}

static const json_t *sample_of(const json_t *row, const char *backend, json_int_t pair)
{
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (json_integer_value(json_object_get(s, "pair")) == pair && strcmp(text(s, "backend"), backend) == 0)
			return s;
	return NULL;
}

static double line_of(const json_t *sample)
{
	const json_t *l = json_object_get(sample, "line_ns");
	return (json_number_value(json_array_get(l, 0)) + json_number_value(json_array_get(l, 1))) / 2;
}

// Were the two taken in one placement?
static bool comparable(const json_t *a, const json_t *b)
{
	if (!a || !b || strcmp(text(a, "placement"), text(b, "placement")) != 0 ||
	    strcmp(text(a, "placement"), "mixed") == 0)
		return false;
	double x = line_of(a), y = line_of(b);
	return x <= SAME_LINE * y && y <= SAME_LINE * x;
}

static json_int_t last_pair(const json_t *row)
{
	const json_t *s;
	size_t i;
	json_int_t last = -1;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (json_integer_value(json_object_get(s, "pair")) > last)
			last = json_integer_value(json_object_get(s, "pair"));
	return last < MAX_PAIRS ? last : MAX_PAIRS - 1;
}

unsigned judge_pairs(const json_t *row)
{
	struct names names;
	unsigned count[PLACES] = { 0 }, most = 0;
	names_of(row, &names);
	for (json_int_t pair = 0; pair <= last_pair(row) && names.n; pair++) {
		const json_t *first = sample_of(row, names.name[0], pair);
		bool good = first && strcmp(text(first, "placement"), "mixed") != 0;
		for (unsigned i = 1; i < names.n && good; i++)
			good = comparable(first, sample_of(row, names.name[i], pair));
		if (good && ++count[place_parse(text(first, "placement"))] > most)
			most = count[place_parse(text(first, "placement"))];
	}
	return most;
}

static json_t *real(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *interval_json(const struct interval *v)
{
	return json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "n", (json_int_t)v->n, "median", real(v->median), "low",
			 real(v->low), "high", real(v->high), "min", real(v->min), "max", real(v->max), "q1", real(v->q1),
			 "q3", real(v->q3));
}

static void figure(const json_t *row, const char *place, const char *backend, const char *metric, uint64_t seed, json_t *to)
{
	double v[MAX_PAIRS];
	size_t n = 0, i;
	const json_t *s;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(text(s, "backend"), backend) == 0 && strcmp(text(s, "placement"), place) == 0 && n < MAX_PAIRS &&
		    isfinite(judge_metric(s, metric)))
			v[n++] = judge_metric(s, metric);
	if (n == 0)
		return;
	struct interval iv = stat_median(v, n, seed);
	json_t *j = interval_json(&iv);
	json_object_set_new(j, "backend", json_string(backend));
	json_object_set_new(j, "metric", json_string(metric));
	json_array_append_new(to, j);
}

static void ratio(const json_t *row, const char *place, const char *of, const char *to, const char *metric, uint64_t seed,
		  json_t *list)
{
	double v[MAX_PAIRS];
	size_t n = 0;
	for (json_int_t pair = 0; pair <= last_pair(row); pair++) {
		const json_t *a = sample_of(row, of, pair), *b = sample_of(row, to, pair);
		if (!comparable(a, b) || strcmp(text(a, "placement"), place) != 0)
			continue;
		double r = judge_metric(a, metric) / judge_metric(b, metric);
		if (isfinite(r) && r > 0)
			v[n++] = r;
	}
	if (n == 0)
		return;
	struct interval iv = stat_median(v, n, seed);
	json_t *j = interval_json(&iv);
	json_object_set_new(j, "of", json_string(of));
	json_object_set_new(j, "to", json_string(to));
	json_object_set_new(j, "metric", json_string(metric));
	const char *why = doubt_ratio(row, place, of, to, metric);
	json_object_set_new(j, "void", why ? json_string(why) : json_null());
	json_array_append_new(list, j);
}

static bool is_log(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && strcmp(name + n - 4, "+log") == 0;
}

// Who is divided by whom: everybody by the reference (testpmd, else the last), and what logs by itself without.
static void ratios(const json_t *row, const char *place, const struct names *names, const char *metric, uint64_t seed,
		   json_t *list)
{
	const char *reference[2] = { NULL, NULL };
	for (unsigned i = 0; i < names->n; i++) {
		const char **r = &reference[is_log(names->name[i])];
		if (!*r || strncmp(*r, "testpmd", 7) != 0)
			*r = names->name[i];
	}
	for (unsigned i = 0; i < names->n; i++) {
		const char *to = reference[is_log(names->name[i])];
		if (strcmp(names->name[i], to) != 0)
			ratio(row, place, names->name[i], to, metric, seed, list);
		for (unsigned k = 0; k < names->n && is_log(names->name[i]); k++)
			if (strlen(names->name[k]) + 4 == strlen(names->name[i]) &&
			    strncmp(names->name[i], names->name[k], strlen(names->name[k])) == 0)
				ratio(row, place, names->name[i], names->name[k], metric, seed, list);
	}
}

void judge_row(json_t *row, uint64_t seed)
{
	const char *lower;
	struct names names;
	names_of(row, &names);
	const char *const *metric = judge_metrics(text(row, "way"), &lower);
	json_t *summary = json_array();
	json_object_set_new(row, "void", doubt_void(row));
	for (unsigned p = 0; p < PLACES; p++) {
		json_t *figures = json_array(), *list = json_array();
		for (unsigned m = 0; metric[m] && p != PLACE_MIXED; m++) {
			for (unsigned i = 0; i < names.n; i++)
				figure(row, place_name((enum place)p), names.name[i], metric[m], seed, figures);
			ratios(row, place_name((enum place)p), &names, metric[m], seed, list);
		}
		if (json_array_size(figures))
			json_array_append_new(summary, json_pack("{s:s,s:O,s:O}", "placement", place_name((enum place)p),
								 "figures", figures, "ratios", list));
		json_decref(figures);
		json_decref(list);
	}
	json_object_set_new(row, "summary", summary);
	json_object_set_new(row, "marks", doubt_marks(row));
}

const json_t *judge_cost_ratio(const json_t *entry, const char *of, const char *to)
{
	static const char *const order[] = { "cycles", "cpu_cycles", "latency_us.p50", "ms", "found" };
	for (unsigned m = 0; m < sizeof(order) / sizeof(order[0]); m++) {
		const json_t *r;
		size_t i;
		json_array_foreach(json_object_get(entry, "ratios"), i, r)
			if (strcmp(text(r, "metric"), order[m]) == 0 && strcmp(text(r, "of"), of) == 0 &&
			    strcmp(text(r, "to"), to) == 0)
				return r;
	}
	return NULL;
}
