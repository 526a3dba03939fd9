// What happened: events, migrations, waiting for a state, the store.
#include <stdlib.h>
#include <string.h>

#include "daemon/rpc.h"
#include "loop/loop.h"
#include "store/store.h"

#define TIMEOUT_MOST_MS 31536000000LL // a year

static json_t *event_json(uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	return json_pack("{s:I,s:I,s:s,s:s,s:s}", "seq", (json_int_t)seq, "time_us", (json_int_t)time_us, "port", port, "type", type,
			 "detail", detail);
}

static void add_event(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	json_array_append_new(arg, event_json(seq, time_us, port, type, detail));
}

struct follow {
	struct vd *vd;
	struct ctl_client *client;
	struct vd_sub *sub;
	struct timer *timer;
	char id[DP_NAME_MAX];
	int state; // of wait; -1: follow
};

static void follow_end(void *arg)
{
	struct follow *f = arg;
	vd_unsubscribe(f->vd, f->sub);
	timer_free(f->timer);
	free(f);
}

static void on_event(void *arg, const struct vd_event *ev)
{
	struct follow *f = arg;
	ctl_client_notify(f->client, "event", event_json(ev->seq, ev->time_us, ev->port, ev->type, ev->detail));
}

static struct follow *follow_new(struct rpc_call *call, vd_event_fn *fn, struct why *why)
{
	struct follow *f = calloc(1, sizeof(*f));
	if (!f) {
		ours(why, "no memory");
		return NULL;
	}
	f->vd = call->vd;
	f->client = call->client;
	f->state = -1;
	f->sub = vd_subscribe(call->vd, fn, f);
	if (f->sub && ctl_client_on_gone(call->client, follow_end, f))
		return f;
	if (f->sub)
		refuse(why, "this connection follows or waits already: open another one");
	else
		ours(why, "no memory");
	follow_end(f);
	return NULL;
}

enum err rpc_events(struct rpc_call *call, struct why *why)
{
	json_t *list = json_array();
	json_t *from = json_object_get(call->params, "since");
	if (from && (!json_is_integer(from) || json_integer_value(from) < 0)) {
		json_decref(list);
		return rpc_usage(call, why, "\"since\" must be an event's number");
	}
	uint64_t since = (uint64_t)json_integer_value(from);
	enum err e = store_each_event(vd_store(call->vd), since, add_event, list, why);
	if (e == OK && json_is_true(json_object_get(call->params, "follow")) && !follow_new(call, on_event, why))
		e = REFUSED;
	if (e != OK) {
		json_decref(list);
		return e;
	}
	call->result = json_pack("{s:o}", "events", list);
	return OK;
}

// -- wait -----------------------------------------------------------------------------------------------------------------

static void wait_over(struct follow *f, json_t *result, const char *error)
{
	struct ctl_client *c = f->client;
	ctl_client_on_gone(c, NULL, NULL);
	ctl_client_answer(c, result, error);
	follow_end(f);
}

static void on_wait_event(void *arg, const struct vd_event *ev)
{
	struct follow *f = arg;
	struct port *p = vd_port_find(f->vd, f->id);
	if (strcmp(ev->port, f->id) != 0)
		return;
	if (!p)
		wait_over(f, NULL, "the port was deleted");
	else if ((int)port_state(p) == f->state)
		wait_over(f, json_pack("{s:s,s:s}", "id", f->id, "state", port_state_name(port_state(p))), NULL);
}

static void on_wait_timeout(void *arg)
{
	struct follow *f = arg;
	struct port *p = vd_port_find(f->vd, f->id);
	char text[200];
	snprintf(text, sizeof(text), "timed out: port %s is %s", f->id, p ? port_state_name(port_state(p)) : "gone");
	wait_over(f, NULL, text);
}

enum err rpc_wait(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	const char *word = rpc_text(call, "state");
	if (!p)
		return REFUSED;
	int state = word ? port_state_parse(word) : -1;
	if (state < 0)
		return rpc_usage(call, why,
				 "\"state\" must be one of listening connecting negotiating prepared running stopped draining parked failed");
	json_t *timeout = json_object_get(call->params, "timeout_ms");
	json_int_t ms = json_integer_value(timeout);
	if (timeout && (!json_is_integer(timeout) || ms < 0 || ms > TIMEOUT_MOST_MS))
		return rpc_usage(call, why, "\"timeout_ms\" must be a number in 0..%lld", TIMEOUT_MOST_MS);
	if ((int)port_state(p) == state) {
		call->result = json_pack("{s:s,s:s}", "id", port_id(p), "state", word);
		return OK;
	}
	struct follow *f = follow_new(call, on_wait_event, why);
	if (!f)
		return REFUSED;
	f->state = state;
	snprintf(f->id, sizeof(f->id), "%s", port_id(p));
	if (timeout && (f->timer = timer_new(vd_loop(call->vd), on_wait_timeout, f)))
		timer_arm(f->timer, (uint64_t)ms * 1000);
	call->later = true;
	return OK;
}

// -- migrations, the store --------------------------------------------------------------------------------------------------

static void add_migration(void *arg, uint64_t id, const char *port, const char *json)
{
	(void)id;
	(void)port;
	json_t *j = json_loads(json, 0, NULL);
	if (j)
		json_array_append_new(arg, j);
}

enum err rpc_migration(struct rpc_call *call, struct why *why)
{
	json_t *list = json_array();
	vd_migrations_flush(call->vd);
	enum err e = store_each_migration(vd_store(call->vd), rpc_text(call, "id"), add_migration, list, why);
	if (e != OK) {
		json_decref(list);
		return e;
	}
	call->result = json_pack("{s:o}", "migration", list);
	return OK;
}

enum err rpc_store_check(struct rpc_call *call, struct why *why)
{
	unsigned findings = 0;
	struct why found = { "" };
	enum err e = store_check(vd_store(call->vd), &findings, &found);
	if (e != OK && e != REFUSED)
		return ours(why, "%s", found.text);
	call->result = json_pack("{s:b,s:I,s:s}", "ok", e == OK, "findings", (json_int_t)findings, "first", found.text);
	return OK;
}

static void add_line(void *arg, const char *line)
{
	json_t *j = json_loads(line, 0, NULL);
	if (j)
		json_array_append_new(arg, j);
}

enum err rpc_store_dump(struct rpc_call *call, struct why *why)
{
	json_t *list = json_array();
	enum err e = store_dump(vd_store(call->vd), add_line, list, why);
	if (e != OK) {
		json_decref(list);
		return e;
	}
	call->result = json_pack("{s:o}", "rows", list);
	return OK;
}
