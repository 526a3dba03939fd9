// The highest rate that a back end takes with a given loss: a binary search, a few times each.
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "bench/place.h"
#include "bench/rows.h"

#define STEPS 9
#define SLACK 0.01 // received this much less than offered counts as kept up: the edges of a stretch

// Does it take this rate?
static bool keeps_up(struct subject *s, const struct row *r, const struct opts *o, double rate, bool *failed)
{
	struct load_result res = { 0 };
	load_rate(s->load, (uint64_t)rate);
	if (!load_run(s->load, 30, (unsigned)(o->duration * 500), NULL, NULL, &res, s->cannot)) {
		*failed = true;
		return false;
	}
	double loss = (double)res.missing / (double)(res.received + res.missing + 1) * 100;
	return loss <= r->loss && (double)res.received / res.seconds >= rate * (1 - r->loss / 100 - SLACK);
}

// Frames a second; < 0: s->cannot.
static double search(struct subject *s, const struct row *r, const struct opts *o)
{
	struct load_result res = { 0 };
	bool failed = false;
	load_rate(s->load, 0);
	if (!load_run(s->load, 50, (unsigned)(o->duration * 500), NULL, NULL, &res, s->cannot))
		return -1;
	double low = 0, high = (double)res.received / res.seconds * 1.2;
	for (unsigned i = 0; i < STEPS && !failed && !rows_interrupted(); i++) {
		double middle = i == 0 ? high / 1.2 : (low + high) / 2; // the unpaced rate first
		if (keeps_up(s, r, o, middle, &failed))
			low = middle;
		else
			high = middle;
	}
	return failed ? -1 : low;
}

void search_run(struct bench *b, const struct row *r, json_t *into)
{
	struct subject s[OPTS_BACKENDS];
	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < b->n; i++) {
		s[i].b = &b->backend[i];
		if (!measure_open(&s[i], r, b->opts)) {
			row_cannot(into, s[i].b, s[i].cannot);
			backend_stop(s[i].b);
		}
	}
	for (unsigned pair = 0; pair < b->opts->trials && pair < 5 && !rows_interrupted(); pair++) {
		for (unsigned i = 0; i < b->n; i++) {
			if (!s[i].load)
				continue;
			double line[2] = { place_line_ns(b->opts->cpu[0], b->opts->cpu[1]), 0 };
			backend_pause(s[i].b, false);
			double found = search(&s[i], r, b->opts);
			backend_pause(s[i].b, true);
			line[1] = place_line_ns(b->opts->cpu[0], b->opts->cpu[1]);
			if (found < 0) {
				row_cannot(into, s[i].b, s[i].cannot);
				measure_close(&s[i]);
				continue;
			}
			json_array_append_new(json_object_get(into, "samples"),
					      json_pack("{s:s,s:i,s:s,s:[f,f],s:f}", "backend", s[i].b->spec.name, "pair",
							(int)pair, "placement",
							place_name(place_around(line[0], line[1], 0, 0)), "line_ns", line[0],
							line[1], "found", found));
		}
	}
	for (unsigned i = 0; i < b->n; i++)
		if (s[i].load)
			measure_close(&s[i]);
}
