// A run's file: written, read, checked.
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include <jansson.h>

#include "base/err.h"
#include "bench/rows.h"

#define RECORD_API 1

// A record without rows: options, machine, seed, when. New reference.
json_t *record_new(const struct bench *b);
void record_backends(json_t *record, const struct bench *b); // their versions and command lines, known once they ran
json_t *record_row(json_t *record, const struct row *r); // appended; borrowed
enum err record_write(const json_t *record, const char *path, struct why *why);
// New reference; REFUSED: not a file of ours, OURS: it can't be read.
enum err record_read(json_t **out, const char *path, struct why *why);

#endif
