// vringbench: vhost-user back ends side by side.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "bench/compare.h"
#include "bench/html.h"
#include "bench/judge.h"
#include "bench/opts.h"
#include "bench/plan.h"
#include "bench/prio.h"
#include "bench/record.h"
#include "bench/rows.h"
#include "bench/table.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANNOT = 3 };
#define GUESTS_MIB 120u // the guests of one back end, at most

static bool any_samples(const json_t *record)
{
	const json_t *row;
	size_t i;
	json_array_foreach(json_object_get(record, "rows"), i, row)
		if (json_array_size(json_object_get(row, "samples")))
			return true;
	return false;
}

static int write_all(const struct opts *o, const json_t *record)
{
	struct why why;
	int status = EXIT_DONE;
	if (o->out[0] && record_write(record, o->out, &why) != OK) {
		complain("%s", why.text);
		status = EXIT_FAILED;
	}
	if (o->report[0] && html_write(record, o->report, &why) != OK) {
		complain("%s", why.text);
		status = EXIT_FAILED;
	}
	return status;
}

static void measure_all(struct bench *b, json_t *record)
{
	for (unsigned i = 0; i < b->plan->n && !rows_interrupted(); i++) {
		const struct row *r = &b->plan->row[i];
		progress("%u/%u %s", i + 1, b->plan->n, r->name);
		json_t *row = record_row(record, r);
		rows_run(b, r, row);
		judge_row(row, b->opts->seed);
		table_brief(row);
		record_backends(record, b);
		write_all(b->opts, record); // a run that is broken off has what it has
	}
}

// Huge pages for all, which are there at the same time, or for none.
static bool huge_for_all(const struct opts *o)
{
	unsigned mib = 0;
	for (unsigned i = 0; i < o->n_backends; i++) {
		enum backend_kind k = o->backend[i].kind;
		mib += k == BACKEND_TESTPMD ? BACKEND_TESTPMD_MIB : k == BACKEND_OVS ? BACKEND_OVS_MIB : 0;
		mib += o->driver_testpmd ? BACKEND_TESTPMD_MIB : GUESTS_MIB;
	}
	return backend_hugepages(mib);
}

static int run(const struct opts *o)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct plan *plan = calloc(1, sizeof(*plan));
	struct why why = { "no memory" };
	int status = EXIT_CANNOT;
	if (!b || !plan)
		goto out;
	b->opts = o;
	b->plan = plan;
	if (!plan_make(plan, o)) {
		status = EXIT_USAGE;
		goto out;
	}
	bool huge = huge_for_all(o);
	for (unsigned i = 0; i < plan->n; i++)
		plan->row[i].load.huge = huge;
	// who else runs here takes little of the two CPUs then; without the right to it, such stretches are left out
	bool first = prio_raise();
	progress("guest memory on %s pages; %s priority", huge ? "huge" : "small", first ? "highest" : "usual");
	for (; b->n < o->n_backends; b->n++)
		if (backend_init(&b->backend[b->n], &o->backend[b->n], o, &why) != OK) {
			complain("%s", why.text);
			goto out;
		} else {
			b->backend[b->n].huge = huge;
		}
	json_t *record = record_new(b);
	measure_all(b, record);
	table_print(stdout, record);
	status = write_all(o, record);
	if (rows_interrupted())
		status = EXIT_FAILED;
	else if (!any_samples(record))
		status = EXIT_CANNOT;
	json_decref(record);
out:
	prio_lower();
	for (unsigned i = 0; b && i < b->n; i++)
		backend_fini(&b->backend[i]);
	free(plan);
	free(b);
	return status;
}

static int compare(const struct opts *o)
{
	json_t *old = NULL, *new = NULL;
	struct why why;
	enum err e = record_read(&old, o->file[0], &why);
	if (e == OK)
		e = record_read(&new, o->file[1], &why);
	int status = EXIT_USAGE;
	if (e != OK) {
		complain("%s", why.text);
	} else {
		int worse = compare_print(stdout, old, new);
		status = worse < 0 ? EXIT_CANNOT : worse ? EXIT_FAILED : EXIT_DONE;
	}
	json_decref(old);
	json_decref(new);
	return status;
}

static int rerun(struct opts *o)
{
	json_t *record = NULL;
	struct why why;
	enum err e = record_read(&record, o->file[0], &why);
	if (e == OK)
		e = opts_from_json(o, json_object_get(record, "options"), &why);
	if (e == OK)
		o->seed = strtoull(table_text(record, "seed"), NULL, 10);
	json_decref(record);
	if (e == OK)
		return run(o);
	complain("%s", why.text);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static struct opts o;
	enum opts_result parsed = opts_parse(&o, argc, argv);
	if (parsed != OPTS_OK)
		return parsed == OPTS_DONE ? EXIT_DONE : EXIT_USAGE;
	rows_catch_interrupts();
	switch (o.verb) {
	case VERB_COMPARE:
		return compare(&o);
	case VERB_RERUN:
		return rerun(&o);
	default:
		return run(&o);
	}
}
