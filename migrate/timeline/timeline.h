// The record of one migration as one port sees it: moments, counts, outcome. Pure: the daemon tells what happened and when
// (CLOCK_BOOTTIME), and reads the record.
//
// A source record opens when logging starts (LOG_ALL), a destination record when the rings start with a base that is not 0
// on a connection that has not run before. Outcomes: at the source `left` (rings stopped while logging, then the
// connection closed, or the guest arrived elsewhere on this switch), `returned` (logging ended and the rings run again, or
// still), `unknown` (the connection closed while rings ran); at the destination `arrived` (first kick, frame or announcement
// after the rings started). A stop and a start while logging goes on (the guest reboots, or a front end starts it before it
// ends the log) complete nothing: the next stop replaces them.
#ifndef TIMELINE_TIMELINE_H
#define TIMELINE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMELINE_PORT_MAX 33
#define TIMELINE_MAX_ANNOUNCEMENTS 128

enum timeline_role { TIMELINE_SOURCE, TIMELINE_DESTINATION };
enum timeline_outcome { TIMELINE_RUNNING, TIMELINE_LEFT, TIMELINE_RETURNED, TIMELINE_UNKNOWN, TIMELINE_ARRIVED };

struct timeline_announcement {
	char kind[8]; // "rarp", "garp", "na"
	uint8_t mac[6];
	uint32_t round;
	uint64_t time_us;
};

struct timeline { // a time of 0 means: was not seen
	uint64_t id;
	char port[TIMELINE_PORT_MAX];
	char guest[TIMELINE_PORT_MAX]; // "" if the port has none
	enum timeline_role role;
	enum timeline_outcome outcome;
	bool logging, rings; // of a source, as of the last event: logging is on, rings run
	uint64_t started_us; // logging on (source), rings set up (destination)
	uint64_t started_wall_us; // the same moment as wall time, as events have it; set by who opens the record
	uint64_t stopped_us; // last ring stopped
	uint64_t running_us; // first ring running (again)
	uint64_t first_kick_us, first_frame_in_us, first_frame_out_us;
	uint64_t blackout_us; // from stopped to first frame either way; joined with the other port's record where both are here
	uint64_t pages_logged;
	uint64_t held, delivered, dropped; // frames
	unsigned n_announcements, announcements_left_out;
	struct timeline_announcement announcement[TIMELINE_MAX_ANNOUNCEMENTS];
};

enum timeline_event {
	TL_LOG_ON,
	TL_LOG_OFF,
	TL_RINGS_RUNNING, // from none to some
	TL_RINGS_STOPPED, // from some to none, by GET_VRING_BASE
	TL_CLOSED, // the connection ended
	TL_FIRST_KICK,
	TL_FIRST_FRAME_IN, // the switch took a frame from the port
	TL_FIRST_FRAME_OUT, // the switch gave a frame to the port
	TL_ARRIVED_ELSEWHERE, // the guest's rings run on another port (or connection) of this switch
};

void timeline_open(struct timeline *t, uint64_t id, const char *port, const char *guest, enum timeline_role role, uint64_t now_us);
// Feed an event; returns true if the record is complete with it, once (its outcome is set, it will not change but for late
// first_* moments and announcements, which may still be fed). A source whose rings stood still when logging began is told so
// by TL_RINGS_STOPPED. A destination whose connection closes before it arrived is `unknown`.
bool timeline_feed(struct timeline *t, enum timeline_event ev, uint64_t now_us);
// An announcement was sent or asked for. At a destination whose rings run it completes the record (look at the outcome).
void timeline_announced(struct timeline *t, const char *kind, const uint8_t mac[6], uint32_t round, uint64_t now_us);
// At the destination: the source's record on this switch tells when the guest stopped. Fills blackout_us of both,
// if both moments are known by now; may be called again.
void timeline_join(struct timeline *source, struct timeline *destination);
const char *timeline_outcome_name(enum timeline_outcome o); // "running", "left", ...
const char *timeline_role_name(enum timeline_role r); // "source", "destination"
// The record as one JSON object in the contract's field names, into buf; returns the length it needs (snprintf's way).
size_t timeline_json(const struct timeline *t, char *buf, size_t size);

#endif
