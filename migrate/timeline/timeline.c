// The machine of one record. `running` is the only state that events leave; what a complete record still takes are the
// first moments after a return or an arrival, and announcements.
//
//   source        logging off          -> returned     (rings run, or stood still from the start)
//                 rings stopped        -> (stopped)      closed -> left
//                 rings running        -> returned     (logging is off; while it is on, a reboot: it may stop again)
//                 closed               -> unknown      (rings run)
//                 arrived elsewhere    -> left
//   destination   kick, frame          -> arrived        so does an announcement, once the rings run
//                 closed               -> unknown
#include "timeline/timeline.h"

#include <stdio.h>
#include <string.h>

static const char *const outcome_names[] = {
	[TIMELINE_RUNNING] = "running",
	[TIMELINE_LEFT] = "left",
	[TIMELINE_RETURNED] = "returned",
	[TIMELINE_UNKNOWN] = "unknown",
	[TIMELINE_ARRIVED] = "arrived",
};
static const char *const role_names[] = {
	[TIMELINE_SOURCE] = "source",
	[TIMELINE_DESTINATION] = "destination",
};

const char *timeline_outcome_name(enum timeline_outcome o)
{
	return (unsigned)o < sizeof(outcome_names) / sizeof(outcome_names[0]) ? outcome_names[o] : "?";
}

const char *timeline_role_name(enum timeline_role r)
{
	return (unsigned)r < sizeof(role_names) / sizeof(role_names[0]) ? role_names[r] : "?";
}

void timeline_open(struct timeline *t, uint64_t id, const char *port, const char *guest, enum timeline_role role,
		   uint64_t now_us)
{
	memset(t, 0, sizeof(*t));
	t->id = id;
	snprintf(t->port, sizeof(t->port), "%s", port);
	snprintf(t->guest, sizeof(t->guest), "%s", guest ? guest : "");
	t->role = role;
	t->outcome = TIMELINE_RUNNING;
	t->started_us = now_us;
	t->logging = role == TIMELINE_SOURCE;
	t->rings = true;
}

static void moment(uint64_t *field, uint64_t now_us)
{
	if (*field == 0)
		*field = now_us;
}

static uint64_t first_frame(const struct timeline *t)
{
	uint64_t in = t->first_frame_in_us, out = t->first_frame_out_us;
	if (in == 0 || out == 0)
		return in ? in : out;
	return in < out ? in : out;
}

static uint64_t gap(uint64_t stopped_us, uint64_t first_us)
{
	return stopped_us && first_us > stopped_us ? first_us - stopped_us : 0;
}

static void first_moment(struct timeline *t, enum timeline_event ev, uint64_t now_us)
{
	// the first ones after what? at the source only a start after a stop answers that
	if (t->role == TIMELINE_SOURCE && t->running_us == 0)
		return;
	moment(ev == TL_FIRST_KICK ? &t->first_kick_us : ev == TL_FIRST_FRAME_IN ? &t->first_frame_in_us : &t->first_frame_out_us,
	       now_us);
	if (t->role == TIMELINE_SOURCE)
		t->blackout_us = gap(t->stopped_us, first_frame(t));
}

// A stop after a reboot is the one that counts: what was seen after the one before belongs to nobody.
static void stopped(struct timeline *t, uint64_t now_us)
{
	if (!t->rings && t->stopped_us != t->started_us)
		return; // told twice; of rings that were said to stand still from the start, this is the first that is known
	t->rings = false;
	t->stopped_us = now_us;
	t->running_us = t->first_kick_us = t->first_frame_in_us = t->first_frame_out_us = t->blackout_us = 0;
}

static enum timeline_outcome feed_source(struct timeline *t, enum timeline_event ev, uint64_t now_us)
{
	switch (ev) {
	case TL_LOG_ON:
		t->logging = true;
		return TIMELINE_RUNNING;
	case TL_LOG_OFF:
		t->logging = false;
		// rings that stood still all the time: nobody left, and no start will tell so
		return t->rings || t->stopped_us == t->started_us ? TIMELINE_RETURNED : TIMELINE_RUNNING;
	case TL_RINGS_STOPPED:
		stopped(t, now_us);
		return TIMELINE_RUNNING;
	case TL_RINGS_RUNNING:
		if (t->rings)
			return TIMELINE_RUNNING;
		t->rings = true;
		moment(&t->running_us, now_us);
		return t->logging ? TIMELINE_RUNNING : TIMELINE_RETURNED;
	case TL_CLOSED:
		return t->rings ? TIMELINE_UNKNOWN : TIMELINE_LEFT;
	case TL_ARRIVED_ELSEWHERE:
		return TIMELINE_LEFT;
	case TL_FIRST_KICK:
	case TL_FIRST_FRAME_IN:
	case TL_FIRST_FRAME_OUT:
		break;
	}
	return TIMELINE_RUNNING;
}

static enum timeline_outcome feed_destination(struct timeline *t, enum timeline_event ev, uint64_t now_us)
{
	switch (ev) {
	case TL_RINGS_RUNNING:
		moment(&t->running_us, now_us);
		return TIMELINE_RUNNING;
	case TL_RINGS_STOPPED:
		moment(&t->stopped_us, now_us);
		return TIMELINE_RUNNING;
	case TL_FIRST_KICK:
	case TL_FIRST_FRAME_IN:
	case TL_FIRST_FRAME_OUT:
		return TIMELINE_ARRIVED;
	case TL_CLOSED:
		return TIMELINE_UNKNOWN;
	case TL_LOG_ON:
	case TL_LOG_OFF:
	case TL_ARRIVED_ELSEWHERE:
		break;
	}
	return TIMELINE_RUNNING;
}

bool timeline_feed(struct timeline *t, enum timeline_event ev, uint64_t now_us)
{
	bool was_running = t->outcome == TIMELINE_RUNNING;
	if (was_running)
		t->outcome = t->role == TIMELINE_SOURCE ? feed_source(t, ev, now_us) : feed_destination(t, ev, now_us);
	if (ev == TL_FIRST_KICK || ev == TL_FIRST_FRAME_IN || ev == TL_FIRST_FRAME_OUT)
		first_moment(t, ev, now_us);
	return was_running && t->outcome != TIMELINE_RUNNING;
}

void timeline_announced(struct timeline *t, const char *kind, const uint8_t mac[6], uint32_t round, uint64_t now_us)
{
	if (t->role == TIMELINE_DESTINATION && t->outcome == TIMELINE_RUNNING && t->running_us)
		t->outcome = TIMELINE_ARRIVED;
	if (t->n_announcements >= TIMELINE_MAX_ANNOUNCEMENTS) {
		t->announcements_left_out++;
		return;
	}
	struct timeline_announcement *a = &t->announcement[t->n_announcements++];
	snprintf(a->kind, sizeof(a->kind), "%s", kind);
	memcpy(a->mac, mac, sizeof(a->mac));
	a->round = round;
	a->time_us = now_us;
}

void timeline_join(struct timeline *source, struct timeline *destination)
{
	if (source->role != TIMELINE_SOURCE || destination->role != TIMELINE_DESTINATION)
		return;
	if (source->outcome == TIMELINE_RETURNED || source->running_us)
		return;
	uint64_t blackout = gap(source->stopped_us, first_frame(destination));
	if (blackout)
		source->blackout_us = destination->blackout_us = blackout;
}
