#include "lab/agent_link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lab/proc.h"

#define ASK_AGAIN_US 2000000

enum err agent_open(struct agent_link *a, const char *path, uint64_t until_us, struct why *why)
{
	return lines_open(&a->lines, path, until_us, why);
}

void agent_close(struct agent_link *a)
{
	lines_close(&a->lines);
}

// Is the line the answer to this id? Then *rest is what follows "ID ".
static bool line_answers(const char *line, unsigned id, const char **rest)
{
	char *end;
	unsigned long n = strtoul(line, &end, 10);
	// A serial port that the agent has not opened yet echoes the command: that is no answer.
	if (end == line || *end != ' ' || n != id || (strncmp(end + 1, "OK", 2) && strncmp(end + 1, "ERR", 3)))
		return false;
	*rest = end + 1;
	return true;
}

static enum err agent_wait(struct agent_link *a, unsigned id, uint64_t until_us, char *answer, size_t size, struct why *why)
{
	for (;;) {
		char *line = NULL;
		const char *rest;
		enum err e = lines_take(&a->lines, until_us, &line, why);
		if (e != OK)
			return e;
		line[strcspn(line, "\r")] = 0;
		bool ours_it_is = line_answers(line, id, &rest);
		if (ours_it_is && !strncmp(rest, "OK", 2))
			snprintf(answer, size, "%s", rest[2] ? rest + 3 : "");
		else if (ours_it_is)
			e = refuse(why, "agent: %.150s", rest);
		free(line);
		if (ours_it_is)
			return e;
	}
}

enum err agent_ask(struct agent_link *a, uint64_t until_us, char *answer, size_t size, struct why *why, const char *fmt, ...)
{
	char command[200], line[240];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	// Unique over all connections to a guest: after a move its agent still remembers the last one.
	static unsigned next_id;
	unsigned id = a->last_id = ++next_id;
	int n = snprintf(line, sizeof(line), "\n%u %s\n", id, command);
	enum err e = AGAIN;
	while (e == AGAIN && clock_boot_us() < until_us && !interrupted()) {
		e = lines_send(&a->lines, line, (size_t)n, why);
		uint64_t turn = clock_boot_us() + ASK_AGAIN_US;
		if (e == OK)
			e = agent_wait(a, id, turn < until_us ? turn : until_us, answer, size, why);
	}
	return e == AGAIN ? ours(why, "the guest's agent does not answer to %.40s", command) : e;
}

enum err agent_sync(struct agent_link *a, struct why *why)
{
	uint64_t best = UINT64_MAX;
	char answer[400];
	for (int i = 0; i < 6; i++) {
		uint64_t before = clock_boot_us();
		enum err e = agent_ask(a, before + 10000000, answer, sizeof(answer), why, "PING");
		uint64_t after = clock_boot_us();
		if (e != OK)
			return e;
		if (after - before < best) {
			best = after - before;
			a->clock_offset_us = (int64_t)(before + best / 2) - (int64_t)answer_number(answer, "time_us");
		}
	}
	return OK;
}

bool answer_text(const char *answer, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);
	for (const char *p = answer; p && *p; p = strchr(p, ' ')) {
		while (*p == ' ')
			p++;
		if (strncmp(p, key, n) || p[n] != '=')
			continue;
		snprintf(out, size, "%.*s", (int)strcspn(p + n + 1, " "), p + n + 1);
		return true;
	}
	if (size)
		out[0] = 0;
	return false;
}

uint64_t answer_number(const char *answer, const char *key)
{
	char text[40];
	return answer_text(answer, key, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}
