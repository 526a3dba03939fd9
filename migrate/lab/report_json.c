#include <inttypes.h>
#include <string.h>

#include "lab/report.h"
#include "lab/verdict.h"

static json_t *direction_json(const struct direction *d)
{
	const struct tally_counts *c = &d->got;
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "sent", (json_int_t)d->sent, "refused", (json_int_t)d->refused,
		"received", (json_int_t)c->received, "unique", (json_int_t)c->unique, "missing", (json_int_t)d->missing, "repeated",
		(json_int_t)c->repeated, "reordered", (json_int_t)c->reordered, "corrupt", (json_int_t)(c->corrupt + d->csum_errors),
		"own_drops", (json_int_t)d->own_drops, "longest_gap_us", (json_int_t)c->gap_us, "gap_end_us", (json_int_t)d->gap_end_us,
		"second_gap_us", (json_int_t)c->second_us, "holes", d->holes);
}

static json_t *stretch_json(const struct stretch *s)
{
	return json_pack("{s:I,s:I,s:o,s:o,s:I,s:I,s:I,s:b}", "start_us", (json_int_t)s->start_us, "end_us",
		(json_int_t)s->end_us, "to_peer", direction_json(&s->to_peer), "to_mover", direction_json(&s->to_mover),
		"mover_stall_us", (json_int_t)s->mover_stall_us, "mover_gap_us", (json_int_t)mover_gap_us(s), "carrier_changes", (json_int_t)s->carrier_changes,
		"rebooted", (int)s->rebooted);
}

static json_t *time_json(uint64_t us)
{
	return us ? json_integer((json_int_t)us) : json_null();
}

static json_t *record_json(json_t *record)
{
	return record ? json_incref(record) : json_null();
}

const char *kill_when_name(enum kill_when w)
{
	static const char *const names[] = { [KILL_TRAFFIC] = "traffic", [KILL_LOGGING] = "logging", [KILL_STOPPING] = "stopping",
					     [KILL_BETWEEN] = "between" };
	return names[w];
}

static json_t *kills_json(const struct round *n)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < n->n_kills; i++) {
		const struct kill *d = &n->kill[i];
		json_t *k = json_pack("{s:i,s:s,s:s,s:I,s:b,s:s}", "kill", (int)d->number, "signal", sigabbrev_np(d->signal), "when",
			kill_when_name(d->when), "at_us", (json_int_t)d->at_us, "connection_lost", d->lost[0] || d->lost[1], "failure", d->failure);
		json_object_set_new(k, "pid", time_json((uint64_t)d->pid));
		json_object_set_new(k, "next_pid", time_json((uint64_t)d->next));
		json_object_set_new(k, "serving_us", time_json(d->serving_us));
		json_object_set_new(k, "gap_us", time_json(d->gap_us));
		json_object_set_new(k, "gap_end_us", time_json(d->gap_end_us));
		json_array_append_new(list, k);
	}
	return list;
}

static const char *const kinds[] = { [ROUND_MIGRATE] = "migrate", [ROUND_CANCEL] = "cancel", [ROUND_CRASH] = "crash" };

static json_t *round_json(const struct results *r, const struct round *n)
{
	json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:b,s:s,s:f,s:f,s:f,s:f,s:o}", "round", (int)n->number, "kind",
		kinds[n->kind], "from", n->from, "to", n->to, "completed", (int)!n->failure[0], "failure",
		n->failure, "downtime_ms", n->downtime_ms, "setup_ms", n->setup_ms, "total_ms", n->total_ms, "transferred_mb", n->transferred_mb, "traffic",
		stretch_json(&n->stretch));
	json_object_set_new(o, "begin_us", time_json(n->begin_us));
	json_object_set_new(o, "stop_us", time_json(n->stop_us));
	json_object_set_new(o, "resume_us", time_json(n->resume_us));
	json_object_set_new(o, "completed_us", time_json(n->completed_us));
	json_object_set_new(o, "gap_limit_us", json_integer((json_int_t)gap_limit_us(r, n)));
	json_object_set_new(o, "comparison_us", time_json(n->pause_us));
	json_object_set_new(o, "pages", n->compared ? json_integer((json_int_t)n->pages) : json_null());
	json_object_set_new(o, "pages_differ", n->compared ? json_integer((json_int_t)n->pages_differ) : json_null());
	json_object_set_new(o, "pages_differ_at", json_string(n->differ));
	json_object_set_new(o, "source", record_json(n->source));
	json_object_set_new(o, "destination", record_json(n->destination));
	json_object_set_new(o, "bridge_before", json_string(n->bridge_before));
	json_object_set_new(o, "bridge_after", json_string(n->bridge_after));
	json_object_set_new(o, "bridge_moved_us", time_json(n->bridge_moved_us));
	json_object_set_new(o, "kills", kills_json(n));
	return o;
}

static json_t *verdicts_json(const struct results *r, bool *all)
{
	json_t *list = json_array();
	*all = true;
	for (unsigned i = 0; i < r->n_verdicts; i++) {
		const struct verdict *v = &r->verdict[i];
		const char *state = v->state == VERDICT_OK ? "ok" : v->state == VERDICT_FAILED ? "failed" : "info";
		*all = *all && v->state != VERDICT_FAILED;
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "name", v->name, "measured", v->measured, "limit", v->limit, "state", state));
	}
	return list;
}

json_t *report_json(const struct results *r)
{
	const struct opts *o = r->opts;
	bool all;
	json_t *verdicts = verdicts_json(r, &all), *rounds = json_array();
	for (unsigned i = 0; i < r->n_rounds; i++)
		json_array_append_new(rounds, round_json(r, &r->round[i]));
	json_t *set = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:s,s:b,s:b,s:b,s:b}", "qemu_src", r->assets->src.version, "qemu_dst",
		r->assets->dst.version, "kernel", r->assets->kernel, "accel", r->kvm ? "kvm" : "tcg", "rounds", (int)o->rounds, "rate",
		(int)o->rate, "size", (int)o->size, "queues", (int)o->queues, "memory_bytes", (json_int_t)o->memory_bytes, "announce",
		o->announce_by_switch ? "switch" : "guest", "one_path", (int)o->one_path, "two_daemons", (int)o->two_daemons, "verify_ram",
		(int)o->verify_ram, "packed", (int)o->packed);
	json_t *j = json_pack("{s:i,s:s,s:b,s:s,s:s,s:o,s:o,s:o,s:o}", "api", 1, "version", VRINGD_VERSION, "holds", (int)all, "failure",
		r->failure, "backend", r->backend, "settings", set, "verdicts", verdicts, "control",
		r->have_control ? stretch_json(&r->control) : json_null(), "rounds", rounds);
	json_object_set_new(set, "verb", json_string(o->verb == LAB_CRASH ? "crash" : "migrate"));
	json_object_set_new(set, "kills", json_integer(o->kills));
	json_object_set_new(set, "seed", json_sprintf("%" PRIu64, r->seed)); // 64 bits do not fit a JSON number
	json_t *calm = json_array();
	for (unsigned i = 0; i < r->n_calm; i++)
		json_array_append_new(calm, json_integer((json_int_t)r->calm_gap_us[i]));
	json_object_set_new(j, "calm_gaps_us", calm);
	for (int i = 0; i < 2; i++)
		if (r->stats[i])
			json_object_set(j, i ? "stats_b" : "stats", r->stats[i]);
	return j;
}
