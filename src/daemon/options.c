#include "daemon/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum opt_id { O_CONFIG, O_PORT, O_STATE, O_RUNTIME, O_CONTROL, O_HTTP, O_THREADS, O_CPUS, O_POLL, O_HOLD, O_NOKEEPER, O_SANDBOX,
	      O_DURABILITY, O_LOGLEVEL, O_CHECK, O_SOCKET, O_FD, O_CAPS, O_VERSION, O_HELP, O_N };

static const struct {
	const char *name;
	int arg; // no_argument, required_argument
	bool in_file; // may stand in a configuration file
	const char *value, *help;
} table[O_N] = {
	[O_CONFIG] = { "config", required_argument, false, "FILE", "read FILE and FILE.d/*.conf: one of these options a line, without dashes" },
	[O_PORT] = { "port", required_argument, true, "SPEC", "a port of the switch (may be given again)" },
	[O_STATE] = { "state-dir", required_argument, true, "DIR", "where state.db is ($STATE_DIRECTORY, /var/lib/vringd, ~/.local/state/vringd)" },
	[O_RUNTIME] = { "runtime-dir", required_argument, true, "DIR", "where sockets are ($RUNTIME_DIRECTORY, /run/vringd, $XDG_RUNTIME_DIR/vringd)" },
	[O_CONTROL] = { "control", required_argument, true, "PATH", "control socket (control.sock in the runtime directory)" },
	[O_HTTP] = { "http", required_argument, true, "ADDR:PORT|unix:PATH", "metrics (this version does not build them)" },
	[O_THREADS] = { "threads", required_argument, true, "N", "data threads, 1 to 16 (1)" },
	[O_CPUS] = { "cpus", required_argument, true, "LIST", "CPUs of the data threads, like 2,4-5" },
	[O_POLL] = { "poll-us", required_argument, true, "auto|0|N|always", "go on polling that long after the last frame (auto: as long as it pays, 0 to 200)" },
	[O_HOLD] = { "hold-total", required_argument, true, "BYTES", "held frames of all ports together (256M)" },
	[O_NOKEEPER] = { "no-keeper", no_argument, true, NULL, "one process: front ends lose their connection when it dies" },
	[O_SANDBOX] = { "sandbox", required_argument, true, "strict|log|off", "system call filter (this version: off)" },
	[O_DURABILITY] = { "durability", required_argument, true, "process|host", "acknowledged state survives our death, or the host's, too (process)" },
	[O_LOGLEVEL] = { "log-level", required_argument, true, "LEVEL", "error, warn, info or debug (info)" },
	[O_CHECK] = { "check-config", no_argument, false, NULL, "read everything, print what is in force, exit" },
	[O_SOCKET] = { "socket-path", required_argument, false, "PATH", "one more port, id vm0, listening there (vhost-user program conventions)" },
	[O_FD] = { "fd", required_argument, false, "N", "one more port, id vm0, on that inherited socket" },
	[O_CAPS] = { "print-capabilities", no_argument, false, NULL, "as JSON, for QEMU and libvirt" },
	[O_VERSION] = { "version", no_argument, false, NULL, "print the version, exit" },
	[O_HELP] = { "help", no_argument, false, NULL, "print this, exit" },
};

void options_init(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->fd = -1;
	o->threads = 1;
	o->poll_auto = true;
	o->poll_us = DP_POLL_AUTO;
	o->hold_total = UINT64_C(256) << 20;
	o->durability = STORE_PROCESS;
	o->log_level = LOG_LINFO;
	for (unsigned i = 0; i < OPTIONS_MAX_CPUS; i++)
		o->cpus[i] = -1;
}

void options_free(struct options *o)
{
	free(o->config);
	free(o->read);
	free(o->state_dir);
	free(o->runtime_dir);
	free(o->control);
	free(o->socket_path);
	free(o->ports);
	options_init(o);
}

static enum err set_text(char **slot, const char *value, const char *name, struct why *why)
{
	if (!value[0])
		return refuse(why, "--%s: empty", name);
	char *copy = strdup(value);
	if (!copy)
		return ours(why, "no memory");
	free(*slot);
	*slot = copy;
	return OK;
}

static enum err add_port(struct options *o, const char *spec, enum vd_origin origin, const char *where, struct why *why)
{
	struct options_port p = { .origin = origin };
	struct why inner;
	if (o->n_ports == OPTIONS_MAX_PORTS)
		return refuse(why, "%s: %u ports are the most that are possible", where, OPTIONS_MAX_PORTS);
	enum err e = spec_parse(spec, &p.spec, &inner);
	if (e != OK)
		return refuse(why, "%s: port %.60s: %s", where, spec, inner.text);
	snprintf(p.where, sizeof(p.where), "%s", where);
	struct options_port *more = realloc(o->ports, (o->n_ports + 1) * sizeof(*more));
	if (!more)
		return ours(why, "no memory");
	o->ports = more;
	o->ports[o->n_ports++] = p;
	return OK;
}

static enum err set_cpus(struct options *o, const char *value, struct why *why)
{
	const char *at = value;
	o->n_cpus = 0;
	while (*at) {
		char *end;
		long a = strtol(at, &end, 10), b = a;
		if (end == at)
			return refuse(why, "--cpus %s: not a list like 2,4-5", value);
		if (*end == '-')
			b = strtol(end + 1, &end, 10);
		for (long c = a; c <= b && o->n_cpus < OPTIONS_MAX_CPUS; c++)
			o->cpus[o->n_cpus++] = (int)c;
		if (a < 0 || b < a || b > 1023 || (*end && *end != ','))
			return refuse(why, "--cpus %s: not a list like 2,4-5", value);
		at = *end ? end + 1 : end;
	}
	return o->n_cpus ? OK : refuse(why, "--cpus: empty");
}

static enum err set_poll(struct options *o, const char *value, struct why *why)
{
	uint64_t n;
	o->poll_auto = strcmp(value, "auto") == 0;
	if (o->poll_auto)
		o->poll_us = DP_POLL_AUTO;
	else if (strcmp(value, "always") == 0)
		o->poll_us = DP_POLL_ALWAYS;
	else if (spec_parse_size(value, &n) && n <= 1000000)
		o->poll_us = (int)n;
	else
		return refuse(why, "--poll-us %.40s: must be auto, always or 0 to 1000000", value);
	return OK;
}

static enum err set_number(enum opt_id id, const char *value, uint64_t min, uint64_t max, uint64_t *out, struct why *why)
{
	if (!spec_parse_size(value, out) || *out < min || *out > max)
		return refuse(why, "--%s %.40s: must be a number in %llu..%llu", table[id].name, value, (unsigned long long)min,
			      (unsigned long long)max);
	return OK;
}

static enum err set_option(struct options *o, enum opt_id id, const char *v, enum vd_origin origin, const char *where,
			   struct why *why)
{
	uint64_t n = 0;
	enum err e = OK;
	switch (id) {
	case O_CONFIG:
		return set_text(&o->config, v, table[id].name, why);
	case O_PORT:
		return add_port(o, v, origin, where, why);
	case O_STATE:
		return set_text(&o->state_dir, v, table[id].name, why);
	case O_RUNTIME:
		return set_text(&o->runtime_dir, v, table[id].name, why);
	case O_CONTROL:
		return set_text(&o->control, v, table[id].name, why);
	case O_SOCKET:
		return set_text(&o->socket_path, v, table[id].name, why);
	case O_HTTP:
		return refuse(why, "--http: this version does not build it");
	case O_THREADS:
		e = set_number(id, v, 1, 16, &n, why);
		o->threads = (unsigned)n;
		return e;
	case O_FD:
		e = set_number(id, v, 0, 65535, &n, why);
		o->fd = (int)n;
		return e;
	case O_HOLD:
		return set_number(id, v, 0, UINT64_C(1) << 40, &o->hold_total, why);
	case O_CPUS:
		return set_cpus(o, v, why);
	case O_POLL:
		return set_poll(o, v, why);
	case O_SANDBOX:
		return strcmp(v, "off") == 0 ? OK : refuse(why, "--sandbox %.40s: this version builds only off", v);
	case O_DURABILITY:
		if (strcmp(v, "process") != 0 && strcmp(v, "host") != 0)
			return refuse(why, "--durability %.40s: must be process or host", v);
		o->durability = v[0] == 'h' ? STORE_HOST : STORE_PROCESS;
		return OK;
	case O_LOGLEVEL:
		if (log_level_parse(v) < 0)
			return refuse(why, "--log-level %.40s: must be error, warn, info or debug", v);
		o->log_level = (enum log_level)log_level_parse(v);
		return OK;
	case O_CHECK:
		o->action = OPTIONS_CHECK;
		return OK;
	case O_CAPS:
		o->action = OPTIONS_CAPABILITIES;
		return OK;
	case O_VERSION:
		o->action = OPTIONS_VERSION;
		return OK;
	case O_HELP:
		o->action = OPTIONS_HELP;
		return OK;
	case O_NOKEEPER:
		o->no_keeper = true;
		return OK;
	case O_N:
		break;
	}
	return OK;
}

enum err options_parse_argv(struct options *o, int argc, char **argv, struct why *why)
{
	struct option lo[O_N + 1];
	memset(lo, 0, sizeof(lo));
	for (int i = 0; i < O_N; i++)
		lo[i] = (struct option){ table[i].name, table[i].arg, NULL, 256 + i };
	opterr = 0;
	optind = 0;
	for (;;) {
		int at = optind ? optind : 1;
		int c = getopt_long(argc, argv, ":", lo, NULL);
		if (c == -1)
			break;
		if (c == ':')
			return refuse(why, "%s needs a value (see --help)", argv[at]);
		if (c < 256)
			return refuse(why, "%s: unknown option (see --help)", argv[at]);
		enum opt_id id = (enum opt_id)(c - 256);
		char where[64];
		snprintf(where, sizeof(where), "--%s", table[id].name);
		enum err e = set_option(o, id, optarg, VD_ORIGIN_CLI, where, why);
		if (e != OK)
			return e;
		o->given |= UINT32_C(1) << id;
		if (o->action >= OPTIONS_HELP)
			return OK; // all else is ignored
	}
	if (optind < argc)
		return refuse(why, "%s: not an option (see --help)", argv[optind]);
	return OK;
}

enum err options_set_from_file(struct options *o, const char *name, const char *value, const char *where, struct why *why)
{
	for (int i = 0; i < O_N; i++) {
		if (strcmp(table[i].name, name) != 0)
			continue;
		if (!table[i].in_file)
			return refuse(why, "%s: '%s' belongs on the command line", where, name);
		if (table[i].arg == required_argument && !value)
			return refuse(why, "%s: '%s' needs a value", where, name);
		if (table[i].arg == no_argument && value)
			return refuse(why, "%s: '%s' takes no value", where, name);
		if (i != O_PORT && (o->given >> i & 1))
			return OK; // the command line wins
		struct why inner;
		enum err e = set_option(o, (enum opt_id)i, value, VD_ORIGIN_CONFIG, where, &inner);
		if (e == OK)
			return OK;
		return refuse(why, "%s%s%s", i == O_PORT ? "" : where, i == O_PORT ? "" : ": ", inner.text);
	}
	return refuse(why, "%s: unknown option '%.40s' (vringd --help lists them)", where, name);
}

enum err options_check(struct options *o, struct why *why)
{
	if (o->socket_path && o->fd >= 0)
		return refuse(why, "--socket-path and --fd exclude each other");
	if (o->socket_path || o->fd >= 0) {
		char spec[SPEC_TEXT_MAX];
		size_t n = 0;
		if (o->fd >= 0)
			snprintf(spec, sizeof(spec), "vhost-user,id=vm0,fd=%d", o->fd);
		else {
			n = (size_t)snprintf(spec, sizeof(spec), "vhost-user,id=vm0,path=");
			for (const char *p = o->socket_path; *p && n + 3 < sizeof(spec); p++) {
				spec[n++] = *p;
				if (*p == ',')
					spec[n++] = ',';
			}
			spec[n] = '\0';
		}
		enum err e = add_port(o, spec, VD_ORIGIN_CLI, o->fd >= 0 ? "--fd" : "--socket-path", why);
		if (e != OK)
			return e;
	}
	for (unsigned i = 0; i < o->n_ports; i++)
		for (unsigned k = 0; k < i; k++)
			if (strcmp(o->ports[i].spec.id, o->ports[k].spec.id) == 0 && !spec_equal(&o->ports[i].spec, &o->ports[k].spec))
				return refuse(why, "port '%s' is given twice: %s and %s", o->ports[i].spec.id, o->ports[k].where,
					      o->ports[i].where);
	return OK;
}

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

enum err options_may_reload(const struct options *now, const struct options *next, struct why *why)
{
	const struct {
		enum opt_id id;
		bool equal;
	} rows[] = {
		{ O_STATE, text_equal(now->state_dir, next->state_dir) },
		{ O_RUNTIME, text_equal(now->runtime_dir, next->runtime_dir) },
		{ O_CONTROL, text_equal(now->control, next->control) },
		{ O_THREADS, now->threads == next->threads },
		{ O_CPUS, now->n_cpus == next->n_cpus && memcmp(now->cpus, next->cpus, sizeof(now->cpus)) == 0 },
		{ O_POLL, now->poll_auto == next->poll_auto && now->poll_us == next->poll_us },
		{ O_HOLD, now->hold_total == next->hold_total },
		{ O_DURABILITY, now->durability == next->durability },
		{ O_NOKEEPER, now->no_keeper == next->no_keeper },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!(now->given >> rows[i].id & 1) && !rows[i].equal)
			return refuse(why, "%s can't change while the daemon runs: restart it", table[rows[i].id].name);
	return OK;
}

void options_reload(struct options *now, struct options *next)
{
	free(now->read);
	now->read = next->read;
	next->read = NULL;
	if ((now->given >> O_LOGLEVEL & 1) || now->log_level == next->log_level)
		return;
	now->log_level = next->log_level;
	log_set_level(now->log_level);
}

void options_print(const struct options *o, FILE *out)
{
	char spec[SPEC_TEXT_MAX];
	if (o->state_dir)
		fprintf(out, "state-dir %s\n", o->state_dir);
	if (o->runtime_dir)
		fprintf(out, "runtime-dir %s\n", o->runtime_dir);
	if (o->control)
		fprintf(out, "control %s\n", o->control);
	fprintf(out, "threads %u\n", o->threads);
	for (unsigned i = 0; i < o->n_cpus; i++)
		fprintf(out, "%s%d%s", i ? "," : "cpus ", o->cpus[i], i + 1 == o->n_cpus ? "\n" : "");
	if (o->poll_auto || o->poll_us < 0)
		fprintf(out, "poll-us %s\n", o->poll_auto ? "auto" : "always");
	else
		fprintf(out, "poll-us %d\n", o->poll_us);
	fprintf(out, "hold-total %llu\ndurability %s\nlog-level %s\n", (unsigned long long)o->hold_total,
		o->durability == STORE_HOST ? "host" : "process", log_level_name(o->log_level));
	if (o->no_keeper)
		fprintf(out, "no-keeper\n");
	for (unsigned i = 0; i < o->n_ports; i++) {
		spec_format(&o->ports[i].spec, spec, sizeof(spec));
		fprintf(out, "port %s\n", spec);
	}
}

void options_help(FILE *out)
{
	fprintf(out, "usage: vringd [OPTION]...\n"
		     "A vhost-user-net switch: the network of virtual machines in one process.\n\n");
	for (int i = 0; i < O_N; i++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].value ? " " : "", table[i].value ? table[i].value : "");
		fprintf(out, "  %-32s %s\n", left, table[i].help);
	}
	fprintf(out, "\nSPEC = KIND,key=value,...   KIND: vhost-user, tap, null. A comma in a value is doubled; sizes take K M G.\n");
	spec_help(out);
	fprintf(out, "\nExample: two guests on one switch\n"
		     "  vringd --port vhost-user,id=vm1 --port vhost-user,id=vm2\n"
		     "  vringctl ports vm1 --qemu      prints what to add to QEMU's command line\n"
		     "Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}
