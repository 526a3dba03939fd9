// Tables for people: status, rings, features, addresses, counters, events, migrations.
#include <string.h>
#include <time.h>

#include "ctl.h"

const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s && s[0] ? s : "-";
}

long long int_of(const json_t *o, const char *name)
{
	return (long long)json_integer_value(json_object_get(o, name));
}

void print_status(const json_t *r)
{
	size_t i;
	json_t *p;
	printf("vringd %s, worker %lld, up %.1f s, %lld restarts\n", text_of(r, "version"), int_of(r, "worker_pid"),
	       (double)int_of(r, "uptime_us") / 1e6, int_of(r, "worker_restarts"));
	const json_t *u = json_object_get(r, "upgrades");
	if (json_is_string(json_object_get(u, "last")))
		printf("  upgrades: %lld done, %lld refused; the last was %s\n", int_of(u, "done"), int_of(u, "refused"), text_of(u, "last"));
	json_array_foreach(json_object_get(r, "ports"), i, p)
		printf("  %-32s %-11s %s\n", text_of(p, "id"), text_of(p, "kind"), text_of(p, "state"));
}

void print_rings(const json_t *r)
{
	size_t i, k;
	json_t *p, *q;
	printf("%-16s %4s %-3s %-6s %5s %-8s %-8s %-8s %6s %6s %10s %10s\n", "PORT", "RING", "DIR", "KIND", "SIZE", "STARTED", "ENABLED", "RUNNING",
	       "AVAIL", "USED", "KICKS", "CALLS");
	json_array_foreach(json_object_get(r, "rings"), i, p)
		json_array_foreach(json_object_get(p, "rings"), k, q) {
			printf("%-16s %4lld %-3s %-6s %5lld %-8s %-8s %-8s %6lld %6lld %10lld %10lld\n", text_of(p, "id"), int_of(q, "ring"),
			       text_of(q, "dir"), text_of(q, "kind"), int_of(q, "size"), json_is_true(json_object_get(q, "started")) ? "yes" : "no",
			       json_is_true(json_object_get(q, "enabled")) ? "yes" : "no",
			       json_is_true(json_object_get(q, "running")) ? "yes" : "no", int_of(q, "next_avail"), int_of(q, "next_used"),
			       int_of(q, "kicks"), int_of(q, "calls"));
			if (json_is_string(json_object_get(q, "broken")))
				printf("%-16s      broken: %s\n", "", text_of(q, "broken"));
		}
}

static void print_names(const char *title, const json_t *list)
{
	size_t i;
	json_t *n;
	printf("  %-18s", title);
	json_array_foreach(list, i, n)
		printf(" %s", json_string_value(n));
	printf("\n");
}

void print_features(const json_t *r)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(r, "features"), i, p) {
		printf("%s: level %lld%s\n", text_of(p, "id"), int_of(p, "compat"),
		       json_is_true(json_object_get(p, "pinned")) ? ", pinned by the present guest" : "");
		print_names("offered", json_object_get(p, "offered"));
		print_names("protocol offered", json_object_get(p, "protocol_offered"));
		if (json_object_get(p, "acked"))
			print_names("acknowledged", json_object_get(p, "acked"));
	}
}

static void print_ips(const json_t *m)
{
	size_t i;
	json_t *ip;
	json_array_foreach(json_object_get(m, "ips"), i, ip)
		printf("%s%s", i ? "," : "", json_string_value(ip));
	printf("\n");
}

void print_fdb(const json_t *r)
{
	size_t i;
	json_t *m;
	printf("%-16s %-17s %4s %-16s %-8s %8s  %s\n", "NET", "MAC", "VLAN", "PORT", "SOURCE", "AGE s", "ADDRESSES");
	json_array_foreach(json_object_get(r, "fdb"), i, m) {
		printf("%-16s %-17s %4lld %-16s %-8s %8.1f  ", text_of(m, "net"), text_of(m, "mac"), int_of(m, "vlan"), text_of(m, "port"),
		       text_of(m, "source"), (double)int_of(m, "age_ms") / 1e3);
		print_ips(m);
	}
}

void print_stats(const json_t *r)
{
	size_t i;
	json_t *p, *n;
	printf("%-16s %12s %14s %12s %14s %8s %8s\n", "PORT", "IN frames", "bytes", "OUT frames", "bytes", "HOLDING", "HELD");
	json_array_foreach(json_object_get(r, "stats"), i, p) {
		const json_t *in = json_object_get(p, "in"), *out = json_object_get(p, "out");
		printf("%-16s %12lld %14lld %12lld %14lld %8lld %8lld\n", text_of(p, "id"), int_of(in, "frames"), int_of(in, "bytes"),
		       int_of(out, "frames"), int_of(out, "bytes"), int_of(p, "holding"), int_of(json_object_get(p, "held"), "total"));
		for (int d = 0; d < 2; d++) {
			const char *reason;
			json_object_foreach(json_object_get(d ? out : in, "drops"), reason, n)
				printf("%-16s   dropped %s %s: %lld\n", "", d ? "out" : "in", reason, (long long)json_integer_value(n));
		}
	}
}

static void print_wall(long long us)
{
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	char when[32] = "";
	if (localtime_r(&s, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s.%06lld", when, us % 1000000);
}

void print_event(const json_t *e)
{
	const char *detail = json_string_value(json_object_get(e, "detail"));
	printf("%6lld ", int_of(e, "seq"));
	print_wall(int_of(e, "time_us"));
	printf(" %-16s %-22s %s\n", text_of(e, "port"), text_of(e, "type"), detail ? detail : "");
	fflush(stdout);
}

static void moment(const char *name, const json_t *m, const char *field, long long from)
{
	const json_t *v = json_object_get(m, field);
	if (json_is_integer(v))
		printf("    %-22s %+10.3f ms\n", name, (double)(json_integer_value(v) - from) / 1e3);
}

void print_migrations(const json_t *r)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(r, "migration"), i, m) {
		long long from = int_of(m, "started_us");
		printf("%lld: port %s, %s: %s", int_of(m, "id"), text_of(m, "port"), text_of(m, "role"), text_of(m, "outcome"));
		if (json_is_integer(json_object_get(m, "started_wall_us"))) {
			printf(", from ");
			print_wall(int_of(m, "started_wall_us"));
		}
		printf("\n");
		moment("rings stopped", m, "stopped_us", from);
		moment("rings running", m, "running_us", from);
		moment("first kick", m, "first_kick_us", from);
		moment("first frame in", m, "first_frame_in_us", from);
		moment("first frame out", m, "first_frame_out_us", from);
		if (json_is_integer(json_object_get(m, "blackout_us")))
			printf("    %-22s  %10.3f ms\n", "blackout", (double)int_of(m, "blackout_us") / 1e3);
		printf("    pages logged %lld, frames held %lld, delivered %lld, dropped %lld, announcements %zu\n",
		       int_of(m, "pages_logged"), int_of(m, "held"), int_of(m, "delivered"), int_of(m, "dropped"),
		       json_array_size(json_object_get(m, "announcements")));
	}
}
