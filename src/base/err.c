#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
	[OK] = "ok", [AGAIN] = "again", [REFUSED] = "refused", [DESYNC] = "desync", [OURS] = "ours",
};

const char *err_name(enum err e)
{
	return (unsigned)e < sizeof(names) / sizeof(names[0]) ? names[e] : "?";
}

#define WHY_BODY(why, fmt)                                                 \
	do {                                                               \
		if (why) {                                                 \
			va_list ap_;                                       \
			va_start(ap_, fmt);                                \
			vsnprintf((why)->text, sizeof((why)->text), fmt, ap_); \
			va_end(ap_);                                       \
		}                                                          \
	} while (0)

enum err refuse(struct why *why, const char *fmt, ...)
{
	WHY_BODY(why, fmt);
	return REFUSED;
}

enum err desync(struct why *why, const char *fmt, ...)
{
	WHY_BODY(why, fmt);
	return DESYNC;
}

enum err ours(struct why *why, const char *fmt, ...)
{
	WHY_BODY(why, fmt);
	return OURS;
}
