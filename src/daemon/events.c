// The journal and who listens to it.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "daemon/core.h"

struct vd_sub {
	struct vd_sub *next;
	vd_event_fn *fn;
	void *arg;
	bool dead;
};

bool log_rate_allows(struct log_rate *rate)
{
	uint64_t now = clock_boot_us();
	if (now - rate->window_us >= 10000000u) {
		rate->window_us = now;
		rate->tokens_used = 0;
	}
	return rate->tokens_used < 10 && ++rate->tokens_used;
}

struct vd_sub *vd_subscribe(struct vd *vd, vd_event_fn *fn, void *arg)
{
	struct vd_sub *sub = calloc(1, sizeof(*sub));
	if (!sub)
		return NULL;
	sub->fn = fn;
	sub->arg = arg;
	sub->next = vd->subs;
	vd->subs = sub;
	return sub;
}

static void sweep(struct vd *vd)
{
	for (struct vd_sub **at = &vd->subs; *at;) {
		struct vd_sub *s = *at;
		if (s->dead) {
			*at = s->next;
			free(s);
		} else {
			at = &s->next;
		}
	}
}

void vd_unsubscribe(struct vd *vd, struct vd_sub *sub)
{
	if (!sub)
		return;
	sub->dead = true;
	if (!vd->telling)
		sweep(vd);
}

// stored: into the journal, too.
static void tell(struct vd *vd, const char *port, const char *type, bool stored, const char *fmt, va_list ap)
{
	char detail[400];
	vsnprintf(detail, sizeof(detail), fmt, ap);
	utf8_mend(detail); // it may have been cut
	struct vd_event ev = { .time_us = clock_wall_us(), .port = port, .type = type, .detail = detail };
	struct why why;
	if (stored && store_event_add(vd->store, ev.time_us, port, type, detail, &ev.seq, &why) != OK) {
		ev.seq = 0;
		vd_store_failed(vd, port, &why);
	}
	vd_idle_soon(vd);
	if (vd->telling)
		return; // a subscriber caused it: the journal has it
	vd->telling = true;
	for (struct vd_sub *s = vd->subs; s; s = s->next)
		if (!s->dead)
			s->fn(s->arg, &ev);
	vd->telling = false;
	sweep(vd);
}

void vd_event(struct vd *vd, const char *port, const char *type, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	tell(vd, port, type, true, fmt, ap);
	va_end(ap);
}

#define PEER_EVENTS 60u // more than a migration there and back makes
#define PEER_EVENTS_US 10000000u

void port_event(struct port *p, const char *type, const char *fmt, ...)
{
	struct peer_events *r = &p->peer_events;
	uint64_t now = clock_boot_us();
	if (now - r->window_us >= PEER_EVENTS_US) {
		if (r->left_out)
			vd_event(p->vd, p->spec.id, "port.events_left_out", "%u events of this port were not kept", r->left_out);
		*r = (struct peer_events){ .window_us = now };
	}
	bool stored = r->used < PEER_EVENTS;
	r->used += stored;
	r->left_out += !stored;
	va_list ap;
	va_start(ap, fmt);
	tell(p->vd, p->spec.id, type, stored, fmt, ap); // whoever waits for a state is told all the same
	va_end(ap);
}
