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
#define ASK_TRIES 4 // a question is put, if a worker after the other dies of something

struct client {
	const struct ctl *ctl;
	char path[300];
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
		snprintf(out[n++], 300, "%.*s/control.sock", (int)strcspn(run, ":"), run); // systemd gives a list: the first, as vringd
	snprintf(out[n++], 300, "/run/vringd/control.sock");
	if (xdg && xdg[0])
		snprintf(out[n++], 300, "%s/vringd/control.sock", xdg);
	return n;
}

static bool attach(struct client *cl)
{
	int fd = connect_or_wait(cl->path), e = errno;
	cl->in = fd >= 0 ? fdopen(dup(fd), "r") : NULL;
	cl->fd = fd;
	if (fd >= 0 && !cl->in)
		close(fd);
	errno = e;
	return cl->in != NULL;
}

static void detach(struct client *cl)
{
	if (!cl->in)
		return;
	fclose(cl->in);
	close(cl->fd);
	cl->in = NULL;
}

bool client_again(struct client *cl)
{
	detach(cl);
	return attach(cl);
}

struct client *client_open(const struct ctl *c)
{
	char place[3][300];
	int err[3] = { 0 };
	unsigned n = places(c, place);
	for (unsigned i = 0; i < n; i++) {
		struct client *cl = calloc(1, sizeof(*cl));
		if (!cl)
			continue;
		cl->ctl = c;
		strcpy(cl->path, place[i]);
		if (attach(cl))
			return cl;
		err[i] = errno;
		free(cl);
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
	detach(cl);
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

// One that asks only may be put again; of any other it is not known whether it was done.
static bool asks_only(const char *method)
{
	static const char *const changing[] = { "port.", "announce", "drain", "undrain", "log-level", "upgrade" };
	for (unsigned i = 0; i < sizeof(changing) / sizeof(changing[0]); i++)
		if (strncmp(method, changing[i], strlen(changing[i])) == 0)
			return false;
	return true;
}

static json_t *ask_once(struct client *cl, const char *text)
{
	json_t *msg = NULL;
	bool sent = send_all(cl->fd, text, strlen(text)) && send_all(cl->fd, "\n", 1);
	while (sent && (msg = read_message(cl)) && json_integer_value(json_object_get(msg, "id")) != cl->id &&
	       !json_object_get(msg, "error")) {
		json_decref(msg); // a notification
	}
	return msg;
}

json_t *client_call(struct client *cl, const char *method, json_t *params)
{
	json_t *req = json_pack("{s:s,s:I,s:s,s:o}", "jsonrpc", "2.0", "id", ++cl->id, "method", method, "params",
				params ? params : json_object());
	char *text = json_dumps(req, JSON_COMPACT);
	json_decref(req);
	json_t *msg = text ? ask_once(cl, text) : NULL;
	for (int i = 1; text && !msg && asks_only(method) && i < ASK_TRIES && client_again(cl); i++)
		msg = ask_once(cl, text); // its worker has died: the next one answers
	free(text);
	if (!msg && asks_only(method)) {
		complain(cl->ctl, "the daemon closed the connection");
		return NULL;
	}
	if (!msg) {
		complain(cl->ctl, "the daemon closed the connection before it answered: whether %s was done is not known; look with "
			 "`vringctl ports` or `vringctl events`, then repeat it if it was not", method);
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
