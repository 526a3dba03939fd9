// A record for people, on a terminal.
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include <stdio.h>

#include <jansson.h>

void table_print(FILE *f, const json_t *record);
// One row, as soon as it is there: a line or two for the progress.
void table_brief(const json_t *row);

// -- for the report, too --
// Figure (an interval) of a summary entry; NULL: none.
const json_t *table_figure(const json_t *entry, const char *backend, const char *metric);
// Medians of plain sample fields, of the samples in the entry's placement; NAN: none.
double table_median(const json_t *row, const json_t *entry, const char *backend, const char *field);
const char *table_text(const json_t *o, const char *key); // "" if it is no text
double table_number(const json_t *o, const char *key); // NAN if it is no number

#endif
