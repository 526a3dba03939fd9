// Connecting, acknowledged messages, and stopping all rings.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/progress.h"
#include "bench/guest.h"
#include "bench/place.h"
#include "bench/rows.h"
#include "bench/stat.h"

#define ACKS 500
#define STOPS 40 // of all rings, in one sample
#define STOP_PAIRS 8
#define STOP_RINGS (2 * STOP_PAIRS)
#define HANDSHAKES_A_LIFE 3 // then the process is made anew

json_t *special_sample(const struct bench *b, const struct backend *be, unsigned pair, double line_before)
{
	double after = place_line_ns(b->opts->cpu[0], b->opts->cpu[1]);
	return json_pack("{s:s,s:i,s:s,s:[f,f]}", "backend", be->spec.name, "pair", (int)pair, "placement",
			 place_name(place_around(line_before, after, 0, 0)), "line_ns", line_before, after);
}

double special_line(const struct bench *b)
{
	return place_line_ns(b->opts->cpu[0], b->opts->cpu[1]);
}

bool special_start(struct bench *b, unsigned i, const struct need *n, json_t *into)
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
			on[i] = on[i] && special_start(b, i, &n, into);
			backend_pause(&b->backend[i], true);
		}
		for (unsigned i = 0; i < b->n; i++) {
			char why[LOAD_WHY] = "";
			double before = special_line(b);
			backend_pause(&b->backend[i], false);
			double ms = on[i] ? handshake(b->backend[i].sock[0], why, sizeof(why)) : -1;
			backend_pause(&b->backend[i], true);
			if (on[i] && ms < 0)
				row_cannot(into, &b->backend[i], why);
			on[i] = ms >= 0;
			if (!on[i])
				continue;
			json_t *j = special_sample(b, &b->backend[i], pair, before);
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
	double v[ACKS > STOPS * STOP_RINGS ? ACKS : STOPS * STOP_RINGS];
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
			double before = special_line(b);
			backend_pause(s[i].b, false);
			bool ok = load_ack_latency(s[i].load, ACKS, ns, s[i].cannot);
			backend_pause(s[i].b, true);
			if (!ok) {
				row_cannot(into, s[i].b, s[i].cannot);
				measure_close(&s[i]);
				continue;
			}
			json_t *j = special_sample(b, s[i].b, pair, before);
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

struct stops {
	uint32_t all_ns[STOPS], each_ns[STOPS * STOP_RINGS];
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// GET_VRING_BASE of all rings, as a migration's end sends them, and all of them started again.
static bool stop_once(struct fe *fe, struct stops *s, unsigned k)
{
	uint64_t first = now_ns();
	for (unsigned q = 0; q < fe->rings; q++) {
		uint64_t from = now_ns();
		if (fe_get_base(fe, q, &fe->ring[q].base) != FE_OK)
			return false;
		s->each_ns[k * STOP_RINGS + q] = (uint32_t)(now_ns() - from);
		fe->ring[q].running = false;
	}
	s->all_ns[k] = (uint32_t)(now_ns() - first);
	for (unsigned q = 0; q < fe->rings; q++)
		if (fe_ring_start(fe, q) != FE_OK)
			return false;
	return fe_barrier(fe) == FE_OK;
}

static bool stops(const char *path, struct stops *s, char *why, unsigned size)
{
	struct fe_conf conf = { .pairs = STOP_PAIRS, .ring_size = 64, .style = FE_QEMU10, .kick_count = 1, .mem = { .region_bytes = 8u << 20 } };
	struct fe *fe = fe_new(&conf);
	bool ok = fe && fe_connect(fe, path) && fe_negotiate(fe) == FE_OK;
	if (ok)
		fe_driver_reset(fe, 0);
	ok = ok && fe_start(fe) == FE_OK && fe_barrier(fe) == FE_OK;
	for (unsigned k = 0; k < STOPS && ok; k++)
		ok = stop_once(fe, s, k);
	if (!ok)
		snprintf(why, size, "stopping rings: %.150s", fe ? fe->err_text : "no memory");
	fe_free(fe);
	return ok;
}

void special_stop(struct bench *b, const struct row *r, json_t *into)
{
	static struct stops s;
	struct need n = { .ports = 1, .pairs = STOP_PAIRS };
	bool on[OPTS_BACKENDS];
	(void)r;
	for (unsigned i = 0; i < b->n; i++)
		on[i] = special_start(b, i, &n, into);
	for (unsigned pair = 0; pair < b->opts->trials && !rows_interrupted(); pair++)
		for (unsigned k = 0; k < b->n; k++) {
			unsigned i = pair % 2 ? b->n - 1 - k : k; // A B B A
			char why[LOAD_WHY] = "";
			if (!on[i])
				continue;
			double before = special_line(b);
			backend_pause(&b->backend[i], false);
			on[i] = stops(b->backend[i].sock[0], &s, why, sizeof(why));
			backend_pause(&b->backend[i], true);
			if (!on[i]) {
				row_cannot(into, &b->backend[i], why);
				continue;
			}
			json_t *j = special_sample(b, &b->backend[i], pair, before);
			json_object_set_new(j, "latency_us", percentiles(s.all_ns, STOPS));
			json_object_set_new(j, "each_us", percentiles(s.each_ns, STOPS * STOP_RINGS));
			json_array_append_new(json_object_get(into, "samples"), j);
		}
	for (unsigned i = 0; i < b->n; i++)
		backend_stop(&b->backend[i]);
}
