#include "bench/html.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/judge.h"
#include "bench/table.h"

static const char head[] =
	"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
	"content=\"width=device-width\">\n"
	"<title>vringbench</title><style>\n"
	":root{color-scheme:light "
	"dark;--ink:#1b2430;--page:#fff;--faint:#687485;--line:#d5dbe3;--bad:#c02626;--b0:#2f6fb7;--b1:#c26a00;"
	"--b2:#2d8a4e;--b3:#8a4fc0}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--page:#14181e;--faint:#93a0b1;--line:#343d49;--bad:#ff7a7a;-"
	"-b0:#6aa9ee;"
	"--b1:#ffab54;--b2:#5ecb83;--b3:#c09bf0}}\n"
	"body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:62rem;margin:2rem "
	"auto;padding:0 1rem}\n"
	"table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;padding:.2rem "
	".5rem;border-bottom:1px solid var(--line)}\n"
	"td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:var(--bad);font-weight:600}.faint{color:"
	"var(--faint);fill:var(--faint)}\n"
	"h2{margin-top:2.2rem;border-top:1px solid "
	"var(--line);padding-top:.8rem}code{overflow-wrap:anywhere}svg{width:100%;max-width:44rem;height:auto}\n"
	"svg text{font-size:11px;fill:var(--ink)}svg "
	"text.faint{fill:var(--faint)}.axis{stroke:var(--line);fill:none}.mixed{fill:none}\n"
	".b0{fill:var(--b0);stroke:var(--b0)}.b1{fill:var(--b1);stroke:var(--b1)}.b2{fill:var(--b2);stroke:var(--b2)}.b3{"
	"fill:var(--b3);stroke:var(--b3)}\n"
	"circle.mixed{fill:none}svg{margin:.3rem 0}\n"
	"</style></head><body>\n";

void html_text(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			fputc(*text, f);
		}
	}
}

static void cell(FILE *f, double v, int digits)
{
	if (isfinite(v))
		fprintf(f, "<td class=n>%.*f", digits, v);
	else
		fputs("<td class=n>–", f);
}

static void put_fact(FILE *f, const char *key, const json_t *v)
{
	fputs("<tr><td>", f);
	html_text(f, key);
	fputs("<td>", f);
	if (json_is_string(v)) {
		html_text(f, json_string_value(v));
	} else {
		char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
		html_text(f, text ? text : "");
		free(text);
	}
	fputs("</tr>\n", f);
}

static void put_head(FILE *f, const json_t *record)
{
	const json_t *b;
	size_t i;
	fputs(head, f);
	fputs("<h1>vhost-user back ends side by side</h1><p>", f);
	html_text(f, table_text(record, "started"));
	fputs(", seed ", f);
	html_text(f, table_text(record, "seed"));
	fputs(". Ratios are medians of pairs taken in one placement of the CPUs, with 95 % bootstrap intervals. Cycles are "
	      "busy cycles per "
	      "frame that a receiver saw.</p>\n<table><tr><th>back end<th>version<th>command ($S: a private folder)</tr>\n",
	      f);
	json_array_foreach(json_object_get(record, "backends"), i, b) {
		fputs("<tr><td>", f);
		html_text(f, table_text(b, "name"));
		fputs("<td>", f);
		html_text(f, table_text(b, "version"));
		fputs("<td><code>", f);
		html_text(f, table_text(b, "command"));
		fputs("</code></tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void put_figures(FILE *f, const json_t *entry)
{
	const json_t *g;
	size_t i;
	fputs("<table><tr><th>back end<th>metric<th class=n>median<th class=n>95 % low<th class=n>high<th class=n>lowest<th "
	      "class=n>highest"
	      "<th class=n>n</tr>\n",
	      f);
	json_array_foreach(json_object_get(entry, "figures"), i, g) {
		int digits = table_number(g, "median") < 100 ? 2 : 0;
		fputs("<tr><td>", f);
		html_text(f, table_text(g, "backend"));
		fprintf(f, "<td>%s", table_text(g, "metric"));
		cell(f, table_number(g, "median"), digits);
		cell(f, table_number(g, "low"), digits);
		cell(f, table_number(g, "high"), digits);
		cell(f, table_number(g, "min"), digits);
		cell(f, table_number(g, "max"), digits);
		cell(f, table_number(g, "n"), 0);
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void put_ratios(FILE *f, const json_t *entry)
{
	const json_t *r;
	size_t i;
	if (json_array_size(json_object_get(entry, "ratios")) == 0)
		return;
	fputs("<table><tr><th>ratio<th>metric<th class=n>median<th class=n>95 % low<th class=n>high<th class=n>quartiles<th "
	      "class=n>pairs<th></tr>\n",
	      f);
	json_array_foreach(json_object_get(entry, "ratios"), i, r) {
		const char *why = table_text(r, "void");
		fputs("<tr><td>", f);
		html_text(f, table_text(r, "of"));
		fputs(" / ", f);
		html_text(f, table_text(r, "to"));
		fprintf(f, "<td>%s", table_text(r, "metric"));
		cell(f, table_number(r, "median"), 3);
		cell(f, table_number(r, "low"), 3);
		cell(f, table_number(r, "high"), 3);
		fprintf(f, "<td class=n>%.3f–%.3f", table_number(r, "q1"), table_number(r, "q3"));
		cell(f, table_number(r, "n"), 0);
		fprintf(f, "<td class=bad>%s%s</tr>\n", why[0] ? "void: " : "", why);
	}
	fputs("</table>\n", f);
}

static void put_idle(FILE *f, const json_t *row)
{
	const json_t *s;
	size_t i;
	fputs("<table><tr><th>back end<th class=n>ports<th class=n>CPU %<th class=n>switches<th class=n>KiB of its "
	      "own</tr>\n",
	      f);
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		fputs("<tr><td>", f);
		html_text(f, table_text(s, "backend"));
		cell(f, table_number(s, "ports"), 0);
		cell(f, table_number(s, "cpu_us") / table_number(s, "seconds") / 1e4, 4);
		cell(f, table_number(s, "switches"), 0);
		cell(f, table_number(s, "anon_kb"), 0);
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void put_notes(FILE *f, const json_t *row)
{
	const char *who;
	json_t *why;
	const json_t *t;
	size_t i;
	json_object_foreach((json_t *)(uintptr_t)json_object_get(row, "cannot"), who, why) {
		fputs("<p class=faint>", f);
		html_text(f, who);
		fputs(" takes no part: ", f);
		html_text(f, json_string_value(why));
		fputs("</p>\n", f);
	}
	json_array_foreach(json_object_get(row, "void"), i, t) {
		fputs("<p class=bad>Void: ", f);
		html_text(f, json_string_value(t));
		fputs("</p>\n", f);
	}
	json_array_foreach(json_object_get(row, "marks"), i, t) {
		fputs("<p class=faint>", f);
		html_text(f, json_string_value(t));
		fputs("</p>\n", f);
	}
}

static void put_row(FILE *f, const json_t *row)
{
	const json_t *entry;
	size_t i;
	const char *way = table_text(row, "way");
	fputs("<h2>", f);
	html_text(f, table_text(row, "row"));
	fputs("</h2>\n", f);
	put_notes(f, row);
	if (strcmp(way, "idle") == 0)
		put_idle(f, row);
	json_array_foreach(json_object_get(row, "summary"), i, entry) {
		fprintf(f, "<h3>Placement: %s</h3>\n", table_text(entry, "placement"));
		put_figures(f, entry);
		put_ratios(f, entry);
	}
	if (strcmp(way, "latency") == 0) {
		plot_row(f, row, "latency_us.p50", "p50, microseconds", 1);
		plot_row(f, row, "latency_us.p99", "p99, microseconds", 1);
	} else if (strcmp(way, "time") == 0) {
		plot_row(f, row, "ms", "milliseconds", 1);
	} else if (strcmp(way, "search") == 0) {
		plot_row(f, row, "found", "million frames a second", 1e6);
	} else if (strcmp(way, "idle") != 0) {
		plot_row(f, row, "cycles", "busy cycles a frame", 1);
		plot_row(f, row, "rate", "million frames a second", 1e6);
	}
}

enum err html_write(const json_t *record, const char *path, struct why *why)
{
	const char *key;
	json_t *v;
	size_t i;
	FILE *f = fopen(path, "we");
	if (!f)
		return ours(why, "%.120s: %s", path, strerror(errno));
	put_head(f, record);
	json_array_foreach(json_object_get(record, "rows"), i, v)
		put_row(f, v);
	fputs("<h2>Machine</h2><table>\n", f);
	json_object_foreach(json_object_get(record, "machine"), key, v)
		put_fact(f, key, v);
	fputs("</table><h2>Options</h2><table>\n", f);
	json_object_foreach(json_object_get(record, "options"), key, v)
		put_fact(f, key, v);
	fputs("</table></body></html>\n", f);
	return fclose(f) == 0 ? OK : ours(why, "%.120s: %s", path, strerror(errno));
}
