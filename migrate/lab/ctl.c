#include "lab/ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "lab/proc.h"

#define LINE_LIMIT (64u << 20)
#define CALL_LIMIT_US 5000000

enum err lines_open(struct lines *l, const char *path, uint64_t until_us, struct why *why)
{
	*l = (struct lines){ .fd = -1 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa.sun_path))
		return ours(why, "%s: a socket's path has at most %zu bytes", path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	for (;;) {
		l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (l->fd >= 0 && connect(l->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
			return OK;
		int e = errno;
		fd_reset(&l->fd);
		if (clock_boot_us() >= until_us || interrupted())
			return ours(why, "%s: %s", path, strerror(e));
		sleep_ms(20);
	}
}

void lines_close(struct lines *l)
{
	fd_reset(&l->fd);
	free(l->buf);
	l->buf = NULL;
	l->have = l->room = 0;
}

enum err lines_send(struct lines *l, const char *data, size_t n, struct why *why)
{
	while (n) {
		ssize_t done = send(l->fd, data, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR && !interrupted())
			continue;
		if (done < 0)
			return desync(why, "send: %s", strerror(errno));
		data += done;
		n -= (size_t)done;
	}
	return OK;
}

static bool lines_cut(struct lines *l, char **line)
{
	char *end = l->have ? memchr(l->buf, '\n', l->have) : NULL;
	if (!end)
		return false;
	size_t n = (size_t)(end - l->buf);
	*line = strndup(l->buf, n);
	memmove(l->buf, end + 1, l->have - n - 1);
	l->have -= n + 1;
	return *line != NULL;
}

static bool lines_room(struct lines *l)
{
	if (l->room - l->have >= 4096)
		return true;
	size_t room = l->room ? l->room * 2 : 16384;
	char *buf = room > LINE_LIMIT ? NULL : realloc(l->buf, room);
	if (!buf)
		return false;
	l->buf = buf;
	l->room = room;
	return true;
}

enum err lines_take(struct lines *l, uint64_t until_us, char **line, struct why *why)
{
	while (!lines_cut(l, line)) {
		uint64_t now = clock_boot_us();
		int wait_ms = until_us > now ? (int)((until_us - now + 999) / 1000) : 0;
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		int n = poll(&p, 1, wait_ms);
		if (n < 0 && errno == EINTR && !interrupted())
			continue;
		if (n <= 0)
			return n == 0 ? AGAIN : ours(why, "poll: %s", strerror(errno));
		if (!lines_room(l))
			return ours(why, "no memory for a line");
		ssize_t got = recv(l->fd, l->buf + l->have, l->room - l->have, 0);
		if (got <= 0)
			return desync(why, "the other side closed");
		l->have += (size_t)got;
	}
	return OK;
}

static enum err ctl_answer(struct lines *l, const char *method, json_t **result, struct why *why)
{
	char *line = NULL;
	enum err e = lines_take(l, clock_boot_us() + CALL_LIMIT_US, &line, why);
	if (e != OK)
		return e == AGAIN ? ours(why, "%s: vringd does not answer", method) : e;
	json_t *answer = json_loads(line, 0, NULL), *error = json_object_get(answer, "error");
	free(line);
	*result = json_incref(json_object_get(answer, "result"));
	if (!*result) {
		const char *text = json_string_value(json_object_get(error, "message"));
		e = refuse(why, "%s: %s", method, text ? text : "no result");
	}
	json_decref(answer);
	return e;
}

enum err ctl_call(const char *path, const char *method, json_t *params, json_t **result, struct why *why)
{
	struct lines l;
	*result = NULL;
	json_t *request = json_pack("{s:s,s:i,s:s,s:o*}", "jsonrpc", "2.0", "id", 1, "method", method, "params", params);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	enum err e = text ? lines_open(&l, path, clock_boot_us() + CALL_LIMIT_US, why) : ours(why, "no memory");
	if (e == OK) {
		e = lines_send(&l, text, strlen(text), why);
		if (e == OK)
			e = lines_send(&l, "\n", 1, why);
		if (e == OK)
			e = ctl_answer(&l, method, result, why);
		lines_close(&l);
	}
	free(text);
	return e;
}
