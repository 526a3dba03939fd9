#include "bench/opts.h"

#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "bench/plan.h"

#define KILLS 100 // of recovery
#define MEMORY (UINT64_C(4) << 30)
#define MEMORY_LEAST (UINT64_C(16) << 20)

enum option_id {
	O_BACKEND = 256,
	O_EXEC,
	O_DPDK,
	O_DRIVER,
	O_CPUS,
	O_CASES,
	O_SIZES,
	O_IMIX,
	O_FLOWS,
	O_SEARCH,
	O_LOSS,
	O_TRIALS,
	O_DURATION,
	O_KILLS,
	O_MEMORY,
	O_SEED,
	O_OUT,
	O_REPORT,
	O_HELP,
	O_VERSION,
};

static const struct option long_options[] = {
	{ "backend", required_argument, NULL, O_BACKEND },
	{ "exec", required_argument, NULL, O_EXEC },
	{ "dpdk", required_argument, NULL, O_DPDK },
	{ "driver", required_argument, NULL, O_DRIVER },
	{ "cpus", required_argument, NULL, O_CPUS },
	{ "cases", required_argument, NULL, O_CASES },
	{ "sizes", required_argument, NULL, O_SIZES },
	{ "imix", no_argument, NULL, O_IMIX },
	{ "flows", required_argument, NULL, O_FLOWS },
	{ "search", required_argument, NULL, O_SEARCH },
	{ "loss", required_argument, NULL, O_LOSS },
	{ "trials", required_argument, NULL, O_TRIALS },
	{ "duration", required_argument, NULL, O_DURATION },
	{ "kills", required_argument, NULL, O_KILLS },
	{ "memory", required_argument, NULL, O_MEMORY },
	{ "seed", required_argument, NULL, O_SEED },
	{ "out", required_argument, NULL, O_OUT },
	{ "report", required_argument, NULL, O_REPORT },
	{ "help", no_argument, NULL, O_HELP },
	{ "version", no_argument, NULL, O_VERSION },
	{ NULL, 0, NULL, 0 },
};

static bool number(const char *option, const char *text, double min, double max, double *out)
{
	char *end;
	double n = strtod(text, &end);
	if (end == text || *end || !(n >= min && n <= max)) {
		complain("%s: %s is not a number from %g to %g", option, text, min, max);
		return false;
	}
	*out = n;
	return true;
}

static bool whole(const char *option, const char *text, double min, double max, unsigned *out)
{
	double n;
	if (!number(option, text, min, max, &n))
		return false;
	if (n != floor(n)) {
		complain("%s: %s is no whole number", option, text);
		return false;
	}
	*out = (unsigned)n;
	return true;
}

// Calls add for each part of a comma list; false if it refuses one or the list has an empty part.
static bool each_part(const char *option, const char *list, bool (*add)(struct opts *, const char *option, const char *part),
		      struct opts *o)
{
	for (;;) {
		char part[64];
		size_t n = strcspn(list, ",");
		if (n == 0 || n >= sizeof(part)) {
			complain("%s: a part of the list is %s", option, n ? "too long" : "empty");
			return false;
		}
		memcpy(part, list, n);
		part[n] = '\0';
		if (!add(o, option, part))
			return false;
		if (!list[n])
			return true;
		list += n + 1;
	}
}

static bool full(const char *option, unsigned n, unsigned max)
{
	if (n < max)
		return false;
	complain("%s: more than %u", option, max);
	return true;
}

static bool add_cpu(struct opts *o, const char *option, const char *part)
{
	char first[64];
	size_t n = strcspn(part, "-");
	unsigned cpu, last;
	memcpy(first, part, n); // each_part has limited it
	first[n] = '\0';
	if (!whole(option, first, 0, CPU_SETSIZE - 1, &cpu) || !whole(option, part[n] ? part + n + 1 : first, 0, CPU_SETSIZE - 1, &last))
		return false;
	if (last < cpu) {
		complain("%s: %s ends before it begins", option, part);
		return false;
	}
	for (; cpu <= last; cpu++) {
		if (full(option, o->n_cpus, OPTS_CPUS))
			return false;
		o->cpu[o->n_cpus++] = (int)cpu;
	}
	return true;
}

static bool add_size(struct opts *o, const char *option, const char *part)
{
	if (full(option, o->n_sizes, OPTS_SIZES) || !whole(option, part, 64, 65535, &o->size[o->n_sizes]))
		return false;
	o->n_sizes++;
	return true;
}

static bool add_case(struct opts *o, const char *option, const char *part)
{
	if (full(option, o->n_cases, OPTS_CASES))
		return false;
	if (!plan_knows(part)) {
		complain("%s: no case is called %s (see --help)", option, part);
		return false;
	}
	snprintf(o->cases[o->n_cases++], sizeof(o->cases[0]), "%.32s", part);
	return true;
}

static bool add_search(struct opts *o, const char *option, const char *part)
{
	if (strcmp(part, "ndr") == 0)
		o->ndr = true;
	else if (strcmp(part, "pdr") == 0)
		o->pdr = true;
	else
		complain("%s: %s is neither ndr nor pdr", option, part);
	return strcmp(part, "ndr") == 0 || strcmp(part, "pdr") == 0;
}

// Two back ends of one name become NAME and NAME#2: one against itself shows the noise.
static void number_name(struct opts *o, struct backend_spec *b, const char *name)
{
	unsigned same = 1;
	for (unsigned i = 0; i < o->n_backends; i++) {
		size_t n = strcspn(o->backend[i].name, "#");
		same += strlen(name) == n && strncmp(o->backend[i].name, name, n) == 0;
	}
	if (same == 1)
		snprintf(b->name, sizeof(b->name), "%.28s", name);
	else
		snprintf(b->name, sizeof(b->name), "%.28s#%u", name, same);
}

static bool given_sockets(struct backend_spec *b, const char *paths)
{
	size_t n = strcspn(paths, ",");
	const char *second = paths[n] ? paths + n + 1 : "";
	if (n == 0 || n >= sizeof(b->sock[0]) || strlen(second) >= sizeof(b->sock[1]) || strchr(second, ',')) {
		complain("--backend: NAME=SOCKET or NAME=SOCKET,SOCKET, each of at most 107 bytes");
		return false;
	}
	snprintf(b->sock[0], sizeof(b->sock[0]), "%.*s", (int)n, paths);
	snprintf(b->sock[1], sizeof(b->sock[1]), "%s", second);
	return true;
}

static bool add_backend(struct opts *o, const char *text)
{
	static const struct {
		const char *name;
		enum backend_kind kind;
		bool alone;
	} kinds[] = { { "vringd", BACKEND_VRINGD, false }, { "vringd-alone", BACKEND_VRINGD, true }, { "testpmd", BACKEND_TESTPMD, false },
		      { "ovs", BACKEND_OVS, false } };
	if (full("--backend", o->n_backends, OPTS_BACKENDS))
		return false;
	struct backend_spec *b = &o->backend[o->n_backends];
	memset(b, 0, sizeof(*b));
	const char *eq = strchr(text, '=');
	if (eq) {
		char name[29];
		size_t n = (size_t)(eq - text);
		if (n == 0 || n >= sizeof(name) || strcspn(text, "#+,<>&\"") < n) {
			complain("--backend: a NAME has 1 to 28 characters and none of # + , < > & \"");
			return false;
		}
		snprintf(name, sizeof(name), "%.*s", (int)n, text);
		b->kind = BACKEND_GIVEN;
		number_name(o, b, name);
		if (!given_sockets(b, eq + 1))
			return false;
		o->n_backends++;
		return true;
	}
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(text, kinds[i].name) == 0) {
			b->kind = kinds[i].kind;
			b->alone = kinds[i].alone;
			number_name(o, b, text);
			o->n_backends++;
			return true;
		}
	complain("--backend: %s is none of vringd, vringd-alone, testpmd, ovs, NAME=SOCKET,SOCKET", text);
	return false;
}

static bool set_exec(struct opts *o, const char *command)
{
	struct backend_spec *b = o->n_backends ? &o->backend[o->n_backends - 1] : NULL;
	if (!b || b->kind != BACKEND_GIVEN) {
		complain("--exec: belongs behind the --backend NAME=SOCKET,SOCKET that it starts");
		return false;
	}
	if (strlen(command) >= sizeof(b->exec)) {
		complain("--exec: longer than %zu bytes", sizeof(b->exec) - 1);
		return false;
	}
	snprintf(b->exec, sizeof(b->exec), "%s", command);
	return true;
}

static bool path(const char *option, const char *text, char *to, size_t size)
{
	if (strlen(text) < size && text[0]) {
		snprintf(to, size, "%s", text);
		return true;
	}
	complain("%s: a path has 1 to %zu bytes", option, size - 1);
	return false;
}

static bool set_driver(struct opts *o, const char *text)
{
	o->driver_testpmd = strcmp(text, "testpmd") == 0;
	if (o->driver_testpmd || strcmp(text, "builtin") == 0)
		return true;
	complain("--driver: %s is neither builtin nor testpmd", text);
	return false;
}

static bool set_memory(struct opts *o, const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = *end == 'G' || *end == 'g' ? 30 : *end == 'M' || *end == 'm' ? 20 : 0;
	if (end == text || text[0] == '-' || !shift || end[1] || n == 0 || n > (1ull << 42) >> shift || n << shift < MEMORY_LEAST) {
		complain("--memory: %s is no size from 16M to 4096G, such as 4G", text);
		return false;
	}
	o->memory_bytes = (uint64_t)n << shift;
	return true;
}

static bool set_seed(struct opts *o, const char *text)
{
	char *end;
	o->seed = strtoull(text, &end, 10);
	if (end != text && !*end && text[0] != '-')
		return true;
	complain("--seed: %s is no number", text);
	return false;
}

static bool apply(struct opts *o, int id, const char *v)
{
	switch (id) {
	case O_BACKEND:
		return add_backend(o, v);
	case O_EXEC:
		return set_exec(o, v);
	case O_DPDK:
		return path("--dpdk", v, o->dpdk, sizeof(o->dpdk));
	case O_DRIVER:
		return set_driver(o, v);
	case O_CPUS:
		return each_part("--cpus", v, add_cpu, o);
	case O_CASES:
		return each_part("--cases", v, add_case, o);
	case O_SIZES:
		return each_part("--sizes", v, add_size, o);
	case O_IMIX:
		return o->imix = true;
	case O_FLOWS:
		return whole("--flows", v, 1, 65536, &o->flows);
	case O_SEARCH:
		return each_part("--search", v, add_search, o);
	case O_LOSS:
		return number("--loss", v, 0, 50, &o->loss);
	case O_TRIALS:
		return whole("--trials", v, 1, 500, &o->trials);
	case O_DURATION:
		return number("--duration", v, 0.05, 600, &o->duration);
	case O_KILLS:
		return whole("--kills", v, 1, 1000, &o->kills);
	case O_MEMORY:
		return set_memory(o, v);
	case O_SEED:
		return set_seed(o, v);
	case O_OUT:
		return path("--out", v, o->out, sizeof(o->out));
	case O_REPORT:
		return path("--report", v, o->report, sizeof(o->report));
	default:
		return false; // getopt has complained
	}
}

static bool verb_of(struct opts *o, const char *word)
{
	static const char *const verbs[] = { "run", "compare", "rerun", "recovery" };
	for (unsigned i = 0; word && i < 4; i++)
		if (strcmp(word, verbs[i]) == 0) {
			o->verb = (enum opts_verb)i;
			return true;
		}
	if (word)
		complain("%s is none of run, compare, rerun, recovery (see --help)", word);
	else
		complain("run, compare, rerun or recovery? (see --help)");
	return false;
}

// The first two CPUs that we may use; the back ends share the driver's if there is one only.
static void default_cpus(struct opts *o)
{
	cpu_set_t set;
	if (o->n_cpus || sched_getaffinity(0, sizeof(set), &set) != 0)
		return;
	for (int i = 0; i < CPU_SETSIZE && o->n_cpus < 2; i++)
		if (CPU_ISSET((size_t)i, &set))
			o->cpu[o->n_cpus++] = i;
}

static bool finish(struct opts *o, int argc, char **argv, int at)
{
	int files = o->verb == VERB_COMPARE ? 2 : o->verb == VERB_RERUN ? 1 : 0;
	if (argc - at != files) {
		complain("%s takes %d file%s", argv[1], files, files == 1 ? "" : "s");
		return false;
	}
	for (int i = 0; i < files; i++)
		if (!path(argv[1], argv[at + i], o->file[i], sizeof(o->file[i])))
			return false;
	if (o->n_backends == 0 && (o->verb == VERB_RUN || o->verb == VERB_RECOVERY))
		add_backend(o, "vringd");
	if (o->n_backends == 1 && o->verb == VERB_RECOVERY && o->backend[0].kind == BACKEND_VRINGD && !o->backend[0].alone)
		add_backend(o, "vringd-alone");
	if (o->verb == VERB_RECOVERY && !o->kills)
		o->kills = KILLS;
	if (o->verb == VERB_RECOVERY && !o->memory_bytes)
		o->memory_bytes = MEMORY;
	if (o->n_backends == 1 && o->verb == VERB_RUN)
		add_backend(o, "testpmd");
	for (unsigned i = 0; o->driver_testpmd && i < o->n_backends; i++)
		if (o->backend[i].kind == BACKEND_GIVEN && !o->backend[i].sock[1][0]) {
			complain("--driver testpmd needs two sockets of %s", o->backend[i].name);
			return false;
		}
	default_cpus(o);
	if (o->n_cpus == 1)
		o->cpu[o->n_cpus++] = o->cpu[0];
	return true;
}

static void defaults(struct opts *o)
{
	memset(o, 0, sizeof(*o));
	o->flows = 1;
	o->loss = 0.5;
	o->trials = 9;
	o->duration = 1;
	o->seed = (uint64_t)time(NULL);
}

enum opts_result opts_parse(struct opts *o, int argc, char **argv)
{
	defaults(o);
	bool alone = argc == 2 && argv[1][0] == '-'; // --help or --version without a verb
	if (!alone && !verb_of(o, argc > 1 ? argv[1] : NULL))
		return OPTS_WRONG;
	int c;
	optind = alone ? 1 : 2;
	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (c == O_HELP || c == 'h') {
			opts_help(stdout);
			return OPTS_DONE;
		}
		if (c == O_VERSION) {
			puts("vringbench " VRINGD_VERSION);
			return OPTS_DONE;
		}
		if (!apply(o, c, optarg))
			return OPTS_WRONG;
	}
	return !alone && finish(o, argc, argv, optind) ? OPTS_OK : OPTS_WRONG;
}
