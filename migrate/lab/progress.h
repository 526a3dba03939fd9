// What vringlab is doing now, one line each on stderr with the seconds since its start.
#ifndef LAB_PROGRESS_H
#define LAB_PROGRESS_H

void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// A line of another kind: "vringlab: text".
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
