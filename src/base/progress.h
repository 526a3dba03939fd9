// What a command-line program is doing now, one line each on stderr with the seconds since the first; and what went wrong. For
// vringlab and vringbench; the daemon logs.
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

// "PROGRAM:   12.3 s  text". The program's name is the kernel's for this process.
void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// "PROGRAM: text".
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
