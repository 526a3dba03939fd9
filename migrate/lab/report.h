// A run as JSON, JUnit XML and a page.
#ifndef LAB_REPORT_H
#define LAB_REPORT_H

#include <stdio.h>

#include "lab/result.h"

// Stable: fields are only ever added. The caller owns it.
json_t *report_json(const struct results *r);
// All return OURS with the reason if the file can't be written.
enum err report_junit(const struct results *r, const char *path, struct why *why);
enum err report_html(const struct results *r, const char *path, struct why *why);
// One round's drawing: datagrams per 10 ms at both guests, and the moments.
void report_svg(FILE *f, const struct round *r);
void report_kills(FILE *f, const struct results *r); // a table of all of them, and their gaps drawn
const char *kill_when_name(enum kill_when w); // "logging"
void report_escape(FILE *f, const char *text); // for XML and HTML

#endif
