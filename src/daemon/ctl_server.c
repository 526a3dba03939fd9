#include "daemon/ctl_server.h"
#include "daemon/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/utf8.h"
#include "daemon/vd.h"
#include "loop/loop.h"

#define MAX_CLIENTS 64
#define MAX_LINE (64u * 1024u)
#define MAX_UNSENT (16u * 1024u * 1024u) // of several answers; a single one may be larger
#define PAUSE_UNSENT (1024u * 1024u) // no further request is read from a client that has so much to read itself
#define ACCEPT_AGAIN_US 1000000

struct ctl_client {
	struct ctl_server *server;
	struct ctl_client *next;
	int fd;
	struct watch *watch;
	uid_t uid;
	char *in;
	size_t in_len;
	char *out;
	size_t out_len, out_room;
	json_t *pending; // id of the request that is answered later
	bool silent; // it had no id: a notification, which is not answered
	void (*on_gone)(void *arg);
	void *gone_arg;
	bool dead;
};

struct ctl_server {
	struct vd *vd;
	char path[108];
	int fd;
	struct watch *watch;
	struct timer *again; // to accept, after descriptors ran out
	struct ctl_client *clients;
	unsigned n;
	bool sweeping;
};

static void client_free(struct ctl_client *c)
{
	if (c->on_gone)
		c->on_gone(c->gone_arg);
	watch_free(c->watch);
	fd_reset(&c->fd);
	json_decref(c->pending);
	free(c->in);
	free(c->out);
	free(c);
}

static void sweep(void *arg)
{
	struct ctl_server *s = arg;
	s->sweeping = false;
	for (struct ctl_client **at = &s->clients; *at;) {
		struct ctl_client *c = *at;
		if (c->dead) {
			*at = c->next;
			s->n--;
			client_free(c);
		} else {
			at = &c->next;
		}
	}
}

// Clients die at the end of the turn: whoever is at work on one may go on.
static void client_end(struct ctl_client *c)
{
	c->dead = true;
	watch_set(c->watch, 0);
	if (!c->server->sweeping) {
		c->server->sweeping = true;
		loop_defer(vd_loop(c->server->vd), sweep, c->server);
	}
}

static void flush(struct ctl_client *c)
{
	while (c->out_len && !c->dead) {
		ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			client_end(c);
			return;
		}
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	if (!c->dead)
		watch_set(c->watch, (c->out_len < PAUSE_UNSENT ? LOOP_READ : 0) | (c->out_len ? LOOP_WRITE : 0));
}

static void send_json(struct ctl_client *c, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	json_decref(message);
	if (!text && !c->dead) { // rather no connection than an answer that never comes
		client_end(c);
		return;
	}
	if (c->dead) {
		free(text);
		return;
	}
	if (c->out_len + n + 1 > c->out_room) {
		size_t room = c->out_len + n + 1;
		char *more = c->out_len == 0 || room <= MAX_UNSENT ? realloc(c->out, room) : NULL;
		if (!more) { // it does not read, or we have no memory: either way it is too slow for us
			free(text);
			client_end(c);
			return;
		}
		c->out = more;
		c->out_room = room;
	}
	memcpy(c->out + c->out_len, text, n);
	c->out[c->out_len + n] = '\n';
	c->out_len += n + 1;
	free(text);
	flush(c);
}

static void send_error(struct ctl_client *c, json_t *id, int code, const char *text)
{
	char clean[2 * WHY_MAX];
	snprintf(clean, sizeof(clean), "%s", text);
	send_json(c, json_pack("{s:s,s:O?,s:{s:i,s:s}}", "jsonrpc", "2.0", "id", id ? id : json_null(), "error", "code", code,
			       "message", utf8_mend(clean)));
}

static void send_result(struct ctl_client *c, json_t *id, json_t *result)
{
	json_object_set_new(result, "api", json_integer(1));
	send_json(c, json_pack("{s:s,s:O?,s:o}", "jsonrpc", "2.0", "id", id ? id : json_null(), "result", result));
}

static void answer(struct ctl_client *c, json_t *result, int code, const char *error)
{
	json_t *id = c->pending;
	c->pending = NULL;
	if (c->silent)
		json_decref(result);
	else if (error)
		send_error(c, id, code, error);
	else
		send_result(c, id, result);
	json_decref(id);
}

void ctl_client_answer(struct ctl_client *c, json_t *result, const char *error)
{
	answer(c, result, -32000, error);
}

void ctl_client_notify(struct ctl_client *c, const char *method, json_t *params)
{
	send_json(c, json_pack("{s:s,s:s,s:o}", "jsonrpc", "2.0", "method", method, "params", params));
}

bool ctl_client_on_gone(struct ctl_client *c, void (*fn)(void *arg), void *arg)
{
	if (fn && c->on_gone)
		return false; // who set it counts on being called
	c->on_gone = fn;
	c->gone_arg = arg;
	return true;
}

static void call_method(struct ctl_client *c, const struct rpc_method *m, json_t *id, json_t *params)
{
	struct rpc_call call = { .vd = c->server->vd, .client = c, .uid = c->uid, .params = params };
	struct why why = { "" };
	if (m->owner_only && c->uid != 0 && c->uid != geteuid()) {
		send_error(c, id, -32001, "only root and the daemon's own user may do that");
		return;
	}
	if (c->pending) {
		send_error(c, id, -32002, "an earlier request of this connection is still waiting");
		return;
	}
	c->pending = json_incref(id ? id : json_null());
	c->silent = !id;
	crash_poison("rpc", m->name, 0);
	enum err e = m->fn(&call, &why);
	if (e == OK && call.later)
		return;
	if (e == OK)
		ctl_client_answer(c, call.result ? call.result : json_object(), NULL);
	else
		answer(c, NULL, call.usage ? -32602 : -32000, why.text);
}

static void on_line(struct ctl_client *c, const char *line, size_t n)
{
	json_error_t err;
	json_t *msg = json_loadb(line, n, JSON_REJECT_DUPLICATES, &err);
	if (!msg) {
		send_error(c, NULL, -32700, err.text);
		return;
	}
	json_t *id = json_object_get(msg, "id"), *params = json_object_get(msg, "params");
	const char *name = json_string_value(json_object_get(msg, "method"));
	if (!name || (params && !json_is_object(params)) || json_is_object(id) || json_is_array(id)) {
		send_error(c, NULL, -32600, "not a request: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":{}}");
	} else {
		const struct rpc_method *m = rpc_methods;
		while (m->name && strcmp(m->name, name) != 0)
			m++;
		if (m->name)
			call_method(c, m, id, params);
		else
			send_error(c, id, -32601, "no such method");
	}
	json_decref(msg);
}

static void on_input(struct ctl_client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, MAX_LINE - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(c);
		return;
	}
	c->in_len += (size_t)n;
	size_t from = 0;
	char *end;
	while (!c->dead && (end = memchr(c->in + from, '\n', c->in_len - from))) {
		size_t len = (size_t)(end - (c->in + from));
		if (len)
			on_line(c, c->in + from, len);
		from += len + 1;
	}
	memmove(c->in, c->in + from, c->in_len - from);
	c->in_len -= from;
	if (c->in_len == MAX_LINE) {
		send_error(c, NULL, -32600, "line is over 64 KiB");
		client_end(c);
	}
}

static void on_client(void *arg, int fd, int ready)
{
	struct ctl_client *c = arg;
	(void)fd;
	if (ready & LOOP_WRITE)
		flush(c);
	if ((ready & LOOP_READ) && !c->dead)
		on_input(c);
}

static void on_accept(void *arg, int fd, int ready)
{
	struct ctl_server *s = arg;
	(void)ready;
	int f = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (f < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) { // it would be ready at once again
		watch_set(s->watch, 0);
		timer_arm(s->again, ACCEPT_AGAIN_US);
		return;
	}
	struct ctl_client *c = f >= 0 && s->n < MAX_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		fd_reset(&f);
		return;
	}
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	getsockopt(f, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	c->server = s;
	c->fd = f;
	c->uid = peer.uid;
	c->in = malloc(MAX_LINE);
	c->watch = c->in ? watch_new(vd_loop(s->vd), f, LOOP_READ, on_client, c) : NULL;
	if (!c->watch) {
		client_free(c);
		return;
	}
	c->next = s->clients;
	s->clients = c;
	s->n++;
}

static void on_again(void *arg)
{
	struct ctl_server *s = arg;
	watch_set(s->watch, LOOP_READ);
}

// A socket that a dead daemon left is removed; one that somebody listens on is not: that daemon has another state directory.
static enum err clear_stale(const char *path, const struct sockaddr_un *sa, struct why *why)
{
	struct stat st;
	if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return OK; // bind tells
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = probe >= 0 ? connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) : -1;
	int e = errno;
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);
	if (rc == 0)
		getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	fd_reset(&probe);
	if (rc == 0 || e == EAGAIN)
		return refuse(why, "control socket %.110s: another daemon listens there, pid %d; give another --control", path,
			      (int)peer.pid);
	unlink(path);
	return OK;
}

static enum err listen_at(int *out, const char *path, struct why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	strcpy(sa.sun_path, path);
	enum err e = clear_stale(path, &sa, why);
	if (e != OK)
		return e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old = umask(0177);
	int rc = fd >= 0 ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) : -1;
	umask(old);
	*out = fd;
	if (rc == 0 && listen(fd, 16) == 0)
		return OK;
	e = ours(why, "control socket %s: %s", path, strerror(errno));
	fd_reset(out);
	return e;
}

enum err ctl_server_new(struct ctl_server **out, struct vd *vd, struct kept *kept, const char *path, struct why *why)
{
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return refuse(why, "control socket %.60s...: the path is over 107 bytes", path);
	int fd = kept_take(kept, KEPT_CONTROL);
	enum err e = fd < 0 ? listen_at(&fd, path, why) : OK;
	if (e != OK)
		return e;
	kept_put(kept, KEPT_CONTROL, fd, false);
	struct ctl_server *s = calloc(1, sizeof(*s));
	if (!s) {
		fd_reset(&fd);
		return ours(why, "no memory");
	}
	s->vd = vd;
	strcpy(s->path, path);
	s->fd = fd;
	s->again = timer_new(vd_loop(vd), on_again, s);
	s->watch = s->again ? watch_new(vd_loop(vd), s->fd, LOOP_READ, on_accept, s) : NULL;
	if (!s->watch) {
		ctl_server_free(s);
		return ours(why, "no memory");
	}
	*out = s;
	return OK;
}

void ctl_server_free(struct ctl_server *s)
{
	if (!s)
		return;
	while (s->clients) {
		struct ctl_client *c = s->clients;
		s->clients = c->next;
		client_free(c);
	}
	watch_free(s->watch);
	timer_free(s->again);
	fd_reset(&s->fd);
	unlink(s->path);
	free(s);
}
