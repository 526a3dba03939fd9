// vringlab: two QEMUs, one switch, live migrations or kills, and what became of every datagram.
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "lab/opts.h"
#include "lab/proc.h"
#include "lab/report.h"
#include "lab/scenario.h"
#include "lab/verdict.h"

enum { EXIT_HOLDS = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANNOT = 3 };
#define WORK_PATH_MAX 60 // a socket's path has 107 bytes, and ours go deeper than this folder

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static enum err work_open(const struct opts *o, char *dir, size_t size, struct why *why)
{
	const char *tmp = getenv("TMPDIR");
	if (o->keep) {
		enum err e = folder_make(o->keep, why);
		char *full = e == OK ? realpath(o->keep, NULL) : NULL;
		if (full)
			snprintf(dir, size, "%s", full);
		free(full);
		return e != OK ? e : strlen(dir) <= WORK_PATH_MAX ? OK : ours(why, "%s: more than %d bytes leave no room for the sockets' names", o->keep, WORK_PATH_MAX);
	}
	snprintf(dir, size, "%s/vringlab-XXXXXX", tmp && strlen(tmp) < WORK_PATH_MAX - 20 ? tmp : "/tmp");
	return mkdtemp(dir) ? OK : ours(why, "%s: %s", dir, strerror(errno));
}

static int report_all(struct results *r, const struct opts *o)
{
	struct why why;
	bool holds = verdicts_judge(r), written = true;
	if (o->report && report_html(r, o->report, &why) != OK) {
		complain("%s", why.text);
		written = false;
	}
	if (o->junit && report_junit(r, o->junit, &why) != OK) {
		complain("%s", why.text);
		written = false;
	}
	if (o->json) {
		json_t *j = report_json(r);
		json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		putchar('\n');
		json_decref(j);
	} else {
		verdicts_print(r);
	}
	return holds && written ? EXIT_HOLDS : EXIT_FAILED;
}

static int run(const struct opts *o)
{
	struct assets assets;
	struct results r = { 0 };
	struct why why = { "" };
	char dir[300] = "";
	enum err e = assets_find(&assets, o, &why);
	if (e == OK)
		e = work_open(o, dir, sizeof(dir), &why);
	if (e == OK)
		e = scenario_run(o, &assets, dir, &r, &why);
	int status = EXIT_CANNOT;
	if (e == OK)
		status = report_all(&r, o);
	else
		complain("cannot run here: %s", why.text);
	results_free(&r);
	if (dir[0] && !o->keep)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return status;
}

int main(int argc, char **argv)
{
	struct opts o;
	interrupt_catch();
	enum opts_result parsed = opts_parse(&o, argc, argv);
	int status = parsed == OPTS_RUN ? run(&o) : parsed == OPTS_DONE ? EXIT_HOLDS : EXIT_USAGE;
	opts_free(&o);
	return status;
}
