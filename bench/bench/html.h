// A record as one HTML page: tables, SVG plots of all samples, command lines, the machine. Nothing is loaded from elsewhere.
#ifndef BENCH_HTML_H
#define BENCH_HTML_H

#include <stdio.h>

#include <jansson.h>

#include "base/err.h"

enum err html_write(const json_t *record, const char *path, struct why *why);
// One row's samples over its pairs, per back end (plot.c).
void plot_row(FILE *f, const json_t *row, const char *metric, const char *label, double scale);
void html_text(FILE *f, const char *text); // escaped

#endif
