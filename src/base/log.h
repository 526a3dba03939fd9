// Diagnostics: one line each on stderr, "vringd: port vm0: ring 1: text". The only output path of the daemon.
// Safe from any thread; each line is one write(2). Never call it per frame; where a peer can cause a line, use a log_rate.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LERR, LOG_LWARN, LOG_LINFO, LOG_LDEBUG };

// Bounds the lines that one peer can cause: a burst of 10, then one a second; what was left out is counted and said
// with the next line. Zero-initialised is ready. Belongs to the object (port) that the lines are about.
struct log_rate {
	uint64_t window_us;
	uint32_t tokens_used;
	uint32_t suppressed;
};

void log_set_level(enum log_level level);
enum log_level log_level(void);
// "error", "warn", "info", "debug"; returns -1 for any other word.
int log_level_parse(const char *word);
const char *log_level_name(enum log_level level);
// The program's name in front of each line; default "vringd". The string must outlive the process.
void log_set_program(const char *name);
// Where lines go instead of stderr (tests); NULL restores stderr.
void log_set_sink(void (*sink)(void *arg, enum log_level level, const char *line), void *arg);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_rated(struct log_rate *rate, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_err(...) log_line(LOG_LERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LWARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LINFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LDEBUG, __VA_ARGS__)

#endif
