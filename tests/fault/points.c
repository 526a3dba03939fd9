#include "points.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/vu_table.h"

#define PATIENCE_US 8000000

bool points_fail(struct points *p, const char *fmt, ...)
{
	char text[1600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bed_fail(&p->bed, "step %u (%s): %s", p->at, p->cur.name, text);
	return false;
}

// -- the daemon -------------------------------------------------------------------------------------------------------------

static bool make_page(struct points *p)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(p->page_path, sizeof(p->page_path), "%.60s/vringd-points-XXXXXX", tmp != NULL ? tmp : "/tmp");
	int fd = mkstemp(p->page_path);
	if (fd < 0 || ftruncate(fd, sizeof(*p->page)) != 0)
		return false;
	void *at = mmap(NULL, sizeof(*p->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	p->page = at == MAP_FAILED ? NULL : at;
	return p->page != NULL && setenv("VRINGD_CRASH_PAGE", p->page_path, 1) == 0;
}

bool points_open(struct points *p)
{
	// nobody polls: what is not kicked stays where it is until somebody looks
	static const char *const args[] = {"--poll-us", "0", "--port", "vhost-user,id=a,packed=on,mtu=1500", "--port",
					   "vhost-user,id=a2,packed=on", NULL};
	if (p->page == NULL && !make_page(p))
		return points_fail(p, "no file for the plan");
	memset(p->page, 0, sizeof(*p->page));
	memset(&p->lan, 0, sizeof(p->lan));
	memset(p->way, 0, sizeof(p->way));
	memset(&p->cur, 0, sizeof(p->cur));
	p->at = p->phase = 0;
	p->sum = 0;
	p->inside = p->live = p->silent = false;
	p->bed.failed[0] = 0;
	if (!daemon_start(&p->bed.d, p->bin, args))
		return points_fail(p, "the daemon could not be started");
	if (p->started != NULL && !p->started(p))
		return false;
	struct fe_conf c = {.pairs = p->conf.pairs, .ring_size = 64, .mem = {.region_bytes = 6 << 20}};
	c.packed = p->conf.packed;
	if (!lan_prepare(&p->lan, &p->bed, 1, &c, NULL, 0) || !lan_start(&p->lan, 1))
		return points_fail(p, "the neighbour could not be started");
	return true;
}

void points_close(struct points *p)
{
	flog_free(p->log); // first: a session that failed has its thread at the guests' memory
	p->log = NULL;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < VU_MAX_PAIRS; k++)
			net_fini(&p->lan.net[i][k]);
		fe_free(p->lan.fe[i]);
		p->lan.fe[i] = NULL;
	}
	daemon_kill(&p->bed.d);
	if (p->bed.failed[0])
		daemon_tell(&p->bed.d);
	daemon_clean(&p->bed.d);
}

void points_free(struct points *p)
{
	for (unsigned i = 0; i < p->n_steps; i++)
		free(p->step[i].state);
	for (unsigned i = 0; i < ARRAY_LEN(p->dump); i++)
		free(p->dump[i]);
	if (p->page != NULL) {
		munmap(p->page, sizeof(*p->page));
		unlink(p->page_path);
	}
}

// -- what it says of itself -----------------------------------------------------------------------------------------------------

// One request; NULL: the worker that took it up died, or there is none. The whole is tried again by the caller.
static json_t *ask_once(struct points *p, const char *method)
{
	char path[128], line[128];
	static char answer[4 << 20];
	size_t n = 0;
	snprintf(path, sizeof(path), "%s/control.sock", p->bed.d.run);
	int fd = conn_connect(path, 2000);
	int len = snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}\n", method);
	if (fd < 0)
		return NULL;
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL) == len)
		while (n + 1 < sizeof(answer)) {
			struct pollfd pf = {.fd = fd, .events = POLLIN};
			ssize_t got = poll(&pf, 1, 5000) == 1 ? recv(fd, answer + n, sizeof(answer) - 1 - n, 0) : -1;
			if (got <= 0)
				break;
			n += (size_t)got;
			if (answer[n - 1] == '\n')
				break;
		}
	close(fd);
	answer[n] = '\0';
	json_t *j = json_loads(answer, 0, NULL), *result = json_object_get(j, "result");
	json_incref(result);
	json_decref(j);
	return result;
}

static json_t *ask(struct points *p, const char *method)
{
	json_t *j = NULL;
	for (unsigned i = 0; i < 400 && (j = ask_once(p, method)) == NULL; i++)
		daemon_nap(5);
	if (j == NULL)
		points_fail(p, "vringctl %s: no answer", method);
	return j;
}

static const char *const transient[] = {"epoch", "since_us", "messages", "pid", "uid", "macs", "next_avail", "next_used", "wrap", "base",
					"kicks", "calls", "held", "path", "crashes", "hint", "boot", "life", "last_base", NULL};

static void strip(json_t *j)
{
	const char *key;
	json_t *value;
	size_t i;
	void *next;
	for (unsigned k = 0; transient[k] != NULL && json_is_object(j); k++)
		json_object_del(j, transient[k]);
	json_object_foreach_safe(j, next, key, value) strip(value);
	json_array_foreach(j, i, value) strip(value);
}

char *points_state(struct points *p)
{
	static const char *const method[] = {"ports", "rings"};
	json_t *all = json_array();
	for (unsigned i = 0; i < ARRAY_LEN(method); i++) {
		json_t *j = ask(p, method[i]);
		strip(j);
		json_array_append_new(all, j != NULL ? j : json_null());
	}
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	return text;
}

// The store's rows of connections and devices.
static char *store_rows(struct points *p)
{
	static const char *const tables[] = {"conn", "region", "ring", "device", "port"};
	json_t *all = ask(p, "store.dump"), *row;
	char *text = NULL;
	size_t i, size = 0;
	FILE *f = open_memstream(&text, &size);
	json_array_foreach(json_object_get(all, "rows"), i, row) {
		const char *table = json_string_value(json_object_get(row, "table"));
		for (unsigned k = 0; k < ARRAY_LEN(tables) && table != NULL; k++)
			if (strcmp(table, tables[k]) == 0) {
				if (strcmp(table, "conn") == 0 && json_string_length(json_object_get(row, "reply")) == 40)
					json_object_del(row, "reply"); // of a stop: its base
				strip(row);
				json_dumpf(row, f, JSON_COMPACT | JSON_SORT_KEYS);
				fputc('\n', f);
			}
	}
	fclose(f);
	json_decref(all);
	return text;
}

static bool same(struct points *p, const char *what, const char *now, const char *then)
{
	size_t at = 0, from;
	if (now == NULL || then == NULL)
		return points_fail(p, "%s can't be had", what);
	while (now[at] == then[at] && now[at])
		at++;
	if (!now[at] && !then[at])
		return true;
	from = at > 100 ? at - 100 : 0;
	return points_fail(p, "%s is \"...%.180s...\" and was \"...%.180s...\" without a death", what, now + from, then + from);
}

bool points_phase(struct points *p, const char *name)
{
	points_steps_end(p);
	if (p->bed.failed[0])
		return false;
	char *text = store_rows(p), what[60];
	if (text != NULL && text[0] == 0)
		return points_fail(p, "store dump: nothing in it");
	snprintf(what, sizeof(what), "the store after %s", name);
	if (p->dry) {
		free(p->dump[p->phase]);
		p->dump[p->phase] = text;
	} else {
		same(p, what, text, p->dump[p->phase]);
		free(text);
	}
	p->phase++;
	return !p->bed.failed[0];
}

// -- steps ----------------------------------------------------------------------------------------------------------------------

static unsigned sent(const struct points *p)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < 2; i++)
		n += p->lan.fe[i] != NULL ? p->lan.fe[i]->messages : 0;
	return (unsigned)n;
}

// Each message is done once, whoever died meanwhile: the keeper counts.
static void settle(struct points *p)
{
	unsigned want = sent(p);
	uint64_t end = clock_boot_us() + PATIENCE_US;
	while (p->page->passes[CRASH_keep_replied] != want && clock_boot_us() < end && daemon_alive(&p->bed.d))
		usleep(50);
	while (p->dry && p->page->passes[CRASH_msg_done] != want && clock_boot_us() < end)
		usleep(50);
	if (p->page->passes[CRASH_keep_replied] != want)
		points_fail(p, "%u messages were sent and %u are done%s", want, p->page->passes[CRASH_keep_replied],
			    p->bed.d.pid > 0 ? "" : ": the keeper is gone");
}

static void compare(struct points *p)
{
	struct step *s = &p->step[p->at];
	char *state = points_state(p);
	if (p->dry) {
		s->state = state;
		return;
	}
	if (p->sum != s->replies)
		points_fail(p, "what was answered differs from the session without a death");
	same(p, "state", state, s->state);
	free(state);
}

static uint64_t foreign(const struct points *p)
{
	uint64_t n = 0;
	for (unsigned to = 0; to < 2; to++)
		for (unsigned i = 0; i < p->conf.pairs; i++)
			n += p->lan.net[to][i].foreign;
	return n;
}

static void note(struct points *p)
{
	struct step *s = &p->step[p->n_steps];
	*s = p->cur;
	for (unsigned c = 0; c < CRASH_N; c++)
		s->passes[c] = p->page->passes[c] - p->cur.passes[c];
	s->foreign = foreign(p) - p->cur.foreign;
	s->replies = p->sum;
	p->n_steps++;
}

void points_steps_end(struct points *p)
{
	if (!p->inside)
		return;
	p->inside = false;
	settle(p);
	if (p->dry)
		note(p);
	if (p->end != NULL && (!p->dry || p->dry_too))
		p->end(p, &p->step[p->at]);
	if (p->silent && !frames_arrive(p))
		points_fail(p, "nobody looked into the rings after the death");
	p->silent = false;
	if (!p->bed.failed[0])
		compare(p);
	p->at++;
}

void points_step(struct points *p, enum step_kind kind, const char *name)
{
	points_steps_end(p);
	if (p->bed.failed[0])
		return;
	memset(&p->cur, 0, sizeof(p->cur));
	p->cur.kind = kind;
	snprintf(p->cur.name, sizeof(p->cur.name), "%s", name);
	for (unsigned c = 0; c < CRASH_N; c++)
		p->cur.passes[c] = p->page->passes[c];
	p->cur.foreign = foreign(p);
	if (p->at >= (p->dry ? POINTS_STEPS : p->n_steps) || (!p->dry && strcmp(p->step[p->at].name, name) != 0)) {
		points_fail(p, "the session took another way: it was %s", p->at < p->n_steps ? p->step[p->at].name : "over");
		return;
	}
	p->inside = true;
	p->deaths = 0;
	if (p->begin != NULL && (!p->dry || p->dry_too))
		p->begin(p, &p->step[p->at]);
}

bool points_run(struct points *p, bool dry)
{
	p->dry = dry;
	bool ok = points_open(p) && points_session(p);
	if (ok && !dry && p->at != p->n_steps)
		ok = points_fail(p, "the session was over after %u steps of %u", p->at, p->n_steps);
	points_close(p);
	return ok;
}
