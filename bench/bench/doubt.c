#include "bench/doubt.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench/judge.h"
#include "bench/stat.h"

#define OFF_BY 0.25 // of the reference's own figures
#define DRIVER_BUSY 0.95
#define CPU_AGREES 0.10
#define POLLS 0.97 // share of a CPU
#define FEW_PAIRS 5

// Busy cycles a frame that DPDK 22.11 had on such machines (2.6 GHz x86-64, two CPUs with a cache in common), lowest and
// highest of ten minutes, both ways between two guests.
static const struct known {
	const char *row;
	double low, high;
} known[] = {
	{ "bothways split 64", 200, 256 },
	{ "bothways packed 64", 110, 157 },
	{ "bothways split 1518", 376, 686 },
	{ "bothways packed 1518", 343, 343 },
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static void say(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(json_t *list, const char *fmt, ...)
{
	char line[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_string(line));
}

// Did some of its stretches run with guest memory on huge pages, and others not?
static bool pages_differ(const json_t *row)
{
	bool huge = false, small = false;
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		huge |= json_is_true(json_object_get(s, "huge"));
		small |= json_is_false(json_object_get(s, "huge"));
	}
	return huge && small;
}

// Median of a metric of a back end; place NULL: in any placement. NAN: none.
static double median(const json_t *row, const char *place, const char *backend, const char *metric)
{
	double v[1024];
	size_t n = 0, i;
	const json_t *s;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(text(s, "backend"), backend) == 0 && n < 1024 && isfinite(judge_metric(s, metric)) &&
		    (place ? strcmp(text(s, "placement"), place) == 0 : strcmp(text(s, "placement"), "mixed") != 0))
			v[n++] = judge_metric(s, metric);
	return stat_quantile(v, n, 0.5);
}

static double total(const json_t *row, const char *backend, const char *metric)
{
	double sum = 0;
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(text(s, "backend"), backend) == 0 && isfinite(judge_metric(s, metric)))
			sum += judge_metric(s, metric);
	return sum;
}

// The reference against what it is known to do. Only on a machine like that, and where the CPUs are like there.
static void reference_off(const json_t *row, json_t *list)
{
	double hz = json_number_value(json_object_get(row, "cycle_hz"));
	if (strcmp(text(row, "arch"), "x86_64") != 0 || !(hz > 2.4e9 && hz < 2.8e9))
		return;
	double got = median(row, "near", "testpmd", "cycles");
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]) && isfinite(got); i++) {
		if (strcmp(known[i].row, text(row, "row")) != 0)
			continue;
		if (got < known[i].low * (1 - OFF_BY) || got > known[i].high * (1 + OFF_BY))
			say(list, "testpmd took %.0f cycles a frame; it is known to take %.0f to %.0f", got, known[i].low,
			    known[i].high);
	}
}

static unsigned backends(const json_t *row, const char **name, unsigned max)
{
	const json_t *s;
	size_t i;
	unsigned n = 0;
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		unsigned k = 0;
		while (k < n && strcmp(name[k], text(s, "backend")) != 0)
			k++;
		if (k == n && n < max)
			name[n++] = text(s, "backend");
	}
	return n;
}

json_t *doubt_void(const json_t *row)
{
	json_t *list = json_array();
	const char *name[8];
	unsigned n = backends(row, name, 8);
	bool traffic = strcmp(text(row, "way"), "traffic") == 0 || strcmp(text(row, "way"), "paced") == 0;
	for (unsigned i = 0; i < n; i++) {
		if (total(row, name[i], "corrupt") > 0)
			say(list, "%s damaged %.0f of the frames that were looked at", name[i],
			    total(row, name[i], "corrupt"));
		if (total(row, name[i], "odd_headers") > 0)
			say(list, "headers of %.0f frames did not arrive intact through %s",
			    total(row, name[i], "odd_headers"), name[i]);
		if (traffic && total(row, name[i], "received") <= 0)
			say(list, "nothing came through %s", name[i]);
	}
	if (pages_differ(row))
		say(list, "guest memory was on huge pages for some stretches only");
	reference_off(row, list);
	return list;
}

static bool driver_limits(const json_t *row, const char *place, const char *name)
{
	return median(row, place, name, "driver_busy") > DRIVER_BUSY;
}

const char *doubt_ratio(const json_t *row, const char *place, const char *of, const char *to, const char *metric)
{
	if (strcmp(metric, "rate") != 0)
		return NULL;
	if (strcmp(text(row, "way"), "paced") == 0)
		return "the load was paced";
	bool a = driver_limits(row, place, of), b = driver_limits(row, place, to);
	return a && b ? "the driver was the limit with both" : a || b ? "the driver was the limit with one" : NULL;
}

static void cpu_time(const json_t *row, const char *name, bool full, json_t *list)
{
	double share = median(row, NULL, name, "cpu_share"), cpu = median(row, NULL, name, "cpu_cycles");
	double cycles = median(row, NULL, name, "cycles");
	if (!isfinite(share) || !isfinite(cycles))
		return;
	if (share >= POLLS && !full)
		say(list, "%s polls: its CPU time can't confirm its cycle counter", name);
	else if (fabs(cycles / cpu - 1) > CPU_AGREES)
		say(list, "%s counts %.0f cycles a frame; its CPU time is %.0f", name, cycles, cpu);
}

json_t *doubt_marks(const json_t *row)
{
	json_t *list = json_array();
	const char *name[8];
	unsigned n = backends(row, name, 8);
	bool compared = json_array_size(json_object_get(row, "summary")) && n > 1;
	for (unsigned i = 0; i < n; i++) {
		// at full load nobody looks in vain, unless the driver is the limit
		bool full = strcmp(text(row, "way"), "traffic") == 0 &&
			    !(median(row, NULL, name[i], "driver_busy") > DRIVER_BUSY);
		if (strcmp(text(row, "way"), "paced") == 0 || full)
			cpu_time(row, name[i], full, list);
		double missing = total(row, name[i], "missing"), received = total(row, name[i], "received");
		if (missing > 0 && strcmp(text(row, "way"), "search") != 0)
			say(list, "%s lost %.4f %% of the frames", name[i], 100 * missing / (missing + received));
	}
	if (compared && strcmp(text(row, "way"), "time") != 0 && judge_pairs(row) < FEW_PAIRS)
		say(list, "only %u pairs in one placement", judge_pairs(row));
	return list;
}
