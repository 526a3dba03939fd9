// What is known and counted, for the control thread: addresses, held frames, counters.
#include <string.h>

#include "base/clock.h"
#include "base/cycles.h"
#include "switch/dp_int.h"

const char *dp_drop_name(enum dp_drop d)
{
	static const char *const names[DP_DROP_N] = {
		[DP_DROP_RUNT] = "runt", [DP_DROP_HEADER] = "header", [DP_DROP_DESC] = "descriptor", [DP_DROP_SOURCE] = "source",
		[DP_DROP_SELF] = "self", [DP_DROP_GROUP] = "group", [DP_DROP_NO_PORT] = "no_port", [DP_DROP_STOPPED] = "stopped",
		[DP_DROP_HOLD_FULL] = "hold_full", [DP_DROP_HOLD_OLD] = "hold_old", [DP_DROP_HOLD_BACK] = "hold_back",
		[DP_DROP_FULL] = "full", [DP_DROP_TOO_BIG] = "too_big", [DP_DROP_FLOOD_RATE] = "flood_rate",
		[DP_DROP_RATE] = "rate", [DP_DROP_DISABLED] = "disabled", [DP_DROP_TAP] = "tap",
	};
	return (unsigned)d < DP_DROP_N ? names[d] : "?";
}

static uint64_t load(const uint64_t *c)
{
	return atomic_load_explicit((const _Atomic uint64_t *)c, memory_order_relaxed);
}

void dp_port_stats(const struct dp_port *port, struct dp_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned t = 0; t < DP_MAX_THREADS; t++) { // earlier processes may have had more threads
		const struct dp_ctr *c = &port->count->thread[t];
		for (unsigned i = 0; i < DP_MAX_PAIRS; i++) {
			out->queue[i].in_frames += load(&c->queue[i].in_frames);
			out->queue[i].in_bytes += load(&c->queue[i].in_bytes);
			out->queue[i].out_frames += load(&c->queue[i].out_frames);
			out->queue[i].out_bytes += load(&c->queue[i].out_bytes);
		}
		for (unsigned d = 0; d < DP_DROP_N; d++) {
			out->drops_in[d] += load(&c->drops_in[d]);
			out->drops_out[d] += load(&c->drops_out[d]);
		}
		out->flooded += load(&c->flooded);
		out->gso_in += load(&c->gso_in);
		out->gso_out += load(&c->gso_out);
		out->gso_cut += load(&c->gso_cut);
		out->gso_parts += load(&c->gso_parts);
	}
	for (unsigned i = 0; i < DP_MAX_PAIRS; i++) {
		out->total.in_frames += out->queue[i].in_frames;
		out->total.in_bytes += out->queue[i].in_bytes;
		out->total.out_frames += out->queue[i].out_frames;
		out->total.out_bytes += out->queue[i].out_bytes;
	}
	out->drops_out[DP_DROP_HOLD_OLD] += port->count->expired;
	out->held = atomic_load(&port->hold.counts->total);
	out->hold_delivered = atomic_load(&port->hold.counts->delivered);
	out->hold_dropped = atomic_load(&port->hold.counts->dropped);
	for (unsigned q = 0; q < DP_RINGS; q++) {
		out->kicks += atomic_load(&port->count->ring[q].n.kicks);
		out->calls += atomic_load(&port->count->ring[q].n.calls);
	}
}

unsigned dp_thread_stats(const struct dp *dp, struct dp_thread_stats *out, unsigned max)
{
	unsigned n = dp->n_workers < max ? dp->n_workers : max;
	uint64_t us = clock_boot_us() - dp->start_us, cycles = cycles_now() - dp->start_cycles;
	double us_per_cycle = cycles ? (double)us / (double)cycles : 0;
	for (unsigned i = 0; i < n; i++) {
		const struct worker *w = dp->worker[i];
		out[i] = (struct dp_thread_stats){ .turns = atomic_load(&w->flight->beat), .wakeups = atomic_load(&w->wakeups),
						   .busy_cycles = atomic_load(&w->busy_cycles), .tid = atomic_load(&w->tid) };
		out[i].busy_us = (uint64_t)((double)out[i].busy_cycles * us_per_cycle);
	}
	return n;
}
