#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

#define WAIT_TRIES 50 // of 100 ms, for a daemon that is restarting

struct client {
	const struct ctl *ctl;
	FILE *in;
	int code; // of the last error
	int fd;
	json_int_t id;
};

void complain(const struct ctl *c, const char *fmt, ...)
{
	char text[1000];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "vringctl: %s\n", text);
	json_t *j = c->json ? json_pack("{s:s,s:i}", "error", text, "api", 1) : NULL;
	if (!j)
		return;
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

int client_status(const struct client *cl)
{
	return cl && cl->code == -32602 ? 2 : 1;
}

static int try_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return -1;
}

static int connect_or_wait(const char *path)
{
	bool told = false;
	for (int i = 0; i < WAIT_TRIES; i++) {
		int fd = try_connect(path);
		// a socket without a listener: the daemon is restarting, or dead
		if (fd >= 0 || errno != ECONNREFUSED)
			return fd;
		if (!told)
			fprintf(stderr, "vringctl: %s: nobody answers, waiting for a daemon that restarts...\n", path);
		told = true;
		struct timespec nap = { 0, 100000000 };
		nanosleep(&nap, NULL);
	}
	errno = ECONNREFUSED;
	return -1;
}

static unsigned places(const struct ctl *c, char out[3][300])
{
	unsigned n = 0;
	const char *env = getenv("VRINGD_CONTROL"), *run = getenv("RUNTIME_DIRECTORY"), *xdg = getenv("XDG_RUNTIME_DIR");
	if (c->control || (env && env[0])) {
		snprintf(out[n++], 300, "%s", c->control ? c->control : env);
		return n;
	}
	if (run && run[0])
		snprintf(out[n++], 300, "%s/control.sock", run);
	snprintf(out[n++], 300, "/run/vringd/control.sock");
	if (xdg && xdg[0])
		snprintf(out[n++], 300, "%s/vringd/control.sock", xdg);
	return n;
}

struct client *client_open(const struct ctl *c)
{
	char place[3][300];
	int err[3] = { 0 };
	unsigned n = places(c, place);
	for (unsigned i = 0; i < n; i++) {
		int fd = connect_or_wait(place[i]);
		err[i] = errno;
		struct client *cl = fd >= 0 ? calloc(1, sizeof(*cl)) : NULL;
		if (!cl)
			continue;
		cl->ctl = c;
		cl->fd = fd;
		cl->in = fdopen(dup(fd), "r");
		if (cl->in)
			return cl;
		free(cl);
		close(fd);
	}
	char tried[1000];
	size_t at = 0;
	for (unsigned i = 0; i < n && at < sizeof(tried); i++)
		at += (size_t)snprintf(tried + at, sizeof(tried) - at, "\n  %s: %s", place[i], strerror(err[i]));
	complain(c, "no daemon found; tried:%s\nStart vringd, or name its socket with --control or $VRINGD_CONTROL.", tried);
	return NULL;
}

void client_close(struct client *cl)
{
	if (!cl)
		return;
	fclose(cl->in);
	close(cl->fd);
	free(cl);
}

static json_t *read_message(struct client *cl)
{
	char *line = NULL;
	size_t room = 0;
	json_t *j = NULL;
	if (getline(&line, &room, cl->in) > 0)
		j = json_loads(line, 0, NULL);
	free(line);
	return j;
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
		if (k <= 0 && errno != EINTR)
			return false;
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
	return true;
}

json_t *client_call(struct client *cl, const char *method, json_t *params)
{
	json_t *req = json_pack("{s:s,s:I,s:s,s:o}", "jsonrpc", "2.0", "id", ++cl->id, "method", method, "params",
				params ? params : json_object());
	char *text = json_dumps(req, JSON_COMPACT);
	json_decref(req);
	bool sent = text && send_all(cl->fd, text, strlen(text)) && send_all(cl->fd, "\n", 1);
	free(text);
	json_t *msg = NULL;
	while (sent && (msg = read_message(cl)) && json_integer_value(json_object_get(msg, "id")) != cl->id &&
	       !json_object_get(msg, "error")) {
		json_decref(msg); // a notification
	}
	if (!msg) {
		complain(cl->ctl, "the daemon closed the connection");
		return NULL;
	}
	cl->code = (int)json_integer_value(json_object_get(json_object_get(msg, "error"), "code"));
	const char *error = json_string_value(json_object_get(json_object_get(msg, "error"), "message"));
	json_t *result = json_incref(json_object_get(msg, "result"));
	if (error || !result) {
		complain(cl->ctl, "%s", error ? error : "the daemon's answer makes no sense");
		json_decref(result);
		result = NULL;
	}
	json_decref(msg);
	return result;
}

json_t *client_next(struct client *cl)
{
	for (;;) {
		json_t *msg = read_message(cl);
		if (!msg)
			return NULL;
		json_t *params = json_incref(json_object_get(msg, "params"));
		json_decref(msg);
		if (params)
			return params;
	}
}
