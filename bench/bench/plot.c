// One picture a row: each sample a dot, over the number of its pair; those of a placement that changed are hollow.
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "bench/html.h"
#include "bench/judge.h"
#include "bench/table.h"

#define WIDTH 640.0
#define HEIGHT 170.0
#define LEFT 56.0
#define BOTTOM 22.0
#define NAMES 8

struct frame {
	double top; // value at the upper edge; 0 is at the lower
	double last; // number of the last pair
	double scale;
	const char *metric;
};

static double x_of(const struct frame *p, double pair)
{
	return LEFT + 8 + pair * (WIDTH - LEFT - 16) / (p->last > 0 ? p->last : 1);
}

static double y_of(const struct frame *p, double v)
{
	return HEIGHT - BOTTOM - v / p->top * (HEIGHT - BOTTOM - 10);
}

static double nice_top(double v)
{
	double unit = pow(10, floor(log10(v)));
	return ceil(v / unit * 2) / 2 * unit;
}

static void axis(FILE *f, const struct frame *p, const char *label)
{
	for (int i = 0; i <= 2; i++) {
		double v = p->top * i / 2;
		fprintf(f,
			"<path class=\"axis\" d=\"M%.0f %.1fH%.0f\"/><text x=\"%.0f\" y=\"%.1f\" "
			"text-anchor=\"end\">%g</text>",
			LEFT, y_of(p, v), WIDTH, LEFT - 4, y_of(p, v) + 4, v);
	}
	fprintf(f, "<text class=\"faint\" x=\"%.0f\" y=\"%.0f\">%s, by pair</text>\n", LEFT, HEIGHT - 4, label);
}

static unsigned index_of(const char **name, unsigned *n, const char *backend)
{
	unsigned k = 0;
	while (k < *n && strcmp(name[k], backend) != 0)
		k++;
	if (k == *n && k < NAMES)
		name[(*n)++] = backend;
	return k;
}

static void dots(FILE *f, const json_t *row, const struct frame *p, const char **name, unsigned *n)
{
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		double v = judge_metric(s, p->metric) / p->scale;
		unsigned k = index_of(name, n, table_text(s, "backend"));
		if (!isfinite(v) || k >= NAMES)
			continue;
		fprintf(f, "<circle class=\"b%u%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>", k,
			strcmp(table_text(s, "placement"), "mixed") == 0 ? " mixed" : "",
			x_of(p, table_number(s, "pair")) + 5.0 * k, y_of(p, v));
		html_text(f, table_text(s, "backend"));
		fprintf(f, " %.4g, %s</title></circle>", v, table_text(s, "placement"));
	}
	fputc('\n', f);
}

void plot_row(FILE *f, const json_t *row, const char *metric, const char *label, double scale)
{
	struct frame p = { .scale = scale, .metric = metric };
	const json_t *s;
	size_t i;
	json_array_foreach(json_object_get(row, "samples"), i, s) {
		double v = judge_metric(s, metric) / scale;
		if (isfinite(v) && v > p.top)
			p.top = v;
		if (table_number(s, "pair") > p.last)
			p.last = table_number(s, "pair");
	}
	if (!(p.top > 0))
		return;
	p.top = nice_top(p.top);
	const char *name[NAMES];
	unsigned n = 0;
	fprintf(f, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", WIDTH + 10, HEIGHT, label);
	axis(f, &p, label);
	dots(f, row, &p, name, &n);
	for (unsigned k = 0; k < n; k++) {
		fprintf(f, "<circle class=\"b%u\" cx=\"%.0f\" cy=\"%.0f\" r=\"3.5\"/><text x=\"%.0f\" y=\"%.0f\">", k,
			240 + 100.0 * k, HEIGHT - 8, 247 + 100.0 * k, HEIGHT - 4);
		html_text(f, name[k]);
		fputs("</text>", f);
	}
	fputs("</svg>\n", f);
}
