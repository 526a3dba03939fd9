#include "lab/qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CALL_LIMIT_US 60000000

static void on_event(struct qmp *q, json_t *message, const char *name)
{
	if (q->n_events >= QMP_EVENTS)
		return;
	struct qmp_event *e = &q->event[q->n_events++];
	json_t *stamp = json_object_get(message, "timestamp");
	int64_t wall = json_integer_value(json_object_get(stamp, "seconds")) * 1000000 +
		json_integer_value(json_object_get(stamp, "microseconds"));
	const char *status = json_string_value(json_object_get(json_object_get(message, "data"), "status"));
	snprintf(e->name, sizeof(e->name), "%s", name);
	snprintf(e->status, sizeof(e->status), "%s", status ? status : "");
	e->time_us = (uint64_t)(wall + (int64_t)clock_boot_us() - (int64_t)clock_wall_us());
}

// The next message that is no event. Events are remembered on the way; with `stop_at` one of that name ends it, too.
static enum err qmp_take(struct qmp *q, uint64_t until_us, const char *stop_at, bool any, json_t **message, struct why *why)
{
	for (;;) {
		char *line = NULL;
		enum err e = lines_take(&q->lines, until_us, &line, why);
		if (e != OK)
			return e;
		json_t *m = json_loads(line, 0, NULL);
		free(line);
		const char *name = json_string_value(json_object_get(m, "event"));
		if (m && !name) {
			*message = m;
			return OK;
		}
		bool stop = false;
		if (name) {
			on_event(q, m, name);
			stop = any || (stop_at && !strcmp(stop_at, name));
		}
		json_decref(m);
		if (stop) {
			*message = NULL;
			return OK;
		}
	}
}

enum err qmp_open(struct qmp *q, const char *path, uint64_t until_us, struct why *why)
{
	q->n_events = 0;
	enum err e = lines_open(&q->lines, path, until_us, why);
	json_t *greeting = NULL;
	if (e != OK)
		return e;
	e = qmp_take(q, until_us, NULL, false, &greeting, why);
	json_decref(greeting);
	return e == AGAIN ? ours(why, "%s: QEMU does not greet", path) : e == OK ? qmp_call(q, "qmp_capabilities", NULL, NULL, why) : e;
}

void qmp_close(struct qmp *q)
{
	lines_close(&q->lines);
}

enum err qmp_call(struct qmp *q, const char *command, json_t *arguments, json_t **result, struct why *why)
{
	json_t *request = json_pack("{s:s,s:o*}", "execute", command, "arguments", arguments), *m = NULL;
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (q->lines.fd < 0 || !text) {
		free(text);
		return desync(why, "%s: no connection to QEMU", command);
	}
	enum err e = lines_send(&q->lines, text, strlen(text), why);
	free(text);
	if (e == OK)
		e = qmp_take(q, clock_boot_us() + CALL_LIMIT_US, NULL, false, &m, why);
	if (e != OK)
		return e == AGAIN ? ours(why, "%s: QEMU does not answer", command) : e;
	json_t *error = json_object_get(m, "error");
	if (error)
		e = refuse(why, "%s: %s", command, json_string_value(json_object_get(error, "desc")));
	else if (result)
		*result = json_incref(json_object_get(m, "return"));
	json_decref(m);
	return e;
}

enum err qmp_wait(struct qmp *q, const char *name, uint64_t until_us, struct why *why)
{
	if (name && qmp_event_time(q, name))
		return OK;
	json_t *stray = NULL;
	enum err e = qmp_take(q, until_us, name, name == NULL, &stray, why);
	json_decref(stray);
	return e;
}

uint64_t qmp_event_time(const struct qmp *q, const char *name)
{
	for (unsigned i = 0; i < q->n_events; i++)
		if (!strcmp(q->event[i].name, name))
			return q->event[i].time_us;
	return 0;
}

void qmp_forget(struct qmp *q)
{
	q->n_events = 0;
}
