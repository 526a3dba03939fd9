#include "lab/round.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "lab/guest_run.h"
#include "lab/migration.h"
#include "lab/netns.h"
#include "lab/verify_ram.h"

#define MIGRATION_LIMIT_US 180000000
#define FULL_BANDWIDTH "max-bandwidth=134217728" // QEMU's own
#define STRIKES_BANDWIDTH (96u << 20) // divided by the kills, which take a tenth of a second each
#define WARM_MS 1000 // traffic before a migration
#define TAIL_MS 1000 // and after it
#define SOURCE_STAYS_MS 500 // an ending process would take the CPU that the guest's first frames need
#define BRIDGE_LIMIT_US 3000000

enum err lab_start_vm(struct lab *lab, struct vm *vm, const struct guest_id *guest, enum place place, bool incoming, struct why *why)
{
	char name[32];
	const struct backend *b = lab->backend;
	if (guest == &guest_peer)
		snprintf(name, sizeof(name), "peer");
	else
		snprintf(name, sizeof(name), "mover-%u", ++lab->movers_started);
	struct vm_spec spec = {
		.opts = lab->opts, .assets = lab->assets, .guest = guest, .dir = lab->dir, .initrd = lab->initrd, .kvm = lab->kvm,
		.qemu = place == PLACE_DST ? &lab->assets->dst : &lab->assets->src, .socket = b->socket[place][0] ? b->socket[place] : NULL,
		.group = b->group[0] ? b->group : NULL, .incoming = incoming, .paused = incoming && lab->opts->verify_ram,
	};
	return vm_start(vm, name, &spec, why);
}

static enum place other_place(enum place p)
{
	return p == PLACE_SRC ? PLACE_DST : PLACE_SRC;
}

static void round_name_ports(struct lab *lab, struct round *r)
{
	bool one = lab->opts->one_path;
	snprintf(r->from, sizeof(r->from), "%s", place_name(one ? PLACE_SRC : lab->mover_at));
	snprintf(r->to, sizeof(r->to), "%s", place_name(one ? PLACE_SRC : other_place(lab->mover_at)));
}

// vringd's latest record of this port and role that began in this round; NULL if there is none.
static json_t *find_record(struct lab *lab, enum place place, const char *port, const char *role, uint64_t since_us)
{
	json_t *result = NULL, *best = NULL, *m;
	struct why why;
	size_t i;
	if (lab->backend->kind != BACKEND_VRINGD)
		return NULL;
	if (ctl_call(lab->backend->control[backend_of(lab->backend, place)], "migration", NULL, &result, &why) != OK) {
		complain("%s", why.text);
		return NULL;
	}
	json_t *list = json_is_array(result) ? result : json_object_get(result, "migration");
	json_array_foreach(list, i, m) {
		const char *p = json_string_value(json_object_get(m, "port")), *r = json_string_value(json_object_get(m, "role"));
		json_int_t start = json_integer_value(json_object_get(m, "started_us"));
		if (!p || !r || strcmp(p, port) || strcmp(r, role) || (uint64_t)start < since_us)
			continue;
		if (!best || start > json_integer_value(json_object_get(best, "started_us")))
			best = m;
	}
	json_incref(best);
	json_decref(result);
	return best;
}

// Has the bridge moved the guest to the other tap? Looks until it has, or it takes too long.
static void watch_bridge(struct round *r)
{
	uint64_t until = clock_boot_us() + BRIDGE_LIMIT_US;
	do {
		netns_bridge_port(guest_mover.mac, r->bridge_after, sizeof(r->bridge_after));
		if (r->bridge_after[0] && strcmp(r->bridge_after, r->bridge_before) != 0) {
			r->bridge_moved_us = clock_boot_us();
			return;
		}
		sleep_ms(2);
	} while (clock_boot_us() < until && !interrupted());
}

static enum err finish_on_destination(struct lab *lab, struct vm *dst, struct round *r, struct why *why)
{
	enum err e = OK;
	if (lab->opts->verify_ram) {
		progress("round %u: comparing all guest memory", r->number);
		e = verify_ram(&lab->mover, dst, vm_memory_bytes(lab->opts, lab->assets, lab->kvm), r, why);
		if (e == OK)
			e = vm_explain(dst, qmp_call(&dst->qmp, "cont", NULL, NULL, why), why);
	}
	if (e == OK)
		e = vm_explain(dst, qmp_wait(&dst->qmp, "RESUME", clock_boot_us() + 10000000, why), why);
	if (e == AGAIN)
		e = ours(why, "the destination does not run the guest");
	r->resume_us = qmp_event_time(&dst->qmp, "RESUME");
	if (e == OK && lab->opts->two_daemons)
		watch_bridge(r);
	return e;
}

// With kills: slow enough that they have room while pages go over; the last one but one comes when it goes at full speed again. A bandwidth
// that was asked for stays.
static bool has_bandwidth(const struct opts *o)
{
	for (size_t i = 0; i < o->params.n; i++)
		if (strncmp(o->params.v[i], "max-bandwidth=", 14) == 0)
			return true;
	return false;
}

static enum err start_under_strikes(struct lab *lab, struct vm *dst, struct round *r, struct why *why)
{
	char slow[60];
	unsigned kills = lab->opts->kills;
	bool ours_to_say = !has_bandwidth(lab->opts);
	if (!round_plan_kills(r, kills))
		return ours(why, "no memory");
	snprintf(slow, sizeof(slow), "max-bandwidth=%u", STRIKES_BANDWIDTH / kills + (1u << 20));
	enum err e = ours_to_say ? migration_set_param(&lab->mover, slow, why) : OK;
	if (e == OK)
		e = strikes_begin(lab->strikes, r, why);
	if (e == OK)
		e = migration_start(&lab->mover, dst, lab->opts, why);
	if (e == OK)
		strikes_wait(lab->strikes, kills - 2, clock_boot_us() + MIGRATION_LIMIT_US / 2);
	return e == OK && ours_to_say ? migration_set_param(&lab->mover, FULL_BANDWIDTH, why) : e;
}

// From the start of the migration until the guest runs on the destination.
static enum err move(struct lab *lab, struct vm *dst, struct round *r, struct why *why)
{
	static const char *const done[] = { "completed", NULL };
	r->begin_us = clock_boot_us();
	enum err e = lab->strikes ? start_under_strikes(lab, dst, r, why) : migration_start(&lab->mover, dst, lab->opts, why);
	if (e == OK)
		e = migration_wait(&lab->mover, done, clock_boot_us() + MIGRATION_LIMIT_US, why);
	r->completed_us = clock_boot_us();
	if (e == OK && lab->strikes)
		e = strikes_end(lab->strikes, why);
	r->stop_us = qmp_event_time(&lab->mover.qmp, "STOP");
	if (e == OK)
		e = finish_on_destination(lab, dst, r, why);
	if (e == OK)
		e = migration_read(&lab->mover, r, why);
	// With a comparison the guest stands still from the source's stop to our "cont": all but QEMU's part is ours.
	uint64_t downtime_us = (uint64_t)(r->downtime_ms * 1000);
	if (lab->opts->verify_ram && r->stop_us && r->resume_us > r->stop_us + downtime_us)
		r->pause_us = r->resume_us - r->stop_us - downtime_us;
	return e;
}

// The tail: traffic after the migration, and at least as long a stretch as the one without migration.
static void stretch_out(struct lab *lab, const struct stretch *s)
{
	uint64_t least = s->start_us + (uint64_t)lab->opts->duration_s * 1000000, now = clock_boot_us();
	unsigned ms = least > now ? (unsigned)((least - now) / 1000) : 0;
	sleep_ms(ms > TAIL_MS ? ms : TAIL_MS);
}

static enum err settle(struct lab *lab, struct vm *dst, struct round *r, struct why *why)
{
	sleep_ms(SOURCE_STAYS_MS);
	vm_end(&lab->mover);
	lab->mover = *dst;
	*dst = (struct vm){ 0 };
	enum place from = lab->mover_at;
	lab->mover_at = other_place(from);
	progress("round %u: %.0f ms downtime, %.1f s in all", r->number, r->downtime_ms, r->total_ms / 1000);
	enum err e = vm_meet(&lab->mover, clock_boot_us() + 20000000, why);
	if (e != OK)
		return e;
	stretch_out(lab, &r->stretch);
	e = stretch_end(&r->stretch, &lab->peer, &lab->mover, lab->opts, why);
	r->source = find_record(lab, from, r->from, "source", r->stretch.start_us);
	r->destination = find_record(lab, lab->mover_at, r->to, "destination", r->stretch.start_us);
	return e;
}

enum err round_migrate(struct lab *lab, struct why *why)
{
	struct round *r = results_add_round(lab->results);
	struct vm dst = { 0 };
	if (!r)
		return ours(why, "no memory");
	round_name_ports(lab, r);
	progress("round %u: %s to %s", r->number, r->from, r->to);
	enum err e = lab_start_vm(lab, &dst, &guest_mover, other_place(lab->mover_at), true, why);
	if (e == OK)
		e = stretch_begin(&r->stretch, &lab->peer, &lab->mover, lab->opts, why);
	if (e == OK) {
		sleep_ms(WARM_MS);
		if (lab->opts->two_daemons)
			netns_bridge_port(guest_mover.mac, r->bridge_before, sizeof(r->bridge_before));
		e = move(lab, &dst, r, why);
	}
	if (e == OK)
		e = settle(lab, &dst, r, why);
	vm_end(&dst);
	if (e != OK)
		snprintf(r->failure, sizeof(r->failure), "%s", why->text);
	return e;
}

static enum err cancel_before_stop(struct lab *lab, struct vm *dst, struct why *why)
{
	static const char *const active[] = { "active", NULL };
	enum err e = migration_set_param(&lab->mover, "max-bandwidth=1048576", why);
	if (e == OK)
		e = migration_start(&lab->mover, dst, lab->opts, why);
	if (e == OK)
		e = migration_wait(&lab->mover, active, clock_boot_us() + 20000000, why);
	sleep_ms(1000); // dirty logging is on, and pages go over
	return e;
}

static enum err cancel_after_stop(struct lab *lab, struct vm *dst, struct why *why)
{
	static const char *const stopped[] = { "pre-switchover", NULL };
	enum err e = migration_set_cap(&lab->mover, "pause-before-switchover", true, why);
	if (e == OK)
		e = migration_set_cap(dst, "pause-before-switchover", true, why);
	if (e == OK)
		e = migration_start(&lab->mover, dst, lab->opts, why);
	if (e == OK)
		e = migration_wait(&lab->mover, stopped, clock_boot_us() + MIGRATION_LIMIT_US, why);
	sleep_ms(100); // the device is stopped, frames for the guest wait
	return e;
}

// After the cancel the guest must run on the source; QEMU starts it again by itself.
static enum err guest_returns(struct lab *lab, struct round *r, struct why *why)
{
	static const char *const cancelled[] = { "cancelled", NULL };
	enum err e = vm_explain(&lab->mover, qmp_call(&lab->mover.qmp, "migrate_cancel", NULL, NULL, why), why);
	if (e == OK)
		e = migration_wait(&lab->mover, cancelled, clock_boot_us() + 20000000, why);
	r->completed_us = clock_boot_us();
	r->stop_us = qmp_event_time(&lab->mover.qmp, "STOP");
	if (e == OK && r->stop_us) {
		e = qmp_wait(&lab->mover.qmp, "RESUME", clock_boot_us() + 5000000, why);
		if (e == AGAIN)
			e = ours(why, "the guest does not run on the source again");
		r->resume_us = qmp_event_time(&lab->mover.qmp, "RESUME");
	}
	if (lab->opts->cancel_at == CANCEL_AFTER_STOP && e == OK)
		e = migration_set_cap(&lab->mover, "pause-before-switchover", false, why);
	else if (e == OK)
		e = migration_set_param(&lab->mover, FULL_BANDWIDTH, why);
	return e;
}

enum err round_cancel(struct lab *lab, struct why *why)
{
	struct round *r = results_add_round(lab->results);
	struct vm dst = { 0 };
	if (!r)
		return ours(why, "no memory");
	r->kind = ROUND_CANCEL;
	round_name_ports(lab, r);
	bool before = lab->opts->cancel_at == CANCEL_BEFORE_STOP;
	progress("round %u: %s to %s, to be cancelled %s the stop", r->number, r->from, r->to, before ? "before" : "after");
	enum err e = lab_start_vm(lab, &dst, &guest_mover, other_place(lab->mover_at), true, why);
	if (e == OK)
		e = stretch_begin(&r->stretch, &lab->peer, &lab->mover, lab->opts, why);
	if (e == OK) {
		sleep_ms(WARM_MS);
		r->begin_us = clock_boot_us();
		e = before ? cancel_before_stop(lab, &dst, why) : cancel_after_stop(lab, &dst, why);
	}
	if (e == OK)
		e = guest_returns(lab, r, why);
	vm_end(&dst);
	if (e == OK) {
		stretch_out(lab, &r->stretch);
		e = stretch_end(&r->stretch, &lab->peer, &lab->mover, lab->opts, why);
		r->source = find_record(lab, lab->mover_at, r->from, "source", r->stretch.start_us);
	}
	if (e != OK)
		snprintf(r->failure, sizeof(r->failure), "%s", why->text);
	return e;
}
