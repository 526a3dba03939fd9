#include "bench/table.h"

#include <math.h>
#include <string.h>

#include "base/progress.h"
#include "bench/judge.h"
#include "bench/stat.h"

const char *table_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

double table_number(const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);
	return json_is_number(j) ? json_number_value(j) : NAN;
}

const json_t *table_figure(const json_t *entry, const char *backend, const char *metric)
{
	const json_t *f;
	size_t i;
	json_array_foreach(json_object_get(entry, "figures"), i, f)
		if (strcmp(table_text(f, "backend"), backend) == 0 && strcmp(table_text(f, "metric"), metric) == 0)
			return f;
	return NULL;
}

// entry NULL: whatever the placement.
static double quantile(const json_t *row, const json_t *entry, const char *backend, const char *field, double q)
{
	double v[1024];
	size_t n = 0, i;
	const json_t *s;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		if (strcmp(table_text(s, "backend"), backend) == 0 && n < 1024 &&
		    (!entry || strcmp(table_text(s, "placement"), table_text(entry, "placement")) == 0) &&
		    isfinite(judge_metric(s, field)))
			v[n++] = judge_metric(s, field);
	return stat_quantile(v, n, q);
}

double table_median(const json_t *row, const json_t *entry, const char *backend, const char *field)
{
	return quantile(row, entry, backend, field, 0.5);
}

static void put_number(FILE *f, double v, int width, int digits)
{
	if (isfinite(v))
		fprintf(f, " %*.*f", width, digits, v);
	else
		fprintf(f, " %*s", width, "-");
}

// The back ends of an entry, in the order of its figures.
static unsigned backends_of(const json_t *entry, const char **name, unsigned max)
{
	const json_t *g;
	size_t i;
	unsigned n = 0;
	json_array_foreach(json_object_get(entry, "figures"), i, g) {
		unsigned k = 0;
		while (k < n && strcmp(name[k], table_text(g, "backend")) != 0)
			k++;
		if (k == n && n < max)
			name[n++] = table_text(g, "backend");
	}
	return n;
}

static void put_traffic(FILE *f, const json_t *row, const json_t *entry, const char *backend)
{
	const json_t *cycles = table_figure(entry, backend, "cycles"), *cpu = table_figure(entry, backend, "cpu_cycles");
	const json_t *rate = table_figure(entry, backend, "rate");
	fprintf(f, "    %-14s", backend);
	put_number(f, table_number(cycles, "median"), 8, 0);
	put_number(f, table_number(cpu, "median"), 8, 0);
	put_number(f, table_number(rate, "median") / 1e6, 8, 3);
	put_number(f, table_median(row, entry, backend, "driver_cycles"), 8, 0);
	put_number(f, 100 * table_median(row, entry, backend, "driver_busy"), 6, 0);
	put_number(f, table_median(row, entry, backend, "batch_tx"), 6, 1);
	put_number(f, table_median(row, entry, backend, "batch_rx"), 6, 1);
	const json_t *trusted = cycles ? cycles : cpu;
	fprintf(f, "   %.0f..%.0f, n %.0f\n", table_number(trusted, "min"), table_number(trusted, "max"),
		table_number(trusted, "n"));
}

static void put_latency(FILE *f, const json_t *row, const json_t *entry, const char *backend)
{
	static const char *const metric[] = { "latency_us.p50", "latency_us.p99", "latency_us.p999" };
	fprintf(f, "    %-14s us:", backend);
	for (unsigned i = 0; i < 3; i++)
		fprintf(f, "  %s %.1f", strchr(metric[i], '.') + 1,
			table_number(table_figure(entry, backend, metric[i]), "median"));
	if (isfinite(table_median(row, entry, backend, "each_us.p50")))
		fprintf(f, "; each of the messages: p50 %.1f  p99 %.1f", table_median(row, entry, backend, "each_us.p50"),
			table_median(row, entry, backend, "each_us.p99"));
	fputc('\n', f);
}

static void put_plain(FILE *f, const json_t *entry, const char *backend, const char *metric, const char *unit, double scale)
{
	const json_t *g = table_figure(entry, backend, metric);
	fprintf(f, "    %-14s %.3f %s (%.3f..%.3f, n %.0f)\n", backend, table_number(g, "median") / scale, unit,
		table_number(g, "min") / scale, table_number(g, "max") / scale, table_number(g, "n"));
}

// Of all kills, wherever the CPUs lay.
static void put_kills(FILE *f, const json_t *row)
{
	static const struct {
		const char *field, *name;
	} parts[] = { { "ms", "kill to first frame" }, { "died_ms", "until its death" }, { "listening_ms", "until it listened" } };
	const char *name;
	json_t *touched;
	json_object_foreach((json_t *)(uintptr_t)json_object_get(row, "touched_mib"), name, touched) {
		fprintf(f, "    %-14s", name);
		for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			double p50 = quantile(row, NULL, name, parts[i].field, 0.5);
			if (isfinite(p50))
				fprintf(f, "%s %s ms: p50 %.2f  p99 %.2f  max %.2f", i ? "; of it" : "", parts[i].name, p50,
					quantile(row, NULL, name, parts[i].field, 0.99), quantile(row, NULL, name, parts[i].field, 1));
		}
		fprintf(f, "; %.0f MiB of guest memory touched\n", json_number_value(touched));
	}
}

static void put_ratios(FILE *f, const json_t *entry)
{
	const json_t *r;
	size_t i;
	json_array_foreach(json_object_get(entry, "ratios"), i, r) {
		const char *why = table_text(r, "void");
		if (why[0])
			fprintf(f, "      %s / %s %s: void, %s\n", table_text(r, "of"), table_text(r, "to"),
				table_text(r, "metric"), why);
		else
			fprintf(f, "      %s / %s %s: %.3f  95 %% %.3f..%.3f  (%.0f pairs)\n", table_text(r, "of"),
				table_text(r, "to"), table_text(r, "metric"), table_number(r, "median"),
				table_number(r, "low"), table_number(r, "high"), table_number(r, "n"));
	}
}

static void put_entry(FILE *f, const json_t *row, const json_t *entry)
{
	const char *name[8], *way = table_text(row, "way");
	unsigned n = backends_of(entry, name, 8);
	fprintf(f, "  placement %s\n", table_text(entry, "placement"));
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(way, "latency") == 0)
			put_latency(f, row, entry, name[i]);
		else if (strcmp(way, "time") == 0)
			put_plain(f, entry, name[i], "ms", "ms", 1);
		else if (strcmp(way, "search") == 0)
			put_plain(f, entry, name[i], "found", "M/s", 1e6);
		else
			put_traffic(f, row, entry, name[i]);
	}
	put_ratios(f, entry);
}

static void put_idle(FILE *f, const json_t *row)
{
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s)
		fprintf(f, "    %-14s %3.0f ports: CPU %.4f %%, %.0f switches, %.0f KiB of its own in %.1f s\n",
			table_text(s, "backend"), table_number(s, "ports"),
			table_number(s, "cpu_us") / table_number(s, "seconds") / 1e4, table_number(s, "switches"),
			table_number(s, "anon_kb"), table_number(s, "seconds"));
}

static void put_texts(FILE *f, const char *what, const json_t *list)
{
	const json_t *t;
	size_t i;
	json_array_foreach(list, i, t)
		fprintf(f, "  %s: %s\n", what, json_string_value(t));
}

static void put_row(FILE *f, const json_t *row)
{
	const json_t *entry;
	const char *who;
	json_t *why;
	size_t i;
	fprintf(f, "%s\n", table_text(row, "row"));
	json_object_foreach((json_t *)(uintptr_t)json_object_get(row, "cannot"), who, why)
		fprintf(f, "  %s takes no part: %s\n", who, json_string_value(why));
	put_texts(f, "VOID", json_object_get(row, "void"));
	if (strcmp(table_text(row, "way"), "idle") == 0)
		put_idle(f, row);
	put_kills(f, row);
	json_array_foreach(json_object_get(row, "summary"), i, entry)
		put_entry(f, row, entry);
	put_texts(f, "note", json_object_get(row, "marks"));
}

void table_print(FILE *f, const json_t *record)
{
	const json_t *j, *machine = json_object_get(record, "machine");
	size_t i;
	fprintf(f, "%s, %s CPUs online %.0f, cycles %.0f MHz, kernel %s; seed %s\n", table_text(machine, "cpu"),
		json_is_true(json_object_get(machine, "virtual")) ? "virtual," : "", table_number(machine, "cpus_online"),
		table_number(machine, "cycle_hz") / 1e6, table_text(machine, "kernel"), table_text(record, "seed"));
	json_array_foreach(json_object_get(record, "backends"), i, j)
		fprintf(f, "%s: %s\n  %s\n", table_text(j, "name"), table_text(j, "version"), table_text(j, "command"));
	fprintf(f, "                     cycles      CPU     M/s  driver   busy  batch  batch   lowest..highest\n"
		   "                     /frame   cycles          cycles      %%     tx     rx   cycles\n");
	json_array_foreach(json_object_get(record, "rows"), i, j)
		put_row(f, j);
}

void table_brief(const json_t *row)
{
	const json_t *entry, *r;
	size_t i, k;
	json_array_foreach(json_object_get(row, "summary"), i, entry)
		json_array_foreach(json_object_get(entry, "ratios"), k, r)
			if (r == judge_cost_ratio(entry, table_text(r, "of"), table_text(r, "to")))
				progress("  %s: %s / %s %s %.3f (95 %% %.3f..%.3f, %.0f pairs)",
					 table_text(entry, "placement"), table_text(r, "of"), table_text(r, "to"),
					 table_text(r, "metric"), table_number(r, "median"), table_number(r, "low"),
					 table_number(r, "high"), table_number(r, "n"));
}
