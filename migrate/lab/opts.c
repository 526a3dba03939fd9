#include "lab/opts.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "lab/agent_proto.h"

enum option_id {
	O_QEMU_SRC = 256, O_QEMU_DST, O_MACHINE, O_ACCEL, O_KERNEL, O_INITRD, O_IMAGE, O_QEMU_ARG, O_PARAM, O_CAP, O_ROUNDS, O_RATE,
	O_SIZE, O_QUEUES, O_MEMORY, O_VERIFY_RAM, O_CANCEL_AT, O_TWO_DAEMONS, O_ANNOUNCE, O_ONE_PATH, O_PACKED, O_BACKEND, O_VRINGD,
	O_REPORT, O_JSON, O_JUNIT, O_KEEP, O_DURATION, O_GAP, O_KILLS, O_SEED, O_HELP, O_VERSION, O_NOT_HERE,
};

static const struct option long_options[] = {
	{ "qemu-src", required_argument, NULL, O_QEMU_SRC },
	{ "qemu-dst", required_argument, NULL, O_QEMU_DST },
	{ "machine", required_argument, NULL, O_MACHINE },
	{ "accel", required_argument, NULL, O_ACCEL },
	{ "kernel", required_argument, NULL, O_KERNEL },
	{ "initrd", required_argument, NULL, O_INITRD },
	{ "image", required_argument, NULL, O_IMAGE },
	{ "qemu-arg", required_argument, NULL, O_QEMU_ARG },
	{ "param", required_argument, NULL, O_PARAM },
	{ "cap", required_argument, NULL, O_CAP },
	{ "rounds", required_argument, NULL, O_ROUNDS },
	{ "rate", required_argument, NULL, O_RATE },
	{ "size", required_argument, NULL, O_SIZE },
	{ "queues", required_argument, NULL, O_QUEUES },
	{ "memory", required_argument, NULL, O_MEMORY },
	{ "duration", required_argument, NULL, O_DURATION },
	{ "gap", required_argument, NULL, O_GAP },
	{ "kills", required_argument, NULL, O_KILLS },
	{ "seed", required_argument, NULL, O_SEED },
	{ "verify-ram", no_argument, NULL, O_VERIFY_RAM },
	{ "cancel-at", required_argument, NULL, O_CANCEL_AT },
	{ "two-daemons", no_argument, NULL, O_TWO_DAEMONS },
	{ "announce", required_argument, NULL, O_ANNOUNCE },
	{ "one-path", no_argument, NULL, O_ONE_PATH },
	{ "packed", no_argument, NULL, O_PACKED },
	{ "backend", required_argument, NULL, O_BACKEND },
	{ "vringd", required_argument, NULL, O_VRINGD },
	{ "report", required_argument, NULL, O_REPORT },
	{ "json", no_argument, NULL, O_JSON },
	{ "junit", required_argument, NULL, O_JUNIT },
	{ "keep", required_argument, NULL, O_KEEP },
	{ "help", no_argument, NULL, O_HELP },
	{ "version", no_argument, NULL, O_VERSION },
	// of the contract, but not of this version: refused by name
	{ "two-hosts", no_argument, NULL, O_NOT_HERE },
	{ "postcopy", no_argument, NULL, O_NOT_HERE },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"usage: vringlab migrate [OPTION]...\n"
	"       vringlab crash [OPTION]...\n"
	"\n"
	"Boots two guests, lets them exchange numbered datagrams through vringd, live-migrates one of them from one QEMU to\n"
	"another (migrate), or kills vringd's worker again and again (crash), and says what was lost, repeated, damaged or late.\n"
	"Nothing is installed, and no network but its own is touched.\n"
	"\n"
	"What runs\n"
	"  --qemu-src BIN, --qemu-dst BIN   the two QEMUs (default: qemu-system-x86_64, and the source's)\n"
	"  --machine M          machine type (default q35; with two QEMU versions one that both know, such as pc-q35-7.2)\n"
	"  --accel auto|kvm|tcg (default auto: boots a guest to see whether KVM works)\n"
	"  --kernel F           guest kernel, its modules beside it as in the package (default: the cache of scripts/lab-assets,\n"
	"                       then /boot)\n"
	"  --initrd F           use this instead of building one; its init must run lab-agent\n"
	"  --image F            boot this disk instead (never written to); it must run lab-agent on its second serial port\n"
	"  --qemu-arg A         one more argument for every QEMU (may be repeated)\n"
	"  --vringd PATH        the daemon (default: $VRINGD, the one beside vringlab, the one in PATH)\n"
	"  --backend CMD        another vhost-user back end instead: a shell command that is told the sockets to make in\n"
	"                       $VRINGLAB_PEER, $VRINGLAB_SRC and $VRINGLAB_DST; \"none\" connects the guests without any\n"
	"\n"
	"What is done\n"
	"  --rounds N           migrations, there and back again (default 1)\n"
	"  --rate N             datagrams a second each way (default 1000)\n"
	"  --size N             bytes of each (default 1000; over 1472 the guests have an MTU of 9000)\n"
	"  --queues N           queue pairs, and streams of datagrams (default 1)\n"
	"  --memory M           of each guest (default 128M)\n"
	"  --gap MS             how much longer than QEMU's own downtime the longest gap may be (default 50), unless the\n"
	"                       longest gap of an equal stretch without migration was more than that; crash: what 99 of 100\n"
	"                       kills' gaps may last, and half of them three tenths of it\n"
	"  --kills N            crash: kill the worker that often while datagrams flow (default 20); migrate: in each migration, all\n"
	"                       between LOG_ALL and the last GET_VRING_BASE, one between two of those (default 0, at least 3)\n"
	"  --seed N             of the kills' signals and moments (default: the time; printed)\n"
	"  --duration S         length of the stretch without migration, and least length of those with one (default 4)\n"
	"  --announce guest|switch          who announces besides the switch (default guest)\n"
	"  --one-path           both QEMUs use one socket\n"
	"  --packed             the guests' rings are packed ones\n"
	"  --verify-ram         pause after each migration and compare all guest memory of both sides\n"
	"  --cancel-at before-stop|after-stop    cancel a migration there first; then the rounds\n"
	"  --two-daemons        source and destination on two vringd, joined by taps and a bridge (root)\n"
	"  --param K=V, --cap NAME          migration parameter and capability (may be repeated)\n"
	"\n"
	"What is said\n"
	"  --json               on stdout, instead of the table\n"
	"  --junit F            verdicts as JUnit XML\n"
	"  --report F.html      a page with the timeline and the traffic drawn\n"
	"  --keep DIR           leave logs and consoles there\n"
	"\n"
	"Exit: 0 all verdicts hold, 1 one failed, 2 wrong usage, 3 cannot run here.\n";

enum err size_parse(const char *text, uint64_t *bytes, struct why *why)
{
	char *end;
	unsigned shift = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (end == text || *text == '-')
		return refuse(why, "%s is no size", text);
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M' || *end == 'm')
		shift = 20;
	else if (*end == 'G' || *end == 'g')
		shift = 30;
	if (end[shift ? 1 : 0] || n > (UINT64_MAX >> 1) >> shift)
		return refuse(why, "%s is no size", text);
	*bytes = (uint64_t)n << shift;
	return OK;
}

static bool number(const char *option, const char *text, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (end == text || *end || *text == '-' || n < min || n > max) {
		complain("%s: %s is not a number from %u to %u", option, text, min, max);
		return false;
	}
	*out = (unsigned)n;
	return true;
}

// The index of the word in a NULL-terminated list, or -1 and a complaint.
static int word(const char *option, const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(text, words[i]))
			return i;
	char list[100] = "";
	for (int i = 0; words[i]; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", words[i]);
	complain("%s: %s is not one of %s", option, text, list);
	return -1;
}

static bool take_number(struct opts *o, int id, const char *arg)
{
	struct why why;
	switch (id) {
	case O_ROUNDS: return number("--rounds", arg, 1, 10000, &o->rounds);
	case O_RATE: return number("--rate", arg, 1, 200000, &o->rate);
	case O_SIZE: return number("--size", arg, LAB_SIZE_MIN, LAB_SIZE_MAX, &o->size);
	case O_QUEUES: return number("--queues", arg, 1, LAB_STREAMS_MAX, &o->queues);
	case O_KILLS: return number("--kills", arg, 1, 100000, &o->kills);
	case O_GAP: return number("--gap", arg, 0, 60000, &o->gap_ms);
	case O_DURATION: return number("--duration", arg, 1, 200, &o->duration_s);
	default: break;
	}
	if (size_parse(arg, &o->memory_bytes, &why) != OK || o->memory_bytes < UINT64_C(64) << 20 || o->memory_bytes % (1 << 20)) {
		complain("--memory: %s is no size of whole megabytes from 64M", arg);
		return false;
	}
	return true;
}

static bool take_seed(struct opts *o, const char *arg)
{
	char *end;
	o->seed = strtoull(arg, &end, 10);
	if (end != arg && !*end && *arg != '-')
		return true;
	complain("--seed: %s is no number", arg);
	return false;
}

static bool take_word(struct opts *o, int id, const char *arg)
{
	static const char *const accels[] = { "auto", "kvm", "tcg", NULL };
	static const char *const phases[] = { "before-stop", "after-stop", NULL };
	static const char *const announcers[] = { "guest", "switch", NULL };
	int i;
	switch (id) {
	case O_ACCEL:
		i = word("--accel", arg, accels);
		o->accel = (enum accel)i;
		return i >= 0;
	case O_CANCEL_AT:
		i = word("--cancel-at", arg, phases);
		o->cancel_at = i == 0 ? CANCEL_BEFORE_STOP : CANCEL_AFTER_STOP;
		return i >= 0;
	default:
		i = word("--announce", arg, announcers);
		o->announce_by_switch = i == 1;
		return i >= 0;
	}
}

static bool take_option(struct opts *o, int id, const char *arg)
{
	switch (id) {
	case O_QEMU_SRC: o->qemu_src = arg; break;
	case O_QEMU_DST: o->qemu_dst = arg; break;
	case O_MACHINE: o->machine = arg; break;
	case O_KERNEL: o->kernel = arg; break;
	case O_INITRD: o->initrd = arg; break;
	case O_IMAGE: o->image = arg; break;
	case O_QEMU_ARG: args_add(&o->qemu_args, "%s", arg); break;
	case O_CAP: args_add(&o->caps, "%s", arg); break;
	case O_PARAM:
		if (!strchr(arg, '=')) {
			complain("--param: %s is not of the form name=value", arg);
			return false;
		}
		args_add(&o->params, "%s", arg);
		break;
	case O_VERIFY_RAM: o->verify_ram = true; break;
	case O_TWO_DAEMONS: o->two_daemons = true; break;
	case O_ONE_PATH: o->one_path = true; break;
	case O_PACKED: o->packed = true; break;
	case O_BACKEND: o->backend = arg; break;
	case O_VRINGD: o->vringd = arg; break;
	case O_REPORT: o->report = arg; break;
	case O_JSON: o->json = true; break;
	case O_JUNIT: o->junit = arg; break;
	case O_KEEP: o->keep = arg; break;
	case O_SEED: return take_seed(o, arg);
	case O_ACCEL: case O_CANCEL_AT: case O_ANNOUNCE: return take_word(o, id, arg);
	default: return take_number(o, id, arg);
	}
	return true;
}

// What does not go together.
static bool check_together(const struct opts *o)
{
	const char *wrong = NULL;
	if (o->two_daemons && (o->backend || o->one_path))
		wrong = "--two-daemons goes with neither --backend nor --one-path";
	else if (o->backend && o->vringd)
		wrong = "--backend replaces vringd: leave --vringd out";
	else if (o->image && (o->kernel || o->initrd))
		wrong = "--image boots by itself: leave --kernel and --initrd out";
	else if (o->kills && o->two_daemons)
		wrong = "--kills needs one back end: leave --two-daemons out";
	else if (o->kills && o->backend && !strcmp(o->backend, "none"))
		wrong = "--kills: there is nobody to be killed with --backend none";
	else if (o->verb == LAB_CRASH && (o->cancel_at || o->verify_ram || o->one_path || o->rounds > 1 || o->params.n || o->caps.n))
		wrong = "crash migrates nothing: leave out what is about migrations";
	else if (o->verb == LAB_MIGRATE && o->kills && o->kills < OPTS_KILLS_MIN_MIGRATE)
		wrong = "--kills: at least 3 in a migration";
	if (wrong)
		complain("%s", wrong);
	return !wrong;
}

enum opts_result opts_parse(struct opts *o, int argc, char **argv)
{
	*o = (struct opts){ .rounds = 1, .rate = 1000, .size = 1000, .queues = 1, .memory_bytes = UINT64_C(128) << 20, .duration_s = 4, .gap_ms = OPTS_GAP_DEFAULT, .seed = clock_wall_us() / 1000000 };
	int id, index;
	optind = 1;
	while ((id = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
		if (id == O_HELP || id == 'h') {
			fputs(help_text, stdout);
			return OPTS_DONE;
		}
		if (id == O_VERSION) {
			puts("vringlab " VRINGD_VERSION);
			return OPTS_DONE;
		}
		if (id == O_NOT_HERE) {
			complain("--%s is not built in this version", long_options[index].name);
			return OPTS_WRONG;
		}
		if (id == '?' || !take_option(o, id, optarg))
			return OPTS_WRONG;
	}
	if (optind >= argc) {
		fputs(help_text, stderr);
		return OPTS_WRONG;
	}
	bool crash = !strcmp(argv[optind], "crash"), known = crash || !strcmp(argv[optind], "migrate");
	if (!known || optind + 1 < argc) {
		complain("%s: unknown; see vringlab --help", argv[known ? optind + 1 : optind]);
		return OPTS_WRONG;
	}
	o->verb = crash ? LAB_CRASH : LAB_MIGRATE;
	if (crash && !o->kills)
		o->kills = OPTS_KILLS_DEFAULT;
	return check_together(o) ? OPTS_RUN : OPTS_WRONG;
}

void opts_free(struct opts *o)
{
	args_free(&o->qemu_args);
	args_free(&o->params);
	args_free(&o->caps);
}
