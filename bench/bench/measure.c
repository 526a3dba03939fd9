#include "bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "bench/place.h"
#include "bench/stat.h"
#include "bench/usage.h"
#include "bench/vuser.h"

#define WARM_MS 60
#define SLICE_MS 250 // between slices a single frame goes round: the placement within a stretch
#define PROBES 15
#define SLICES 16
#define DISTURBED 0.06 // share of a stretch in which others had the CPU of the driver, or that of the back end

struct need measure_need(const struct row *r)
{
	struct need n = { .ports = 2,
			  .pairs = r->load.pairs ? r->load.pairs : 1,
			  .packed = r->load.packed,
			  .gso = r->load.gso,
			  .max_frame = row_max_frame(r) };
	if (r->load.kind == LOAD_SINK || r->load.kind == LOAD_LOOP) {
		n.ports = 1;
		n.sink = r->load.kind == LOAD_SINK;
		n.loop = r->load.kind == LOAD_LOOP;
	}
	return n;
}

static void pause_both(struct subject *s, bool stop)
{
	backend_pause(s->b, stop);
	if (s->vuser)
		child_pause(&s->vuser->child, stop);
}

bool measure_open(struct subject *s, const struct row *r, const struct opts *o)
{
	struct need n = measure_need(r);
	struct why why = { "" };
	s->load = NULL;
	s->vuser = NULL;
	s->cannot[0] = '\0';
	if (backend_start(s->b, &n, &why) != OK) {
		snprintf(s->cannot, sizeof(s->cannot), "%.190s", why.text[0] ? why.text : "it did not start");
		return false;
	}
	if (o->driver_testpmd) {
		bool ok = vuser_open(&s->vuser, r, o, s->b->huge, s->b->sock, &why) == OK;
		if (!ok)
			snprintf(s->cannot, sizeof(s->cannot), "%.190s", why.text);
		pause_both(s, true);
		return ok;
	}
	struct load_conf c = r->load;
	c.path[0] = s->b->sock[0];
	c.path[1] = n.ports > 1 ? s->b->sock[1] : NULL;
	c.seed = o->seed;
	c.cpu = o->cpu[0];
	s->load = load_open(&c, s->cannot);
	if (!s->load && c.huge && strstr(s->cannot, "huge pages")) { // somebody else took them; told in the samples
		c.huge = false;
		s->load = load_open(&c, s->cannot);
	}
	s->huge = c.huge;
	backend_pause(s->b, true);
	return s->load != NULL;
}

bool measure_is_open(const struct subject *s)
{
	return s->load || s->vuser;
}

void measure_close(struct subject *s)
{
	backend_pause(s->b, false); // it must answer the last messages
	load_close(s->load);
	vuser_close(s->vuser);
	s->load = NULL;
	s->vuser = NULL;
	backend_stop(s->b);
}

struct edges {
	struct backend *b;
	uint64_t cpu_ns, wait_ns;
	uint64_t own_wait_ns, own_from, stolen_ns, stolen_from; // of the driver, and by the host
	double cycles;
	uint64_t taken, given;
	uint64_t anon_kb;
	bool valid;
};

static void on_mark(void *arg, int end)
{
	struct edges *e = arg;
	if (!end) {
		e->own_from = usage_own().wait_ns;
		e->stolen_from = usage_stolen_ns(e->b->opts->cpu, e->b->opts->n_cpus);
	}
	backend_mark(e->b, end);
	if (!end)
		return;
	e->own_wait_ns += usage_own().wait_ns - e->own_from;
	e->stolen_ns += usage_stolen_ns(e->b->opts->cpu, e->b->opts->n_cpus) - e->stolen_from;
	e->wait_ns += e->b->now.wait_ns;
	e->cpu_ns += e->b->now.cpu_ns;
	e->cycles += e->b->now.cycles;
	e->taken += e->b->now.taken;
	e->given += e->b->now.given;
	e->anon_kb = e->b->now.anon_kb;
	e->valid &= e->b->now.valid;
}

static void add_result(struct load_result *sum, const struct load_result *r)
{
	double w = sum->received + r->received ? (double)r->received / (double)(sum->received + r->received) : 0;
	double t = sum->seconds + r->seconds > 0 ? r->seconds / (sum->seconds + r->seconds) : 0;
	sum->sent += r->sent;
	sum->received += r->received;
	sum->bytes += r->bytes;
	sum->missing += r->missing;
	sum->corrupt += r->corrupt;
	sum->foreign += r->foreign;
	sum->odd_headers += r->odd_headers;
	sum->seconds += r->seconds;
	sum->driver_cycles += w * (r->driver_cycles - sum->driver_cycles);
	sum->driver_busy += t * (r->driver_busy - sum->driver_busy);
	sum->batch_tx += t * (r->batch_tx - sum->batch_tx);
	sum->batch_rx += t * (r->batch_rx - sum->batch_rx);
	sum->pages_harvested += r->pages_harvested;
	sum->features = r->features;
}

// Percentiles in microseconds; all values are too many for a file.
static json_t *latency_json(const struct load_result *r)
{
	static const struct {
		const char *name;
		double q;
	} want[] = { { "min", 0 },    { "p10", 0.1 },    { "p50", 0.5 }, { "p90", 0.9 },
		     { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1 } };
	double *v = r->n_latency ? malloc(r->n_latency * sizeof(*v)) : NULL;
	if (!v)
		return json_null();
	for (uint32_t i = 0; i < r->n_latency; i++)
		v[i] = r->latency_ns[i] / 1e3;
	json_t *j = json_pack("{s:I}", "n", (json_int_t)r->n_latency);
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		json_object_set_new(j, want[i].name, json_real(stat_quantile(v, r->n_latency, want[i].q)));
	free(v);
	return j;
}

static json_t *per_frame(bool known, double what, uint64_t frames)
{
	return known && frames ? json_real(what / (double)frames) : json_null();
}

struct probes {
	double line[2], trip[SLICES + 1];
	unsigned n_trips;
};

static json_t *sample_json(const struct subject *s, const struct load_result *r, const struct counters *c,
			   const struct probes *p, double lost, int log)
{
	double low = 0, high = 0;
	json_t *trips = json_array();
	for (unsigned i = 0; i < p->n_trips; i++) {
		json_array_append_new(trips, json_real(p->trip[i]));
		low = i == 0 || p->trip[i] < low ? p->trip[i] : low;
		high = p->trip[i] > high ? p->trip[i] : high;
	}
	char name[40], features[20];
	snprintf(name, sizeof(name), "%s%s", s->b->spec.name, log == 1 ? "+log" : "");
	snprintf(features, sizeof(features), "0x%llx", (unsigned long long)r->features);
	bool cpu_known = s->b->pid != 0;
	enum place place = lost > DISTURBED ? PLACE_MIXED : place_around(p->line[0], p->line[1], low, high);
	json_t *j = json_pack("{s:s,s:s,s:[f,f],s:o,s:f,s:I,s:I,s:I}", "backend", name, "placement", place_name(place),
			      "line_ns", p->line[0], p->line[1], "trip_ns", trips, "seconds", r->seconds, "sent",
			      (json_int_t)r->sent, "received", (json_int_t)r->received, "bytes", (json_int_t)r->bytes);
	json_object_set_new(j, "rate", json_real(r->seconds > 0 ? (double)r->received / r->seconds : 0));
	json_object_set_new(j, "cycles", per_frame(c->valid, c->cycles, r->received));
	json_object_set_new(j, "cpu_cycles",
			    per_frame(cpu_known, (double)c->cpu_ns * machine_cycle_hz() / 1e9, r->received));
	json_object_set_new(j, "cpu_share",
			    cpu_known && r->seconds > 0 ? json_real((double)c->cpu_ns / 1e9 / r->seconds) : json_null());
	json_object_set_new(j, "counted_in", json_integer((json_int_t)c->taken));
	json_object_set_new(j, "counted_out", json_integer((json_int_t)c->given));
	json_object_set_new(j, "lost_share", json_real(lost));
	json_object_set_new(j, "driver_cycles", json_real(r->driver_cycles));
	json_object_set_new(j, "driver_busy", json_real(r->driver_busy));
	json_object_set_new(j, "batch_tx", json_real(r->batch_tx));
	json_object_set_new(j, "batch_rx", json_real(r->batch_rx));
	json_object_set_new(j, "missing", json_integer((json_int_t)r->missing));
	json_object_set_new(j, "corrupt", json_integer((json_int_t)r->corrupt));
	json_object_set_new(j, "foreign", json_integer((json_int_t)r->foreign));
	json_object_set_new(j, "odd_headers", json_integer((json_int_t)r->odd_headers));
	json_object_set_new(j, "pages_harvested", json_integer((json_int_t)r->pages_harvested));
	json_object_set_new(j, "features", json_string(features));
	json_object_set_new(j, "huge", json_boolean(s->huge));
	if (r->n_latency)
		json_object_set_new(j, "latency_us", latency_json(r));
	return j;
}

static bool fail(struct subject *s, const char *what)
{
	char line[120];
	if (!backend_alive(s->b))
		snprintf(s->cannot, sizeof(s->cannot), "it ended: %s", backend_said(s->b, line, sizeof(line)));
	else if (what)
		snprintf(s->cannot, sizeof(s->cannot), "%s", what);
	return false;
}

static bool run_slices(struct subject *s, const struct row *r, unsigned ms, struct load_result *sum, struct edges *e,
		       struct probes *p)
{
	unsigned slices = r->way == ROW_LATENCY || ms < 2 * SLICE_MS ? 1 : ms / SLICE_MS;
	if (slices > SLICES)
		slices = SLICES;
	for (unsigned i = 0; i < slices; i++) {
		struct load_result one = { 0 };
		if (!load_run(s->load, 0, ms / slices, on_mark, e, &one, s->cannot))
			return fail(s, NULL);
		add_result(sum, &one);
		sum->n_latency = one.n_latency;
		sum->latency_ns = one.latency_ns;
		if (r->way != ROW_LATENCY) // which needs its samples until they are in the file
			p->trip[p->n_trips++] = load_probe(s->load, PROBES);
	}
	return true;
}

// A closed loop knows no limit but itself: its rate is never compared. What a back end counts between the marks is divided
// by what came out of it there; what it counts from start to stop, by all.
static bool run_vuser(struct subject *s, unsigned ms, struct load_result *sum, struct edges *e, double *part)
{
	struct vuser_result v = { 0 };
	if (!vuser_run(s->vuser, ms, on_mark, e, &v))
		return fail(s, "DPDK's driver does not obey");
	*part = v.all_seconds > 0 ? v.seconds / v.all_seconds : 0;
	sum->received = e->given ? e->given : (uint64_t)(v.received * *part);
	sum->seconds = v.seconds;
	sum->driver_cycles = v.driver_cycles;
	sum->driver_busy = 1;
	return sum->received || fail(s, "no frame came back to DPDK's driver");
}

static bool run_load(struct subject *s, const struct row *r, unsigned ms, int log, struct load_result *sum, struct edges *e,
		     struct probes *p)
{
	struct load_result warm;
	if ((log >= 0 && !load_log(s->load, log == 1, s->cannot)) ||
	    !load_run(s->load, 0, WARM_MS, NULL, NULL, &warm, s->cannot))
		return fail(s, NULL);
	if (r->way != ROW_LATENCY)
		p->trip[p->n_trips++] = load_probe(s->load, PROBES);
	return (backend_begin(s->b) || fail(s, "its counters could not be started")) && run_slices(s, r, ms, sum, e, p);
}

json_t *measure_stretch(struct subject *s, const struct row *r, const struct opts *o, double seconds, int log)
{
	struct load_result sum = { 0 };
	struct edges e = { .b = s->b, .valid = true };
	struct probes p = { .n_trips = 0 };
	struct counters c;
	double part = 1;
	p.line[0] = place_line_ns(o->cpu[0], o->cpu[1]);
	pause_both(s, false);
	unsigned ms = (unsigned)(seconds * 1000);
	bool ok = s->vuser ? (backend_begin(s->b) || fail(s, "its counters could not be started")) &&
				     run_vuser(s, ms, &sum, &e, &part)
			   : run_load(s, r, ms, log, &sum, &e, &p);
	ok = ok && (backend_end(s->b, &c) || fail(s, "its counters could not be read"));
	pause_both(s, true);
	if (!ok)
		return NULL;
	p.line[1] = place_line_ns(o->cpu[0], o->cpu[1]);
	if (!s->b->ops->end) { // told at the marks of each slice
		c.valid = e.valid;
		c.cycles = e.cycles;
		c.taken = e.taken;
		c.given = e.given;
	} else {
		c.cycles *= part;
	}
	c.cpu_ns = e.cpu_ns;
	c.anon_kb = e.anon_kb;
	s->rate = sum.seconds > 0 ? (double)sum.received / sum.seconds : 0;
	// a driver that sleeps waits for its CPU at each wake-up, and so does a back end: that is what is measured there
	uint64_t waits = r->load.wait == LOAD_SLEEP ? 0 : e.wait_ns > e.own_wait_ns ? e.wait_ns : e.own_wait_ns;
	double lost = sum.seconds > 0 ? (double)(waits + e.stolen_ns) / 1e9 / sum.seconds : 0;
	return sample_json(s, &sum, &c, &p, lost, log);
}
