#include "proto/bed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const bed_args[] = {
	"--no-keeper",
	"--log-level",
	"info",
	"--port",
	"vhost-user,id=a,queues=16,packed=on",
	"--port",
	"vhost-user,id=a2,packed=on",
	"--port",
	"vhost-user,id=a3,packed=on",
	"--port",
	"vhost-user,id=one,sessions=1,net=alone",
	"--port",
	"vhost-user,id=client,mode=client,net=alone",
	"--port",
	"vhost-user,id=calm1,net=calm",
	"--port",
	"vhost-user,id=calm2,net=calm",
	NULL,
};

void bed_fail(struct bed *b, const char *fmt, ...)
{
	va_list ap;
	if (b->failed[0] != 0)
		return; // the first reason is the one
	va_start(ap, fmt);
	vsnprintf(b->failed, sizeof(b->failed), fmt, ap);
	va_end(ap);
}

bool bed_case_begin(struct bed *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(b->at, sizeof(b->at), fmt, ap);
	va_end(ap);
	b->failed[0] = 0;
	return b->only == NULL || strstr(b->row, b->only) != NULL || strstr(b->at, b->only) != NULL;
}

void bed_case_end(struct bed *b)
{
	bed_settle(b);
	b->cases++;
	if (b->failed[0] == 0)
		return;
	b->bad++;
	printf("FAILED %s%s%s: %s\n", b->row, b->at[0] ? ": " : "", b->at, b->failed);
	fflush(stdout);
}

static bool bed_calm_start(struct bed *b, unsigned i)
{
	static const char *const port[] = {"calm1", "calm2"};
	struct fe_conf conf = {.ring_size = 64};
	b->calm[i] = fe_new(&conf);
	if (b->calm[i] == NULL || !fe_connect(b->calm[i], daemon_path(&b->d, port[i])))
		return false;
	if (fe_negotiate(b->calm[i]) != FE_OK)
		return false;
	fe_driver_reset(b->calm[i], 0);
	return net_init(&b->calm_net[i], b->calm[i], 0, NULL) && fe_start(b->calm[i]) == FE_OK;
}

// Each side of the innocent pair sends one frame to the other.
static const char *bed_calm_talk(struct bed *b)
{
	uint8_t mac[2][6];
	struct frame_id id;
	b->calm_seq++;
	for (unsigned i = 0; i < 2; i++)
		frame_mac(mac[i], 0xc0 + i);
	for (unsigned i = 0; i < 2; i++) {
		struct net *from = &b->calm_net[i], *to = &b->calm_net[!i];
		if (!net_send_numbered(from, mac[!i], mac[i], i, b->calm_seq, 200))
			return from->broken != NULL ? from->broken : "cannot send";
		const char *wrong = net_expect(to, &id, NULL, 3000);
		if (wrong != NULL)
			return wrong;
		if (id.flow != i || id.seq != b->calm_seq)
			return "got another frame";
	}
	return NULL;
}

bool bed_open(struct bed *b, const char *bin)
{
	memset(b, 0, sizeof(*b));
	if (!daemon_start(&b->d, bin, getenv("VRINGD_TEST_KEEPER") != NULL ? bed_args + 1 : bed_args)) {
		bed_fail(b, "cannot start %s", bin);
		return false;
	}
	for (unsigned i = 0; i < 2; i++)
		if (!bed_calm_start(b, i)) {
			bed_fail(b, "innocent front end %u: %s", i, b->calm[i] != NULL ? b->calm[i]->err_text : "no memory");
			return false;
		}
	const char *wrong = bed_calm_talk(b);
	if (wrong != NULL)
		bed_fail(b, "innocent pair: %s", wrong);
	b->fds = daemon_fds(&b->d);
	b->worker = daemon_worker(&b->d);
	return wrong == NULL;
}

bool bed_close(struct bed *b)
{
	for (unsigned i = 0; i < 2; i++) {
		net_fini(&b->calm_net[i]);
		fe_free(b->calm[i]);
	}
	bool well = daemon_stop(&b->d, 10000);
	return well;
}

void bed_settle(struct bed *b)
{
	int now = -1;
	b->checks += 3;
	if (!daemon_alive(&b->d)) {
		bed_fail(b, "the daemon died (status 0x%x)", (unsigned)b->d.status);
		return;
	}
	if (daemon_worker(&b->d) != b->worker) {
		bed_fail(b, "the worker died");
		b->worker = daemon_worker(&b->d);
	}
	for (unsigned i = 0; i < 400 && (now = daemon_fds(&b->d)) != b->fds; i++)
		daemon_nap(i < 50 ? 1 : 10);
	if (now != b->fds) {
		bed_fail(b, "the daemon has %d descriptors open instead of %d", now, b->fds);
		b->fds = now;
	}
	const char *wrong = bed_calm_talk(b);
	if (wrong != NULL)
		bed_fail(b, "the innocent pair: %s", wrong);
}

static enum fe_res bed_bare(struct fe *fe)
{
	enum fe_res res = fe_get_u64(fe, 1, &fe->offered);
	if (res == FE_OK)
		res = fe_tell(fe, false, 3, NULL, 0, NULL, 0);
	fe->features = fe->offered & fe->conf.features & ~BIT64(VHOST_F_LOG_ALL);
	return res;
}

static enum fe_res bed_prepare(struct fe *fe)
{
	enum fe_res res = fe_send_features(fe);
	if (res == FE_OK)
		res = fe_set_mem(fe);
	for (unsigned q = 0; q < fe->rings && res == FE_OK; q++) {
		struct vu_state num = {.index = q, .num = fe->ring[q].vq.size}, base = {.index = q, .num = fe->ring[q].base};
		res = fe_tell(fe, false, 8, &num, sizeof(num), NULL, 0);
		if (res == FE_OK)
			res = fe_tell(fe, false, 10, &base, sizeof(base), NULL, 0);
		if (res == FE_OK)
			res = fe_ring_addr(fe, q);
	}
	return res == FE_OK ? fe_barrier(fe) : res;
}

struct fe *bed_front_end(struct bed *b, const char *port, enum bed_stage stage, const struct fe_conf *conf, int log)
{
	static const struct fe_conf plain = {.ring_size = 64, .mem = {.region_bytes = 2 << 20}};
	struct fe *fe = fe_new(conf != NULL ? conf : &plain);
	enum fe_res res = FE_CLOSED;
	if (fe == NULL) {
		bed_fail(b, "no memory for a front end");
		return NULL;
	}
	if (fe_connect(fe, daemon_path(&b->d, port)))
		res = stage == BED_CONNECTED ? fe_get_u64(fe, 1, &fe->offered)
		      : stage == BED_BARE    ? bed_bare(fe)
					     : fe_negotiate(fe);
	if (res == FE_OK && stage >= BED_PREPARED)
		fe_driver_reset(fe, 0);
	if (res == FE_OK && stage == BED_PREPARED)
		res = bed_prepare(fe);
	if (res == FE_OK && stage >= BED_RUNNING)
		res = fe_start(fe);
	if (res == FE_OK && stage >= BED_LOGGING)
		res = fe_log_start(fe, log, 4096, 0);
	if (res == FE_OK)
		return fe;
	bed_fail(b, "port %s: setting up: %s (%s)", port, fe_res_name(res), fe->err_text);
	fe_free(fe);
	return NULL;
}

void bed_outcome(struct fe *fe, uint32_t id, bool send_ok, struct bed_outcome *out)
{
	// A message that answers for itself must not be its own barrier.
	uint32_t barrier = id == 1 ? 15 : 1;
	struct conn_msg msg;
	memset(out, 0, sizeof(*out));
	if (send_ok)
		send_ok = fe_send(fe, barrier, 0, NULL, 0, NULL, 0);
	for (;;) {
		enum conn_got got = conn_recv(fe->sock, &msg, fe->conf.timeout_ms);
		if (got != CONN_MSG) {
			out->closed = got == CONN_CLOSED;
			out->lost = !out->closed;
			return;
		}
		conn_msg_close_fds(&msg);
		if (msg.hdr.request == barrier)
			return;
		if (out->replies++ == 0)
			out->reply = msg;
	}
}

void bed_put(struct fe *fe, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned n_fds,
	     struct bed_outcome *out)
{
	bool ok = conn_send_msg(fe->sock, id, flags, payload, size, fds, n_fds);
	bed_outcome(fe, id, ok, out);
}

const char *bed_outcome_text(const struct bed_outcome *o)
{
	static char text[160];
	uint64_t value = 0;
	int n = 0;
	memcpy(&value, o->reply.payload, sizeof(value));
	if (o->replies > 0)
		n = snprintf(text, sizeof(text), "%u repl%s (id %u flags 0x%x size %u: 0x%llx)", o->replies,
			     o->replies == 1 ? "y" : "ies", o->reply.hdr.request, o->reply.hdr.flags, o->reply.hdr.size,
			     (unsigned long long)value);
	snprintf(text + n, sizeof(text) - (size_t)n, "%s%s", n > 0 ? ", " : "",
		 o->lost     ? "then no answer at all"
		 : o->closed ? "closed"
		 : n > 0     ? "alive"
			     : "silence and alive");
	return text;
}
