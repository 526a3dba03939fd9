#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"

#define MAX_PORTS 8

void scene_start(struct daemon *d, const char *const *ports)
{
	static const char *args[2 * MAX_PORTS + 1];
	unsigned n = 0;
	while (*ports && n < 2 * MAX_PORTS) {
		args[n++] = "--port";
		args[n++] = *ports++;
	}
	args[n] = NULL;
	assert_true(daemon_start(d, VRINGD_BIN, args));
}

struct store *scene_end(struct daemon *d)
{
	struct store *s = NULL;
	struct store_opened how;
	struct why why = { "" };
	assert_true(daemon_stop(d, 5000));
	if (store_open(&s, d->state, STORE_PROCESS, &how, &why) != OK)
		fail_msg("store: %s", why.text);
	return s;
}

void scene_clean(struct daemon *d, struct store *s)
{
	store_close(s);
	daemon_kill(d);
	daemon_clean(d);
}

void guest_open(struct guest *g, struct daemon *d, const char *port, uint32_t n, uint16_t base)
{
	static const struct fe_conf conf = { .ring_size = 128, .mem = { .region_bytes = 4 << 20 } };
	memset(g, 0, sizeof(*g));
	g->d = d;
	g->port = port;
	frame_mac(g->mac, n);
	g->fe = fe_new(&conf);
	assert_non_null(g->fe);
	if (!fe_connect(g->fe, daemon_path(d, port)) || fe_negotiate(g->fe) != FE_OK)
		fail_msg("%s: %s", port, g->fe->err_text);
	fe_driver_reset(g->fe, base);
	assert_true(net_init(&g->net, g->fe, 0, NULL));
}

void guest_start(struct guest *g)
{
	if (fe_start(g->fe) != FE_OK)
		fail_msg("%s: start: %s", g->port, g->fe->err_text);
}

void guest_stop(struct guest *g)
{
	if (fe_stop(g->fe) != FE_OK)
		fail_msg("%s: stop: %s", g->port, g->fe->err_text);
}

void guest_close(struct guest *g)
{
	net_fini(&g->net);
	fe_free(g->fe);
	g->fe = NULL;
}

void guest_hello(struct guest *g)
{
	assert_true(net_send_numbered(&g->net, frame_broadcast, g->mac, 99, 1, 60));
	assert_true(net_tx_drain(&g->net, 2000));
}

void guest_send(struct guest *g, const struct guest *to, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(net_send_numbered(&g->net, to->mac, g->mac, 1, ++g->sent, 200));
	assert_true(net_tx_drain(&g->net, 2000));
}

struct heard guest_hear(struct guest *g, const uint8_t mac[6], unsigned numbered, unsigned rarps, unsigned ms)
{
	struct heard h = { .in_order = true };
	uint64_t end = clock_boot_us() + ms * UINT64_C(1000), now;
	while ((now = clock_boot_us()) < end && (h.numbered < numbered || h.rarps < rarps)) {
		struct net_frame f;
		struct frame_id id;
		if (!net_rx_wait(&g->net, &f, (unsigned)((end - now) / 1000) + 1))
			continue;
		const char *wrong = frame_check(f.data, f.len, &id);
		if (wrong == NULL && id.flow == 1) {
			h.first = h.numbered++ ? h.first : id.seq;
			h.in_order = h.in_order && (h.numbered == 1 || id.seq == h.last + 1);
			h.last = id.seq;
		}
		if (wrong == frame_foreign && f.len >= 14 && f.data[12] == 0x80 && f.data[13] == 0x35 &&
		    memcmp(f.data + 6, mac, 6) == 0)
			h.rarps++;
		net_rx_release(&g->net);
		net_rx_post(&g->net);
	}
	return h;
}

void guest_rarp(struct guest *g, const uint8_t mac[6])
{
	uint8_t payload[8] = { 0 };
	memcpy(payload, mac, 6);
	assert_true(fe_send(g->fe, 19, VU_VERSION, payload, sizeof(payload), NULL, 0));
	assert_int_equal(fe_barrier(g->fe), FE_OK);
}

const char *scene_call(const struct daemon *d, const char *method, const char *params)
{
	static char text[65536];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", d->run);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	int len = snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n", method, params);
	assert_int_equal(write(fd, text, (size_t)len), len);
	size_t got = 0;
	while (got == 0 || text[got - 1] != '\n') {
		ssize_t n = read(fd, text + got, sizeof(text) - 1 - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	text[got] = '\0';
	close(fd);
	return text;
}

struct count {
	const char *port, *type, *role, *name;
	unsigned n;
	uint64_t figure;
	char outcome[16];
};

static void count_event(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	struct count *c = arg;
	(void)seq;
	(void)time_us;
	(void)detail;
	c->n += strcmp(port, c->port) == 0 && strcmp(type, c->type) == 0;
}

unsigned scene_events(struct store *s, const char *port, const char *type)
{
	struct count c = { .port = port, .type = type };
	assert_int_equal(store_each_event(s, 0, count_event, &c, NULL), OK);
	return c.n;
}

struct times {
	struct count want;
	uint64_t at[8192];
	unsigned n;
};

static void take_time(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	struct times *t = arg;
	unsigned before = t->want.n;
	count_event(&t->want, seq, time_us, port, type, detail);
	if (t->want.n != before && t->n < 8192)
		t->at[t->n++] = time_us;
}

unsigned scene_events_within(struct store *s, const char *port, const char *type, uint64_t window_us)
{
	static struct times t;
	unsigned most = 0;
	t = (struct times){ .want = { .port = port, .type = type } };
	assert_int_equal(store_each_event(s, 0, take_time, &t, NULL), OK);
	for (unsigned i = 0, from = 0; i < t.n; i++) {
		while (t.at[i] - t.at[from] > window_us)
			from++;
		most = i - from + 1 > most ? i - from + 1 : most;
	}
	return most;
}

static void count_owed(void *arg, const struct store_owed *owed)
{
	struct count *c = arg;
	(void)owed;
	c->n++;
}

unsigned scene_owed(struct store *s)
{
	struct count c = { .n = 0 };
	assert_int_equal(store_each_owed(s, count_owed, &c, NULL), OK);
	return c.n;
}

static void take_outcome(void *arg, uint64_t id, const char *port, const char *json)
{
	struct count *c = arg;
	char role[40];
	(void)id;
	(void)port;
	snprintf(role, sizeof(role), "\"role\":\"%s\"", c->role);
	const char *at = strstr(json, "\"outcome\":\"");
	if (strstr(json, role) && at)
		sscanf(at + 11, "%15[a-z]", c->outcome);
	char name[40];
	snprintf(name, sizeof(name), "\"%s\":", c->name ? c->name : "id");
	at = strstr(json, name);
	if (strstr(json, role) && at)
		c->figure = strtoull(at + strlen(name), NULL, 10);
}

uint64_t scene_figure(struct store *s, const char *port, const char *role, const char *name)
{
	struct count c = { .role = role, .name = name, .figure = UINT64_MAX };
	assert_int_equal(store_each_migration(s, port, take_outcome, &c, NULL), OK);
	return c.figure;
}

const char *scene_outcome(struct store *s, const char *port, const char *role)
{
	static struct count c;
	c = (struct count){ .role = role, .outcome = "none" };
	assert_int_equal(store_each_migration(s, port, take_outcome, &c, NULL), OK);
	return c.outcome;
}
