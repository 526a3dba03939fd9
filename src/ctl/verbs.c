// The verbs: one row each.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "store/store.h"

// Whatever object is printed says by which interface it is to be read.
static void put_object(json_t *o)
{
	json_object_set_new(o, "api", json_integer(1));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
}

// Print the answer of a call, or tell the status of its failure.
static int finish(struct ctl *c, const struct client *cl, json_t *result, void (*print)(const json_t *))
{
	if (!result)
		return client_status(cl);
	if (c->json) {
		put_object(result);
	} else if (print) {
		print(result);
	}
	json_decref(result);
	return 0;
}

static json_t *id_params(const struct ctl *c)
{
	return c->argc ? json_pack("{s:s}", "id", c->argv[0]) : json_object();
}

// Verbs that take at most a port's id and print what comes back.
static int run_plain(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	int rc = cl ? finish(c, cl, client_call(cl, v->method, id_params(c)), v->print) : 1;
	client_close(cl);
	return rc;
}

static int paste(struct ctl *c, const json_t *port)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	bool ok = to && print_paste(port, c->libvirt, to);
	if (to)
		fclose(to);
	if (!ok)
		complain(c, "port %s has no socket that a machine could use", text_of(port, "id"));
	else if (c->json)
		finish(c, NULL, json_pack("{s:s,s:i}", "text", text, "api", 1), NULL);
	else
		fputs(text, stdout);
	free(text);
	return ok ? 0 : 1;
}

static int run_ports(struct ctl *c, const struct verb *v)
{
	if (!c->qemu && !c->libvirt)
		return run_plain(c, v);
	if (c->argc == 0) {
		complain(c, "ports --qemu and --libvirt need the port's ID");
		return 2;
	}
	struct client *cl = client_open(c);
	json_t *r = cl ? client_call(cl, "ports", id_params(c)) : NULL;
	int rc = r ? paste(c, json_array_get(json_object_get(r, "ports"), 0)) : client_status(cl);
	json_decref(r);
	client_close(cl);
	return rc;
}

static int run_stats(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	int rc = cl ? 0 : 1;
	while (rc == 0) {
		rc = finish(c, cl, client_call(cl, v->method, id_params(c)), v->print);
		fflush(stdout);
		if (!c->watch)
			break;
		struct timespec nap = { (time_t)c->interval_s, (long)((c->interval_s - (double)(time_t)c->interval_s) * 1e9) };
		nanosleep(&nap, NULL);
	}
	client_close(cl);
	return rc;
}

static void one_event(const struct ctl *c, json_t *e)
{
	if (!c->json) {
		print_event(e);
		return;
	}
	put_object(e);
	fflush(stdout);
}

static uint64_t show_events(const struct ctl *c, const json_t *r, uint64_t since)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(r, "events"), i, e) {
		one_event(c, e);
		since = (uint64_t)int_of(e, "seq") > since ? (uint64_t)int_of(e, "seq") : since;
	}
	return since;
}

static json_t *ask_events(const struct ctl *c, struct client *cl, const struct verb *v, uint64_t since)
{
	return client_call(cl, v->method, json_pack("{s:b,s:I}", "follow", c->follow, "since", (json_int_t)since));
}

static int run_events(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	json_t *e, *r = cl ? ask_events(c, cl, v, c->since) : NULL;
	uint64_t since = c->since;
	int rc = client_status(cl);
	if (r && c->json && !c->follow) {
		client_close(cl);
		return finish(c, NULL, r, NULL);
	}
	while (r) {
		since = show_events(c, r, since);
		json_decref(r);
		rc = c->follow ? 1 : 0;
		while (c->follow && (e = client_next(cl))) {
			one_event(c, e);
			since = (uint64_t)int_of(e, "seq") > since ? (uint64_t)int_of(e, "seq") : since;
			json_decref(e);
		}
		r = c->follow && client_again(cl) ? ask_events(c, cl, v, since) : NULL; // the next worker goes on with the journal
	}
	client_close(cl);
	if (c->follow && rc == 1)
		fprintf(stderr, "vringctl: the daemon closed the connection\n");
	return rc;
}

static int run_wait(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	json_t *params = json_pack("{s:s,s:s}", "id", c->argv[0], "state", c->argv[1]);
	if (c->timeout_s >= 0)
		json_object_set_new(params, "timeout_ms", json_integer((json_int_t)(c->timeout_s * 1000)));
	int rc = cl ? finish(c, cl, client_call(cl, v->method, params), NULL) : 1;
	client_close(cl);
	return rc;
}

static void print_added(const json_t *r)
{
	printf("port %s added, socket %s\n", text_of(r, "id"), text_of(r, "path"));
}

static void print_announced(const json_t *r)
{
	printf("announcing %lld addresses behind %s\n", int_of(r, "addresses"), text_of(r, "id"));
}

static int run_port_add(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	int rc = cl ? finish(c, cl, client_call(cl, v->method, json_pack("{s:s}", "spec", c->argv[0])), v->print) : 1;
	client_close(cl);
	return rc;
}

static int run_port_set(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	json_t *set = json_array();
	for (int i = 1; i < c->argc; i++)
		json_array_append_new(set, json_string(c->argv[i]));
	int rc = cl ? finish(c, cl, client_call(cl, v->method, json_pack("{s:s,s:o}", "id", c->argv[0], "set", set)), NULL) : 1;
	client_close(cl);
	return rc;
}

static int run_log_level(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	int rc = cl ? finish(c, cl, client_call(cl, v->method, json_pack("{s:s}", "level", c->argv[0])), NULL) : 1;
	client_close(cl);
	return rc;
}

static int run_check(struct ctl *c, const struct verb *v)
{
	struct client *cl = client_open(c);
	json_t *r = cl ? client_call(cl, v->method, NULL) : NULL;
	bool ok = r && json_is_true(json_object_get(r, "ok"));
	if (r && !c->json)
		printf(ok ? "the store is sound\n" : "%lld findings, the first: %s\n", int_of(r, "findings"), text_of(r, "first"));
	int rc = r ? (c->json ? finish(c, NULL, json_incref(r), NULL) : 0) : 1;
	json_decref(r);
	client_close(cl);
	return rc ? rc : ok ? 0 : 1;
}

static void dump_line(void *arg, const char *line)
{
	(void)arg;
	json_t *row = json_loads(line, 0, NULL);
	if (row)
		put_object(row);
	else
		puts(line); // rather than nothing
	json_decref(row);
}

static int run_dump(struct ctl *c, const struct verb *v)
{
	if (c->file) { // of a daemon that does not run
		struct why why = { "" };
		if (store_dump_file(c->file, dump_line, NULL, &why) == OK)
			return 0;
		complain(c, "%s: %s", c->file, why.text);
		return 1;
	}
	struct client *cl = client_open(c);
	json_t *r = cl ? client_call(cl, v->method, NULL) : NULL, *row;
	size_t i;
	json_array_foreach(json_object_get(r, "rows"), i, row)
		put_object(row);
	client_close(cl);
	bool ok = r != NULL;
	json_decref(r);
	return ok ? 0 : 1;
}

const struct verb verbs[] = {
	{ "status", "", "the daemon and its ports", 0, 0, run_plain, "status", print_status },
	{ "ports", "[ID] [--qemu|--libvirt]", "ports, why one is not running and what to do; or what to paste", 0, 1, run_ports, "ports", print_ports },
	{ "rings", "[ID]", "ring positions", 0, 1, run_plain, "rings", print_rings },
	{ "features", "[ID]", "what is offered and acknowledged", 0, 1, run_plain, "features", print_features },
	{ "explain", "ID", "everything about one port", 1, 1, run_plain, "explain", print_explain },
	{ "fdb", "", "which address is behind which port", 0, 0, run_plain, "fdb", print_fdb },
	{ "stats", "[ID] [--watch] [--interval S]", "counters", 0, 1, run_stats, "stats", print_stats },
	{ "events", "[--follow] [--since SEQ]", "the journal", 0, 0, run_events, "events", NULL },
	{ "migration", "[ID]", "the record of each migration", 0, 1, run_plain, "migration", print_migrations },
	{ "announce", "ID", "tell the network where the addresses behind a port are", 1, 1, run_plain, "announce", print_announced },
	{ "wait", "ID STATE [--timeout S]", "until the port is in that state", 2, 2, run_wait, "wait", NULL },
	{ "port add", "SPEC", "add a port (an equal one is no error)", 1, 1, run_port_add, "port.add", print_added },
	{ "port del", "ID", "delete a port", 1, 1, run_plain, "port.del", NULL },
	{ "port set", "ID KEY=VALUE...", "change a port", 2, 32, run_port_set, "port.set", NULL },
	{ "port release", "ID", "let a parked port run again", 1, 1, run_plain, "port.release", NULL },
	{ "port unpin", "ID", "forget what the present guest acknowledged", 1, 1, run_plain, "port.unpin", NULL },
	{ "drain", "ID", "stop learning, hold frames, announce nothing", 1, 1, run_plain, "drain", NULL },
	{ "undrain", "ID", "end that", 1, 1, run_plain, "undrain", NULL },
	{ "upgrade", "[BINARY] [--keeper]", "go on with another program, or the present file of this one; no guest notices", 0, 1, run_upgrade, "upgrade", NULL },
	{ "log-level", "error|warn|info|debug", "how much the daemon says", 1, 1, run_log_level, "log-level", NULL },
	{ "store check", "", "is the store sound?", 0, 0, run_check, "store.check", NULL },
	{ "store dump", "[--file FILE]", "every row, one JSON object a line; of a dead daemon's state.db with --file", 0, 0, run_dump, "store.dump", NULL },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL, NULL },
};
