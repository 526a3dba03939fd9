// What silent guests cost: CPU time, context switches and memory of the back end, with 1 to 256 ports connected and running.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/progress.h"
#include "bench/guest.h"
#include "bench/rows.h"
#include "bench/usage.h"

#define SETTLE_MS 1500 // what a start leaves to do later is done

static void nap(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	nanosleep(&t, NULL);
}

static json_t *look(struct backend *be, unsigned ports, double seconds)
{
	nap(SETTLE_MS / 1e3);
	struct usage a = usage_of(be->pid);
	nap(seconds);
	struct usage z = usage_of(be->pid);
	return json_pack("{s:s,s:i,s:f,s:I,s:I,s:I}", "backend", be->spec.name, "ports", (int)ports, "seconds", seconds,
			 "cpu_us", (json_int_t)((z.cpu_ns - a.cpu_ns) / 1000), "switches",
			 (json_int_t)(z.switches - a.switches), "anon_kb", (json_int_t)z.anon_kb);
}

static bool ports_idle(struct bench *b, struct backend *be, unsigned ports, json_t *into)
{
	struct need n = { .ports = ports, .pairs = 1 };
	struct why why = { "" };
	char text[LOAD_WHY] = "";
	struct guest *g = calloc(ports, sizeof(*g));
	bool ok = g && backend_start(be, &n, &why) == OK;
	if (!ok)
		snprintf(text, sizeof(text), "%.180s", g ? why.text : "no memory");
	for (unsigned i = 0; ok && i < ports; i++)
		ok = guest_open(&g[i], be->sock[i], i + 1, text, sizeof(text));
	if (ok)
		json_array_append_new(json_object_get(into, "samples"),
				      look(be, ports, b->opts->duration < 2 ? 2 : b->opts->duration));
	else
		progress("  %s with %u ports: %s", be->spec.name, ports, text);
	for (unsigned i = 0; g && i < ports; i++)
		guest_close(&g[i]);
	free(g);
	backend_stop(be);
	return ok;
}

void special_idle(struct bench *b, const struct row *r, json_t *into)
{
	static const unsigned counts[] = { 1, 2, 16, 64, 256 };
	struct rlimit lim;
	(void)r;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) { // each guest has about 10 descriptors here
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	for (unsigned i = 0; i < b->n; i++)
		for (unsigned k = 0; k < sizeof(counts) / sizeof(counts[0]) && !rows_interrupted(); k++)
			ports_idle(b, &b->backend[i], counts[k], into);
}
