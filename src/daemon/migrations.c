// The record of each migration: opened, fed with what happens, written to the store whenever it changed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core.h"

// Frames for a guest whose rings stand still that were lost: held in vain, or not even that.
uint64_t migration_lost(const struct dp_stats *st)
{
	return st->hold_dropped + st->drops_out[DP_DROP_HOLD_FULL] + st->drops_out[DP_DROP_STOPPED];
}

static void count(struct port *p, struct timeline *t)
{
	struct dp_stats st;
	if (p->counting != t)
		return; // a later record has the counters
	dp_port_stats(p->dp, &st);
	t->held = st.held - p->base_held;
	t->delivered = st.hold_delivered - p->base_delivered;
	t->dropped = migration_lost(&st) - p->base_dropped;
}

static void write_record(struct vd *vd, struct port *p, struct timeline *t)
{
	struct why why;
	count(p, t);
	size_t size = timeline_json(t, NULL, 0) + 1;
	char *json = malloc(size);
	if (!json)
		return;
	timeline_json(t, json, size);
	if (store_migration_put(vd->store, t->id, t->port, json, &why) != OK)
		vd_store_failed(vd, t->port, &why);
	free(json);
}

static void record_free(struct port *p, struct timeline *t)
{
	if (p->counting == t)
		p->counting = NULL;
	free(t);
}

static struct timeline *record_open(struct port *p, enum timeline_role role, uint64_t now)
{
	struct timeline *t = malloc(sizeof(*t));
	struct dp_stats st;
	struct why why;
	uint64_t id = 0;
	if (!t || store_next_migration_id(p->vd->store, &id, &why) != OK) {
		free(t);
		return NULL;
	}
	timeline_open(t, id, p->spec.id, p->spec.guest, role, now);
	t->started_wall_us = clock_wall_us();
	if (p->counting)
		write_record(p->vd, p, p->counting);
	dp_port_stats(p->dp, &st);
	p->counting = t;
	p->base_held = st.held;
	p->base_delivered = st.hold_delivered;
	p->base_dropped = migration_lost(&st);
	vd_event(p->vd, p->spec.id, "migration.started", "%s, record %llu", timeline_role_name(role), (unsigned long long)id);
	return t;
}

static void feed(struct port *p, struct timeline *t, enum timeline_event ev, uint64_t now)
{
	if (!t)
		return;
	if (timeline_feed(t, ev, now))
		vd_event(p->vd, p->spec.id, "migration.ended", "record %llu: %s", (unsigned long long)t->id,
			 timeline_outcome_name(t->outcome));
	write_record(p->vd, p, t);
}

void migration_log_on(struct session *s)
{
	struct port *p = s->port;
	uint64_t now = clock_boot_us();
	if (!log_rate_allows(&p->record_rate))
		return; // it can ask for a log as often as it likes: the records of others must not be pushed out
	record_free(p, s->source);
	s->source = record_open(p, TIMELINE_SOURCE, now);
	feed(p, s->source, TL_LOG_ON, now);
	if (s->attached == 0)
		feed(p, s->source, TL_RINGS_STOPPED, now);
}

void migration_log_off(struct session *s)
{
	feed(s->port, s->source, TL_LOG_OFF, clock_boot_us());
}

void migration_stopped(struct session *s)
{
	if (s->source)
		s->source->pages_logged = dev_pages_logged(s->dev);
	feed(s->port, s->source, TL_RINGS_STOPPED, clock_boot_us());
}

void migration_closed(struct session *s)
{
	struct port *p = s->port;
	if (!s->source)
		return;
	s->source->pages_logged = dev_pages_logged(s->dev);
	feed(p, s->source, TL_CLOSED, clock_boot_us());
	record_free(p, p->departure);
	p->departure = s->source; // its destination may still come
	s->source = NULL;
}

static bool starts_in_the_middle(const struct session *s)
{
	const struct snap *snap = dev_snap(s->dev);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (snap->ring[q].started && snap->ring[q].base != 0)
			return true;
	return false;
}

// The source's record, where the guest was before: of a session that is there still, or of one that is gone.
static struct timeline *source_of(struct port *from, struct session *to)
{
	for (unsigned i = 0; from && i < PORT_MAX_SESSIONS; i++)
		if (from->session[i] && from->session[i] != to && from->session[i]->source)
			return from->session[i]->source;
	return from ? from->departure : NULL;
}

void migration_moved(struct port *from, struct port *to)
{
	struct timeline *src = source_of(from, to->active);
	if (!src)
		return;
	feed(from, src, TL_ARRIVED_ELSEWHERE, clock_boot_us());
	if (!to->arrival)
		return;
	timeline_join(src, to->arrival);
	write_record(from->vd, from, src);
	write_record(to->vd, to, to->arrival);
}

// Is this the front end that was here, with its rings running, when its connection (or we) went away?
static bool comes_back(struct port *p, const struct session *s)
{
	bool back = p->lost_any || (p->lost_pid != 0 && p->lost_pid == s->pid);
	p->lost_any = false;
	p->lost_pid = 0;
	return back;
}

void migration_running(struct port *p, struct session *s, struct port *from)
{
	uint64_t now = clock_boot_us();
	bool back = comes_back(p, s);
	if (s->source && s->source->outcome == TIMELINE_RUNNING) {
		feed(p, s->source, TL_RINGS_RUNNING, now); // back at the source
		return;
	}
	if (s->standing->ran || back || !starts_in_the_middle(s))
		return; // a start of a guest that did not come from elsewhere
	record_free(p, p->arrival);
	p->arrival = record_open(p, TIMELINE_DESTINATION, now);
	if (!p->arrival)
		return;
	feed(p, p->arrival, TL_RINGS_RUNNING, now);
	struct timeline *src = source_of(from, s);
	if (src) {
		feed(from, src, TL_ARRIVED_ELSEWHERE, now);
		timeline_join(src, p->arrival);
		write_record(p->vd, from, src);
		write_record(p->vd, p, p->arrival);
	}
}

// The records that late moments of this port belong to.
static struct timeline *current(struct port *p)
{
	if (p->active && p->active->source)
		return p->active->source;
	return p->arrival;
}

void migration_note(struct port *p, unsigned notes)
{
	struct timeline *t = current(p);
	struct dp_firsts f = dp_port_firsts(p->dp);
	if (!t)
		return;
	if (notes & DP_NOTE_FIRST_KICK)
		feed(p, t, TL_FIRST_KICK, f.kick_us);
	if (notes & DP_NOTE_FIRST_IN)
		feed(p, t, TL_FIRST_FRAME_IN, f.in_us);
	if (notes & DP_NOTE_FIRST_OUT)
		feed(p, t, TL_FIRST_FRAME_OUT, f.out_us);
	if (t != p->arrival)
		return;
	for (unsigned i = 0; i < p->vd->n_ports; i++) { // the source's blackout ends with the first frame here
		struct port *o = p->vd->port[i];
		bool was_there = p->came_from[0] ? strcmp(o->spec.id, p->came_from) == 0 : o == p;
		if (was_there && source_of(o, p->active)) {
			struct timeline *src = source_of(o, p->active);
			timeline_join(src, t);
			write_record(p->vd, o, src);
		}
	}
	write_record(p->vd, p, t);
}

void migration_announced(struct port *p, const char *kind, const uint8_t mac[6], uint32_t round)
{
	struct timeline *t = current(p);
	if (!t)
		return;
	enum timeline_outcome before = t->outcome;
	timeline_announced(t, kind, mac, round, clock_boot_us());
	if (t->outcome != before)
		vd_event(p->vd, p->spec.id, "migration.ended", "record %llu: %s", (unsigned long long)t->id,
			 timeline_outcome_name(t->outcome));
	p->vd->migrations_dirty = true;
	vd_idle_soon(p->vd);
}

void vd_migrations_flush(struct vd *vd)
{
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *p = vd->port[i];
		if (p->arrival)
			write_record(vd, p, p->arrival);
		if (p->departure && p->counting == p->departure)
			write_record(vd, p, p->departure);
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++)
			if (p->session[k] && p->session[k]->source)
				write_record(vd, p, p->session[k]->source);
	}
	vd->migrations_dirty = false;
}

// -- held frames ------------------------------------------------------------------------------------------------------------

static void tell_dropped(struct port *p, const struct dp_stats *st)
{
	uint64_t late = st->hold_dropped - p->hold_late, full = st->drops_out[DP_DROP_HOLD_FULL] - p->hold_full;
	uint64_t now = clock_boot_us();
	if (late + full == 0)
		return;
	if (!p->hold_drops_us)
		p->hold_drops_us = now;
	if (dp_hold_level(p->dp).held && now - p->hold_drops_us < 1000000)
		return; // the rest follows in a moment
	if (!log_rate_allows(&p->journal_rate))
		return; // what is not told now comes with the next one
	p->hold_drops_us = 0;
	p->hold_late = st->hold_dropped;
	p->hold_full = st->drops_out[DP_DROP_HOLD_FULL];
	vd_event(p->vd, p->spec.id, "hold.dropped", "%llu frames: %llu were held in vain (hold-ms=%u), for %llu there was no room",
		 (unsigned long long)(late + full), (unsigned long long)late, p->spec.hold_ms, (unsigned long long)full);
}

void migration_hold_looked(struct port *p)
{
	struct dp_stats st;
	dp_port_stats(p->dp, &st);
	tell_dropped(p, &st);
	const struct timeline *t = p->counting;
	if (!t || (t->held == st.held - p->base_held && t->delivered == st.hold_delivered - p->base_delivered &&
		   t->dropped == migration_lost(&st) - p->base_dropped))
		return;
	p->vd->migrations_dirty = true;
	vd_idle_soon(p->vd);
}

void migration_port_goes(struct port *p)
{
	dp_port_rx_state(p->dp, DP_RX_OFF);
	dp_hold_expire(p->dp, UINT64_MAX);
	migration_hold_looked(p);
	if (p->counting)
		write_record(p->vd, p, p->counting);
}

void migrations_free(struct port *p)
{
	free(p->arrival);
	free(p->departure);
	p->arrival = p->departure = p->counting = NULL;
}
