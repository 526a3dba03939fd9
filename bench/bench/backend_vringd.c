// vringd, started in private folders; its counters come from its control socket.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "bench/backend.h"

// $VRINGD, the one beside this program, the one in PATH.
static const char *program(char *buf, size_t size)
{
	const char *env = getenv("VRINGD");
	if (env && env[0])
		return env;
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	if (n > 0) {
		buf[n] = '\0';
		char *slash = strrchr(buf, '/');
		if (slash && (size_t)(slash + 1 - buf) + sizeof("vringd") <= size) {
			strcpy(slash + 1, "vringd");
			if (access(buf, X_OK) == 0)
				return buf;
		}
	}
	return "vringd";
}

struct args {
	char *v[BACKEND_PORTS * 2 + 20];
	unsigned n;
};

static void arg(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&a->v[a->n], fmt, ap) < 0)
		a->v[a->n] = NULL;
	else
		a->n++;
	va_end(ap);
}

static void args_of(struct backend *b, const struct need *n, struct args *a)
{
	char self[300];
	memset(a, 0, sizeof(*a));
	arg(a, "%s", program(self, sizeof(self)));
	if (b->spec.alone)
		arg(a, "--no-keeper");
	arg(a, "--runtime-dir");
	arg(a, "%s/run", b->dir);
	arg(a, "--state-dir");
	arg(a, "%s/state", b->dir);
	arg(a, "--threads");
	arg(a, "%u", b->opts->n_cpus - 1);
	arg(a, "--cpus");
	char cpus[100];
	size_t len = 0;
	for (unsigned i = 1; i < b->opts->n_cpus && len < sizeof(cpus); i++)
		len += (size_t)snprintf(cpus + len, sizeof(cpus) - len, "%s%d", i > 1 ? "," : "", b->opts->cpu[i]);
	arg(a, "%s", cpus);
	char macs[40] = "";
	if (b->opts->flows > 64) // of more addresses than a port may have, the rest is flooded, and at a limited rate
		snprintf(macs, sizeof(macs), ",max-macs=%u", b->opts->flows);
	for (unsigned i = 0; i < n->ports; i++) {
		arg(a, "--port");
		arg(a, "vhost-user,id=p%u%s%s", i, n->packed ? ",packed=on" : "", macs);
		snprintf(b->sock[i], sizeof(b->sock[i]), "%s/run/p%u.sock", b->dir, i);
	}
	if (n->sink) {
		arg(a, "--port");
		arg(a, "null,id=sink");
	}
}

static enum err start(struct backend *b, const struct need *n, struct why *why)
{
	if (n->loop)
		return refuse(why, "a switch never sends a frame back out of its port");
	char path[120];
	snprintf(path, sizeof(path), "%s/run", b->dir);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return ours(why, "%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/state", b->dir);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return ours(why, "%s: %s", path, strerror(errno));
	struct args *a = malloc(sizeof(*a));
	if (!a)
		return ours(why, "no memory");
	args_of(b, n, a);
	enum err e = backend_spawn(b, a->v, true,
				   why); // its data threads pin themselves; its control thread must not disturb them
	for (unsigned i = 0; i < a->n; i++)
		free(a->v[i]);
	free(a);
	if (e == OK)
		e = backend_await(b, n->ports, 10000, why);
	if (!b->version[0])
		snprintf(b->version, sizeof(b->version), "vringd %s", VRINGD_VERSION);
	return e;
}

// One request, one answer, at most a second. NULL: none came.
static json_t *ask(const struct backend *b, const char *method)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/run/control.sock", b->dir);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval second = { 1, 0 };
	char line[200];
	int len = snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}\n", method);
	json_t *answer = NULL;
	if (s >= 0 && setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) == 0 &&
	    connect(s, (struct sockaddr *)&sa, sizeof(sa)) == 0 && send(s, line, (size_t)len, MSG_NOSIGNAL) == len)
		answer = json_loadfd(s, JSON_DISABLE_EOF_CHECK, NULL);
	if (s >= 0)
		close(s);
	return answer;
}

struct told {
	bool cycles_known;
	double cycles;
	uint64_t taken, given;
};

static bool look(const struct backend *b, struct told *t)
{
	json_t *answer = ask(b, "stats"), *v, *c;
	size_t i;
	memset(t, 0, sizeof(*t));
	json_t *result = json_object_get(answer, "result"), *threads = json_object_get(result, "threads");
	json_array_foreach(threads, i, v) {
		c = json_object_get(v, "busy_cycles");
		t->cycles_known = json_is_integer(c);
		t->cycles += (double)json_integer_value(c);
	}
	json_array_foreach(json_object_get(result, "stats"), i, v) {
		t->taken += (uint64_t)json_integer_value(json_object_get(json_object_get(v, "in"), "frames"));
		t->given += (uint64_t)json_integer_value(json_object_get(json_object_get(v, "out"), "frames"));
	}
	bool ok = json_is_array(threads);
	json_decref(answer);
	return ok;
}

static void mark(struct backend *b, int end)
{
	struct told t;
	bool ok = look(b, &t);
	if (end && ok && b->now.valid) {
		b->now.valid = t.cycles_known;
		b->now.cycles = t.cycles - b->cycles_from;
		b->now.taken = t.taken - b->taken_from;
		b->now.given = t.given - b->given_from;
	} else {
		b->now.valid = ok && !end;
	}
	b->cycles_from = t.cycles;
	b->taken_from = t.taken;
	b->given_from = t.given;
}

const struct backend_ops backend_vringd = { .start = start, .mark = mark };
