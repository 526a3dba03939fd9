#include "timeline/timeline.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct text { // counts on where the buffer ends
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *fmt, ...)
{
	size_t room = t->len < t->size ? t->size - t->len : 0;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

static void text_string(struct text *t, const char *s)
{
	text_add(t, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			text_add(t, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f) // also what could be no UTF-8
			text_add(t, "\\u%04x", c);
		else
			text_add(t, "%c", c);
	}
	text_add(t, "\"");
}

static void text_moment(struct text *t, const char *name, uint64_t us)
{
	if (us)
		text_add(t, ",\"%s\":%" PRIu64, name, us);
	else
		text_add(t, ",\"%s\":null", name);
}

static void text_announcement(struct text *t, const struct timeline_announcement *a)
{
	text_add(t, "{\"kind\":");
	text_string(t, a->kind);
	text_add(t, ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"round\":%" PRIu32 ",\"time_us\":%" PRIu64 "}", a->mac[0],
		 a->mac[1], a->mac[2], a->mac[3], a->mac[4], a->mac[5], a->round, a->time_us);
}

size_t timeline_json(const struct timeline *t, char *buf, size_t size)
{
	struct text out = { buf, size, 0 };
	if (size)
		buf[0] = '\0';
	text_add(&out, "{\"id\":%" PRIu64 ",\"port\":", t->id);
	text_string(&out, t->port);
	text_add(&out, ",\"guest\":");
	if (t->guest[0])
		text_string(&out, t->guest);
	else
		text_add(&out, "null");
	text_add(&out, ",\"role\":\"%s\",\"outcome\":\"%s\"", timeline_role_name(t->role), timeline_outcome_name(t->outcome));
	text_moment(&out, "started_us", t->started_us);
	text_moment(&out, "started_wall_us", t->started_wall_us);
	text_moment(&out, "stopped_us", t->stopped_us);
	text_moment(&out, "running_us", t->running_us);
	text_moment(&out, "first_kick_us", t->first_kick_us);
	text_moment(&out, "first_frame_in_us", t->first_frame_in_us);
	text_moment(&out, "first_frame_out_us", t->first_frame_out_us);
	text_moment(&out, "blackout_us", t->blackout_us);
	text_add(&out, ",\"pages_logged\":%" PRIu64 ",\"held\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"dropped\":%" PRIu64,
		 t->pages_logged, t->held, t->delivered, t->dropped);
	text_add(&out, ",\"announcements\":[");
	for (unsigned i = 0; i < t->n_announcements && i < TIMELINE_MAX_ANNOUNCEMENTS; i++) {
		if (i)
			text_add(&out, ",");
		text_announcement(&out, &t->announcement[i]);
	}
	text_add(&out, "],\"announcements_left_out\":%u}", t->announcements_left_out);
	return out.len;
}
