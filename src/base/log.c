#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 1024
#define RATE_BURST 10u
#define RATE_WINDOW_US 10000000u // RATE_BURST lines per window: one a second on average

static _Atomic int current_level = LOG_LINFO;
static const char *program = "vringd";
static void (*sink_fn)(void *arg, enum log_level level, const char *line);
static void *sink_arg;

static const char *const level_names[] = {
	[LOG_LERR] = "error", [LOG_LWARN] = "warn", [LOG_LINFO] = "info", [LOG_LDEBUG] = "debug",
};
// syslog priorities, for a journal that reads our stderr
static const char *const level_prio[] = { [LOG_LERR] = "<3>", [LOG_LWARN] = "<4>", [LOG_LINFO] = "<6>", [LOG_LDEBUG] = "<7>" };

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_level_parse(const char *word)
{
	for (int i = 0; i <= LOG_LDEBUG; i++)
		if (strcmp(word, level_names[i]) == 0)
			return i;
	return -1;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

void log_set_program(const char *name)
{
	program = name;
}

void log_set_sink(void (*sink)(void *arg, enum log_level level, const char *line), void *arg)
{
	sink_fn = sink;
	sink_arg = arg;
}

__attribute__((format(printf, 2, 0))) static void emit(enum log_level level, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES];
	int saved = errno;
	// journald sets JOURNAL_STREAM for a unit's stderr and understands "<N>" there; a terminal does not
	const char *prio = getenv("JOURNAL_STREAM") ? level_prio[level] : "";
	int at = snprintf(line, sizeof(line), "%s%s: ", prio, program);
	if (at < 0 || at >= (int)sizeof(line))
		return;
	int n = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, fmt, ap);
	if (n < 0)
		return;
	size_t len = strlen(line);
	for (size_t i = (size_t)at; i < len; i++) // a peer's text must not forge a second line
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (sink_fn) {
		sink_fn(sink_arg, level, line);
	} else {
		line[len] = '\n';
		ssize_t ignored = write(STDERR_FILENO, line, len + 1);
		(void)ignored;
	}
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (level > log_level())
		return;
	va_list ap;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}

void log_rated(struct log_rate *rate, enum log_level level, const char *fmt, ...)
{
	if (level > log_level())
		return;
	uint64_t now = clock_boot_us();
	if (now - rate->window_us >= RATE_WINDOW_US) {
		if (rate->suppressed)
			log_line(level, "%u similar lines were left out", rate->suppressed);
		rate->window_us = now;
		rate->tokens_used = 0;
		rate->suppressed = 0;
	}
	if (rate->tokens_used >= RATE_BURST) {
		rate->suppressed++;
		return;
	}
	rate->tokens_used++;
	va_list ap;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}
