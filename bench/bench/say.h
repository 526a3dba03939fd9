// What vringbench is doing now, one line each on stderr.
#ifndef BENCH_SAY_H
#define BENCH_SAY_H

// With the seconds since the start in front.
void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// "vringbench: text".
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
