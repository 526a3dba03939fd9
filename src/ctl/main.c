// vringctl: the command line, and which verb it names.
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static void help(FILE *to)
{
	fprintf(to, "usage: vringctl [--control PATH] [-j|--json] VERB [ARGUMENT]...\n\n");
	for (const struct verb *v = verbs; v->words; v++)
		fprintf(to, "  %s %-*s %s\n", v->words, (int)(46 - strlen(v->words)), v->args, v->help);
	fprintf(to, "\n  -j, --json   the answer as JSON (fields are only ever added)\n"
		    "  --control    default: $VRINGD_CONTROL, $RUNTIME_DIRECTORY/control.sock, /run/vringd/control.sock,\n"
		    "               $XDG_RUNTIME_DIR/vringd/control.sock\n"
		    "Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static const struct verb *find(int argc, char **argv, int *words)
{
	for (const struct verb *v = verbs; v->words; v++) {
		const char *space = strchr(v->words, ' ');
		size_t n = space ? (size_t)(space - v->words) : strlen(v->words);
		if (argc < 1 || strlen(argv[0]) != n || strncmp(argv[0], v->words, n) != 0)
			continue;
		if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0))
			continue;
		*words = space ? 2 : 1;
		return v;
	}
	return NULL;
}

static bool seconds(const struct ctl *c, const char *name, const char *text, double min, double max, double *out)
{
	char *end;
	*out = strtod(text, &end);
	if (end != text && !*end && *out >= min && *out <= max) // neither does "nan" compare
		return true;
	complain(c, "--%s %s: must be seconds in %g..%.0f", name, text, min, max);
	return false;
}

static bool number(const struct ctl *c, const char *name, const char *text, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && !*end && errno == 0 && *out <= INT64_MAX)
		return true;
	complain(c, "--%s %s: must be a number", name, text);
	return false;
}

static bool parse(struct ctl *c, int argc, char **argv)
{
	enum { O_CONTROL = 256, O_QEMU, O_LIBVIRT, O_WATCH, O_INTERVAL, O_FOLLOW, O_SINCE, O_TIMEOUT, O_FILE, O_KEEPER,
	       O_HELP, O_VERSION };
	static const struct option lo[] = {
		{ "control", required_argument, NULL, O_CONTROL }, { "json", no_argument, NULL, 'j' },
		{ "qemu", no_argument, NULL, O_QEMU },		   { "libvirt", no_argument, NULL, O_LIBVIRT },
		{ "watch", no_argument, NULL, O_WATCH },	   { "interval", required_argument, NULL, O_INTERVAL },
		{ "follow", no_argument, NULL, O_FOLLOW },	   { "since", required_argument, NULL, O_SINCE },
		{ "timeout", required_argument, NULL, O_TIMEOUT }, { "file", required_argument, NULL, O_FILE },
		{ "keeper", no_argument, NULL, O_KEEPER },
		{ "help", no_argument, NULL, O_HELP },		   { "version", no_argument, NULL, O_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int o;
	while ((o = getopt_long(argc, argv, "jh", lo, NULL)) != -1) {
		switch (o) {
		case O_CONTROL: c->control = optarg; break;
		case 'j': c->json = true; break;
		case O_QEMU: c->qemu = true; break;
		case O_LIBVIRT: c->libvirt = true; break;
		case O_WATCH: c->watch = true; break;
		case O_INTERVAL:
			c->watch = true;
			if (!seconds(c, "interval", optarg, 0.05, 86400, &c->interval_s))
				return false;
			break;
		case O_FOLLOW: c->follow = true; break;
		case O_SINCE:
			if (!number(c, "since", optarg, &c->since))
				return false;
			break;
		case O_TIMEOUT:
			if (!seconds(c, "timeout", optarg, 0, 31536000, &c->timeout_s))
				return false;
			break;
		case O_KEEPER: c->keeper = true; break;
		case O_FILE: c->file = optarg; break;
		case 'h':
		case O_HELP: help(stdout); exit(0);
		case O_VERSION: printf("vringctl %s\n", VRINGD_VERSION); exit(0);
		default: return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	struct ctl c = { .interval_s = 1, .timeout_s = -1 };
	int words = 0;
	for (int i = 1; i < argc; i++) // also for what is wrong further on
		c.json = c.json || strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0;
	if (!parse(&c, argc, argv)) {
		fprintf(stderr, "see vringctl --help\n");
		return 2;
	}
	const struct verb *v = find(argc - optind, argv + optind, &words);
	if (!v) {
		const char *word = optind < argc ? argv[optind] : NULL;
		if (!word)
			help(stderr);
		else
			complain(&c, "unknown verb '%s%s%s'; see vringctl --help", word, optind + 1 < argc ? " " : "",
				 optind + 1 < argc ? argv[optind + 1] : "");
		return 2;
	}
	if (c.keeper && strcmp(v->words, "upgrade") != 0) {
		complain(&c, "--keeper belongs to upgrade");
		return 2;
	}
	c.argc = argc - optind - words;
	c.argv = argv + optind + words;
	if (c.argc < v->min || c.argc > v->max) {
		complain(&c, "usage: vringctl %s %s", v->words, v->args);
		return 2;
	}
	return v->run(&c, v);
}
