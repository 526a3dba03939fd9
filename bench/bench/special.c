// Connecting, acknowledged messages, and coming back after a kill.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "bench/guest.h"
#include "bench/place.h"
#include "bench/rows.h"
#include "bench/stat.h"

#define ACKS 500
#define HANDSHAKES_A_LIFE 3 // then the process is made anew

static json_t *sample(const struct bench *b, const struct backend *be, unsigned pair, double line_before)
{
	double after = place_line_ns(b->opts->cpu[0], b->opts->cpu[1]);
	return json_pack("{s:s,s:i,s:s,s:[f,f]}", "backend", be->spec.name, "pair", (int)pair, "placement",
			 place_name(place_around(line_before, after, 0, 0)), "line_ns", line_before, after);
}

static double line_now(const struct bench *b)
{
	return place_line_ns(b->opts->cpu[0], b->opts->cpu[1]);
}

static bool start(struct bench *b, unsigned i, const struct need *n, json_t *into)
{
	struct why why = { "" };
	if (backend_start(&b->backend[i], n, &why) == OK)
		return true;
	row_cannot(into, &b->backend[i], why.text);
	return false;
}

// Time of one connect, negotiation and start of two rings, in ms; < 0: why.
static double handshake(const char *path, char *why, unsigned size)
{
	struct guest g;
	uint64_t from = clock_boot_us();
	bool ok = guest_open(&g, path, 1, why, size);
	double ms = (double)(clock_boot_us() - from) / 1e3;
	guest_close(&g);
	return ok ? ms : -1;
}

void special_handshake(struct bench *b, const struct row *r, json_t *into)
{
	struct need n = { .ports = 2, .pairs = 1 };
	bool on[OPTS_BACKENDS];
	(void)r;
	for (unsigned i = 0; i < b->n; i++)
		on[i] = true;
	for (unsigned pair = 0; pair < b->opts->trials && !rows_interrupted(); pair++) {
		for (unsigned i = 0; i < b->n && pair % HANDSHAKES_A_LIFE == 0; i++) {
			on[i] = on[i] && start(b, i, &n, into);
			backend_pause(&b->backend[i], true);
		}
		for (unsigned i = 0; i < b->n; i++) {
			char why[LOAD_WHY] = "";
			double before = line_now(b);
			backend_pause(&b->backend[i], false);
			double ms = on[i] ? handshake(b->backend[i].sock[0], why, sizeof(why)) : -1;
			backend_pause(&b->backend[i], true);
			if (on[i] && ms < 0)
				row_cannot(into, &b->backend[i], why);
			on[i] = ms >= 0;
			if (!on[i])
				continue;
			json_t *j = sample(b, &b->backend[i], pair, before);
			json_object_set_new(j, "ms", json_real(ms));
			json_array_append_new(json_object_get(into, "samples"), j);
		}
	}
	for (unsigned i = 0; i < b->n; i++)
		backend_stop(&b->backend[i]);
}

static json_t *percentiles(const uint32_t *ns, unsigned n)
{
	static const struct {
		const char *name;
		double q;
	} want[] = { { "min", 0 }, { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1 } };
	double v[ACKS];
	for (unsigned i = 0; i < n; i++)
		v[i] = ns[i] / 1e3;
	json_t *j = json_pack("{s:i}", "n", (int)n);
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		json_object_set_new(j, want[i].name, json_real(stat_quantile(v, n, want[i].q)));
	return j;
}

void special_ack(struct bench *b, const struct row *r, json_t *into)
{
	struct subject s[OPTS_BACKENDS];
	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < b->n; i++) {
		s[i].b = &b->backend[i];
		if (!measure_open(&s[i], r, b->opts))
			row_cannot(into, s[i].b, s[i].cannot);
	}
	for (unsigned pair = 0; pair < b->opts->trials && !rows_interrupted(); pair++) {
		for (unsigned i = 0; i < b->n; i++) {
			uint32_t ns[ACKS];
			if (!s[i].load)
				continue;
			double before = line_now(b);
			backend_pause(s[i].b, false);
			bool ok = load_ack_latency(s[i].load, ACKS, ns, s[i].cannot);
			backend_pause(s[i].b, true);
			if (!ok) {
				row_cannot(into, s[i].b, s[i].cannot);
				measure_close(&s[i]);
				continue;
			}
			json_t *j = sample(b, s[i].b, pair, before);
			json_object_set_new(j, "latency_us", percentiles(ns, ACKS));
			json_array_append_new(json_object_get(into, "samples"), j);
		}
	}
	for (unsigned i = 0; i < b->n; i++)
		if (s[i].load)
			measure_close(&s[i]);
		else
			backend_stop(s[i].b);
}

// Two guests that talk; the back end is killed and started again; ms from the kill to the first frame. < 0: why.
static double kill_once(struct backend *be, const struct need *n, struct guest g[2], double *listening, char *why,
			unsigned size)
{
	struct why w = { "" };
	if (!guest_reaches(&g[0], &g[1], 2000)) {
		snprintf(why, size, "no frame came through before the kill");
		return -1;
	}
	uint64_t from = clock_boot_us();
	if (backend_kill_again(be, n, &w) != OK) {
		snprintf(why, size, "%.190s", w.text);
		return -1;
	}
	*listening = (double)(clock_boot_us() - from) / 1e3;
	for (unsigned k = 0; k < 2; k++)
		if (!guest_again(&g[k], be->sock[k], why, size))
			return -1;
	if (!guest_reaches(&g[0], &g[1], 10000)) {
		snprintf(why, size, "no frame came through within 10 s after the kill");
		return -1;
	}
	return (double)(clock_boot_us() - from) / 1e3;
}

static void recover(struct bench *b, struct backend *be, json_t *into)
{
	struct need n = { .ports = 2, .pairs = 1 };
	struct guest g[2];
	char why[LOAD_WHY] = "";
	memset(g, 0, sizeof(g));
	bool ok = guest_open(&g[0], be->sock[0], 1, why, sizeof(why)) && guest_open(&g[1], be->sock[1], 2, why, sizeof(why));
	for (unsigned pair = 0; ok && pair < b->opts->trials && !rows_interrupted(); pair++) {
		double line = line_now(b), listening = 0, ms = kill_once(be, &n, g, &listening, why, sizeof(why));
		ok = ms >= 0;
		if (!ok)
			break;
		json_t *j = sample(b, be, pair, line);
		json_object_set_new(j, "ms", json_real(ms));
		json_object_set_new(j, "listening_ms", json_real(listening));
		json_array_append_new(json_object_get(into, "samples"), j);
	}
	if (!ok)
		row_cannot(into, be, why);
	guest_close(&g[0]);
	guest_close(&g[1]);
}

void special_recovery(struct bench *b, const struct row *r, json_t *into)
{
	struct need n = { .ports = 2, .pairs = 1 };
	(void)r;
	for (unsigned i = 0; i < b->n && !rows_interrupted(); i++) {
		if (start(b, i, &n, into))
			recover(b, &b->backend[i], into);
		backend_stop(&b->backend[i]);
	}
}
