#include "fake_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_load fake = { .capacity = 1e6, .driver_busy = 0.5 };

struct load {
	struct load_conf conf;
	uint64_t rate;
	bool log;
};

struct load *load_open(const struct load_conf *conf, char why[LOAD_WHY])
{
	struct load *l = calloc(1, sizeof(*l));
	if (fake.refuse || !l) {
		snprintf(why, LOAD_WHY, "%s", fake.refuse ? fake.refuse : "no memory");
		free(l);
		return NULL;
	}
	l->conf = *conf;
	l->rate = conf->rate;
	fake.opened++;
	return l;
}

bool load_run(struct load *l, unsigned warm_ms, unsigned ms, void (*mark)(void *arg, int end), void *arg,
	      struct load_result *r, char why[LOAD_WHY])
{
	static const uint32_t latency[5] = { 1000, 2000, 3000, 4000, 5000 };
	(void)warm_ms;
	memset(r, 0, sizeof(*r));
	fake.runs++;
	if (fake.break_path && strcmp(fake.break_path, l->conf.path[0]) == 0) {
		snprintf(why, LOAD_WHY, "broken on purpose");
		return false;
	}
	if (mark)
		mark(arg, 0);
	double offered = l->rate ? (double)l->rate : fake.capacity, got = offered < fake.capacity ? offered : fake.capacity;
	r->seconds = ms / 1e3;
	r->sent = (uint64_t)(offered * r->seconds);
	r->received = (uint64_t)(got * r->seconds);
	r->missing = r->sent - r->received;
	r->bytes = r->received * 64;
	r->driver_busy = fake.driver_busy;
	r->driver_cycles = 100;
	r->odd_headers = fake.odd_headers;
	if (l->conf.kind == LOAD_PING_PONG) {
		r->n_latency = 5;
		r->latency_ns = latency;
	}
	if (mark)
		mark(arg, 1);
	return true;
}

bool load_log(struct load *l, bool on, char why[LOAD_WHY])
{
	(void)why;
	l->log = on;
	return true;
}

void load_rate(struct load *l, uint64_t rate)
{
	l->rate = rate;
}

uint32_t load_probe(struct load *l, unsigned n)
{
	(void)l;
	(void)n;
	return 1000;
}

bool load_ack_latency(struct load *l, unsigned n, uint32_t *ns, char why[LOAD_WHY])
{
	(void)l;
	(void)why;
	for (unsigned i = 0; i < n; i++)
		ns[i] = 1000 * (i + 1);
	return true;
}

void load_close(struct load *l)
{
	fake.closed += l != NULL;
	free(l);
}
