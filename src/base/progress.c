#include "base/progress.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"

static void __attribute__((format(printf, 2, 0))) say(const char *head, const char *fmt, va_list ap)
{
	char text[600];
	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "%s: %s%s\n", program_invocation_short_name, head, text);
}

void progress(const char *fmt, ...)
{
	static uint64_t start_us;
	uint64_t now = clock_boot_us();
	if (!start_us)
		start_us = now;
	char head[40];
	snprintf(head, sizeof(head), "%6.1f s  ", (double)(now - start_us) / 1e6);
	va_list ap;
	va_start(ap, fmt);
	say(head, fmt, ap);
	va_end(ap);
}

void complain(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}
