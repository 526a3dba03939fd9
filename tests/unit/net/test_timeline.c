// The record of a migration: each path to an outcome as a row of events, the join of both ends, and the JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/bits.h"
#include "timeline/timeline.h"

// -- outcomes ------------------------------------------------------------------------------------------------------------

#define ANNOUNCED 100 // not an event: timeline_announced
#define MAX_STEPS 10
#define STEP_US 100

// Opened at 1000; the first event comes at 1100, the next at 1200 and so on.
static const struct path {
	const char *name;
	enum timeline_role role;
	int events[MAX_STEPS]; // ends with END
	unsigned completes; // the number (from 1) of the event that completes the record, 0: none
	enum timeline_outcome outcome;
	uint64_t stopped, running, kick, in, out, blackout;
} paths[] = {
#define END (-1)
#define SRC TIMELINE_SOURCE
#define DST TIMELINE_DESTINATION
	{ "source: nothing yet", SRC, { END }, 0, TIMELINE_RUNNING, 0, 0, 0, 0, 0, 0 },
	{ "source: said again", SRC, { TL_LOG_ON, TL_RINGS_RUNNING, END }, 0, TIMELINE_RUNNING, 0, 0, 0, 0, 0, 0 },
	{ "source: stopped", SRC, { TL_RINGS_STOPPED, END }, 0, TIMELINE_RUNNING, 1100, 0, 0, 0, 0, 0 },
	{ "source: left", SRC, { TL_RINGS_STOPPED, TL_CLOSED, END }, 2, TIMELINE_LEFT, 1100, 0, 0, 0, 0, 0 },
	{ "source: log off after the stop, left", SRC, { TL_RINGS_STOPPED, TL_LOG_OFF, TL_CLOSED, END }, 3, TIMELINE_LEFT, 1100, 0,
	  0, 0, 0, 0 },
	{ "source: arrived here elsewhere", SRC, { TL_RINGS_STOPPED, TL_ARRIVED_ELSEWHERE, TL_CLOSED, END }, 2, TIMELINE_LEFT,
	  1100, 0, 0, 0, 0, 0 },
	{ "source: arrived elsewhere unseen", SRC, { TL_ARRIVED_ELSEWHERE, END }, 1, TIMELINE_LEFT, 0, 0, 0, 0, 0, 0 },
	{ "source: cancelled before the stop", SRC, { TL_LOG_OFF, END }, 1, TIMELINE_RETURNED, 0, 0, 0, 0, 0, 0 },
	{ "source: cancelled before the stop, closed later", SRC, { TL_LOG_OFF, TL_RINGS_STOPPED, TL_CLOSED, END }, 1,
	  TIMELINE_RETURNED, 0, 0, 0, 0, 0, 0 },
	{ "source: frames of a guest that never stopped", SRC,
	  { TL_FIRST_KICK, TL_FIRST_FRAME_IN, TL_LOG_OFF, TL_FIRST_FRAME_OUT, END }, 3, TIMELINE_RETURNED, 0, 0, 0, 0, 0, 0 },
	{ "source: cancelled after the stop", SRC, { TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_LOG_OFF, END }, 3, TIMELINE_RETURNED, 1100,
	  1200, 0, 0, 0, 0 },
	{ "source: cancelled after the stop, log off first", SRC, { TL_RINGS_STOPPED, TL_LOG_OFF, TL_RINGS_RUNNING, END }, 3,
	  TIMELINE_RETURNED, 1100, 1300, 0, 0, 0, 0 },
	{ "source: a reboot on the way, left", SRC,
	  { TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_FIRST_KICK, TL_FIRST_FRAME_IN, TL_RINGS_STOPPED, TL_CLOSED, END }, 6, TIMELINE_LEFT,
	  1500, 0, 0, 0, 0, 0 },
	{ "source: a reboot on the way, arrived elsewhere", SRC,
	  { TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_RINGS_STOPPED, TL_ARRIVED_ELSEWHERE, END }, 4, TIMELINE_LEFT, 1300, 0, 0, 0, 0, 0 },
	{ "source: a reboot on the way, cancelled after the stop", SRC,
	  { TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_FIRST_FRAME_IN, TL_LOG_OFF, END }, 6,
	  TIMELINE_RETURNED, 1300, 1400, 0, 1500, 0, 200 },
	{ "source: a reboot on the way, closed while running", SRC, { TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_CLOSED, END }, 3,
	  TIMELINE_UNKNOWN, 1100, 1200, 0, 0, 0, 0 },
	{ "source: logged again before it left", SRC, { TL_RINGS_STOPPED, TL_LOG_OFF, TL_LOG_ON, TL_RINGS_RUNNING, TL_RINGS_STOPPED,
	  TL_CLOSED, END }, 6, TIMELINE_LEFT, 1500, 0, 0, 0, 0, 0 },
	{ "source: cancelled after the stop, with its firsts", SRC,
	  { TL_RINGS_STOPPED, TL_LOG_OFF, TL_RINGS_RUNNING, TL_FIRST_KICK, TL_FIRST_FRAME_OUT, TL_FIRST_FRAME_IN, TL_FIRST_FRAME_IN,
	    TL_LOG_OFF, TL_CLOSED, END },
	  3, TIMELINE_RETURNED, 1100, 1300, 1400, 1600, 1500, 400 },
	{ "source: closed while running", SRC, { TL_CLOSED, END }, 1, TIMELINE_UNKNOWN, 0, 0, 0, 0, 0, 0 },
	{ "source: closed while running, later elsewhere", SRC, { TL_CLOSED, TL_ARRIVED_ELSEWHERE, TL_RINGS_STOPPED, END }, 1,
	  TIMELINE_UNKNOWN, 0, 0, 0, 0, 0, 0 },
	{ "source: stop told twice", SRC, { TL_RINGS_STOPPED, TL_RINGS_STOPPED, TL_CLOSED, TL_CLOSED, END }, 3, TIMELINE_LEFT, 1100,
	  0, 0, 0, 0, 0 },
	{ "source: announced at the stop", SRC, { TL_RINGS_STOPPED, ANNOUNCED, END }, 0, TIMELINE_RUNNING, 1100, 0, 0, 0, 0, 0 },
	{ "destination: rings run", DST, { TL_RINGS_RUNNING, END }, 0, TIMELINE_RUNNING, 0, 1100, 0, 0, 0, 0 },
	{ "destination: kick", DST, { TL_RINGS_RUNNING, TL_FIRST_KICK, END }, 2, TIMELINE_ARRIVED, 0, 1100, 1200, 0, 0, 0 },
	{ "destination: frame in", DST, { TL_RINGS_RUNNING, TL_FIRST_FRAME_IN, END }, 2, TIMELINE_ARRIVED, 0, 1100, 0, 1200, 0, 0 },
	{ "destination: frame out", DST, { TL_RINGS_RUNNING, TL_FIRST_FRAME_OUT, END }, 2, TIMELINE_ARRIVED, 0, 1100, 0, 0, 1200,
	  0 },
	{ "destination: announced", DST, { TL_RINGS_RUNNING, ANNOUNCED, TL_FIRST_KICK, END }, 2, TIMELINE_ARRIVED, 0, 1100, 1300, 0,
	  0, 0 },
	{ "destination: announced too early", DST, { ANNOUNCED, TL_RINGS_RUNNING, END }, 0, TIMELINE_RUNNING, 0, 1200, 0, 0, 0, 0 },
	{ "destination: all of it, then another migration", DST,
	  { TL_RINGS_RUNNING, TL_FIRST_KICK, TL_FIRST_FRAME_IN, TL_FIRST_FRAME_OUT, TL_LOG_ON, TL_RINGS_STOPPED, TL_CLOSED, END },
	  2, TIMELINE_ARRIVED, 0, 1100, 1200, 1300, 1400, 0 },
	{ "destination: given up", DST, { TL_RINGS_RUNNING, TL_CLOSED, END }, 2, TIMELINE_UNKNOWN, 0, 1100, 0, 0, 0, 0 },
	{ "destination: stopped, started, arrived", DST,
	  { TL_RINGS_RUNNING, TL_RINGS_STOPPED, TL_RINGS_RUNNING, TL_FIRST_KICK, END },
	  4, TIMELINE_ARRIVED, 1200, 1100, 1400, 0, 0, 0 },
};

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void walk(const struct path *p, struct timeline *t)
{
	memset(t, 0xee, sizeof(*t));
	timeline_open(t, 7, "vm0", "web", p->role, 1000);
	for (unsigned i = 0; i < MAX_STEPS && p->events[i] != END; i++) {
		uint64_t now = 1000 + STEP_US * (i + 1);
		bool was_running = t->outcome == TIMELINE_RUNNING, complete;
		if (p->events[i] == ANNOUNCED) {
			timeline_announced(t, "rarp", mac, 1, now);
			complete = was_running && t->outcome != TIMELINE_RUNNING;
		} else {
			complete = timeline_feed(t, (enum timeline_event)p->events[i], now);
		}
		assert_int_equal(complete, i + 1 == p->completes);
		assert_int_equal(t->outcome, p->completes && i + 1 >= p->completes ? p->outcome : TIMELINE_RUNNING);
	}
}

static void test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const struct path *p = &paths[i];
		struct timeline t;
		print_message("%s\n", p->name);
		walk(p, &t);
		assert_int_equal(t.outcome, p->outcome);
		assert_int_equal(t.started_us, 1000);
		assert_int_equal(t.stopped_us, p->stopped);
		assert_int_equal(t.running_us, p->running);
		assert_int_equal(t.first_kick_us, p->kick);
		assert_int_equal(t.first_frame_in_us, p->in);
		assert_int_equal(t.first_frame_out_us, p->out);
		assert_int_equal(t.blackout_us, p->blackout);
	}
}

// A front end that sets LOG_ALL on rings that stand still and takes it back: that is over.
static void test_never_ran(void **state)
{
	(void)state;
	struct timeline t;
	timeline_open(&t, 1, "a", NULL, TIMELINE_SOURCE, 1000);
	assert_false(timeline_feed(&t, TL_LOG_ON, 1000));
	assert_false(timeline_feed(&t, TL_RINGS_STOPPED, 1000));
	assert_true(timeline_feed(&t, TL_LOG_OFF, 1500));
	assert_int_equal(t.outcome, TIMELINE_RETURNED);
	timeline_open(&t, 1, "a", NULL, TIMELINE_SOURCE, 1000); // they only waited for the log's memory, and stop later
	assert_false(timeline_feed(&t, TL_RINGS_STOPPED, 1000));
	assert_false(timeline_feed(&t, TL_RINGS_STOPPED, 1400));
	assert_true(timeline_feed(&t, TL_CLOSED, 1500));
	assert_int_equal(t.stopped_us, 1400);
	timeline_open(&t, 1, "a", NULL, TIMELINE_SOURCE, 1000); // a paused machine that goes
	assert_false(timeline_feed(&t, TL_RINGS_STOPPED, 1000));
	assert_true(timeline_feed(&t, TL_CLOSED, 1500));
	assert_int_equal(t.outcome, TIMELINE_LEFT);
}

static void test_open(void **state)
{
	(void)state;
	struct timeline t;
	memset(&t, 0xee, sizeof(t));
	timeline_open(&t, 9, "abcdefghijklmnopqrstuvwxyz0123456789", NULL, TIMELINE_DESTINATION, 5);
	assert_int_equal(t.id, 9);
	assert_string_equal(t.port, "abcdefghijklmnopqrstuvwxyz012345");
	assert_string_equal(t.guest, "");
	assert_int_equal(t.n_announcements, 0);
	assert_int_equal(t.pages_logged | t.held | t.delivered | t.dropped, 0);
	assert_string_equal(timeline_role_name(TIMELINE_SOURCE), "source");
	assert_string_equal(timeline_role_name(TIMELINE_DESTINATION), "destination");
	static const char *const names[] = { "running", "left", "returned", "unknown", "arrived", "?" };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		assert_string_equal(timeline_outcome_name((enum timeline_outcome)i), names[i]);
	assert_string_equal(timeline_role_name((enum timeline_role)2), "?");
}

static void test_join(void **state)
{
	(void)state;
	struct timeline s, d;
	timeline_open(&s, 1, "a", "web", TIMELINE_SOURCE, 1000);
	timeline_open(&d, 2, "b", "web", TIMELINE_DESTINATION, 1500);
	timeline_join(&s, &d); // nothing is known yet
	timeline_feed(&s, TL_RINGS_STOPPED, 2000);
	timeline_feed(&d, TL_RINGS_RUNNING, 2100);
	timeline_feed(&d, TL_FIRST_KICK, 2150);
	timeline_join(&s, &d);
	assert_int_equal(s.blackout_us | d.blackout_us, 0);
	timeline_feed(&d, TL_FIRST_FRAME_OUT, 2300);
	timeline_join(&s, &d);
	assert_int_equal(s.blackout_us, 300);
	assert_int_equal(d.blackout_us, 300);
	timeline_feed(&d, TL_FIRST_FRAME_IN, 2250); // told later, but was earlier
	timeline_join(&s, &d);
	assert_int_equal(d.blackout_us, 250);
	timeline_join(&d, &s); // the wrong way round: nothing
	assert_int_equal(s.blackout_us, 250);

	timeline_open(&s, 1, "a", "web", TIMELINE_SOURCE, 1000);
	timeline_feed(&s, TL_RINGS_STOPPED, 9000);
	timeline_join(&s, &d); // frames from before the stop are no end of a gap
	assert_int_equal(s.blackout_us, 0);
	timeline_open(&s, 1, "a", "web", TIMELINE_SOURCE, 1000);
	timeline_feed(&s, TL_RINGS_STOPPED, 2000);
	timeline_feed(&s, TL_RINGS_RUNNING, 2050);
	timeline_join(&s, &d); // it returned: that was another guest, or another time
	assert_int_equal(s.blackout_us, 0);
}

// -- JSON ----------------------------------------------------------------------------------------------------------------

static json_t *parsed(const struct timeline *t)
{
	size_t need = timeline_json(t, NULL, 0);
	char *buf = malloc(need + 1);
	assert_non_null(buf);
	assert_int_equal(timeline_json(t, buf, need + 1), need);
	assert_int_equal(strlen(buf), need);
	json_error_t error;
	json_t *root = json_loads(buf, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		print_error("%s: %s\n", error.text, buf);
	assert_non_null(root);
	free(buf);
	return root;
}

static void want_moment(const json_t *root, const char *name, uint64_t us)
{
	const json_t *v = json_object_get(root, name);
	assert_non_null(v);
	if (us == 0)
		assert_true(json_is_null(v));
	else
		assert_int_equal(json_integer_value(v), us);
}

static void want_string(const json_t *root, const char *name, const char *want)
{
	const char *got = json_string_value(json_object_get(root, name));
	assert_non_null(got);
	assert_string_equal(got, want);
}

static void want_count(const json_t *root, const char *name, uint64_t want)
{
	const json_t *v = json_object_get(root, name);
	assert_true(json_is_integer(v));
	assert_int_equal(json_integer_value(v), want);
}

static void test_json_of_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct timeline t;
		walk(&paths[i], &t);
		json_t *root = parsed(&t);
		want_count(root, "id", 7);
		want_string(root, "port", "vm0");
		want_string(root, "guest", "web");
		want_string(root, "role", paths[i].role == TIMELINE_SOURCE ? "source" : "destination");
		want_string(root, "outcome", timeline_outcome_name(paths[i].outcome));
		want_moment(root, "started_us", 1000);
		want_moment(root, "stopped_us", paths[i].stopped);
		want_moment(root, "running_us", paths[i].running);
		want_moment(root, "first_kick_us", paths[i].kick);
		want_moment(root, "first_frame_in_us", paths[i].in);
		want_moment(root, "first_frame_out_us", paths[i].out);
		want_moment(root, "blackout_us", paths[i].blackout);
		want_moment(root, "started_wall_us", 0);
		assert_int_equal(json_object_size(root), 19);
		json_decref(root);
	}
}

static void test_json_counts_and_announcements(void **state)
{
	(void)state;
	static const char *const kinds[] = { "rarp", "garp", "na" };
	struct timeline t;
	timeline_open(&t, UINT64_C(1) << 40, "vm0", "", TIMELINE_SOURCE, 1000);
	t.pages_logged = 1, t.held = 2, t.delivered = 3, t.dropped = 4, t.started_wall_us = UINT64_C(1764000000000000);
	for (unsigned i = 0; i < TIMELINE_MAX_ANNOUNCEMENTS + 5; i++)
		timeline_announced(&t, kinds[i % 3], mac, i / 3 + 1, 2000 + i);
	json_t *root = parsed(&t);
	assert_true(json_is_null(json_object_get(root, "guest")));
	want_count(root, "id", UINT64_C(1) << 40);
	want_count(root, "pages_logged", 1);
	want_moment(root, "started_wall_us", UINT64_C(1764000000000000));
	want_count(root, "held", 2);
	want_count(root, "delivered", 3);
	want_count(root, "dropped", 4);
	want_count(root, "announcements_left_out", 5);
	json_t *list = json_object_get(root, "announcements");
	assert_int_equal(json_array_size(list), TIMELINE_MAX_ANNOUNCEMENTS);
	for (unsigned i = 0; i < TIMELINE_MAX_ANNOUNCEMENTS; i++) {
		json_t *a = json_array_get(list, i);
		want_string(a, "kind", kinds[i % 3]);
		want_string(a, "mac", "52:54:00:12:34:56");
		want_count(a, "round", i / 3 + 1);
		want_count(a, "time_us", 2000 + i);
		assert_int_equal(json_object_size(a), 4);
	}
	json_decref(root);
}

static void test_json_strings(void **state)
{
	(void)state;
	struct timeline t;
	timeline_open(&t, 1, "a\"b\\c\n\x01\x7f", "\xff\xc3", TIMELINE_SOURCE, 1);
	json_t *root = parsed(&t);
	want_string(root, "port", "a\"b\\c\n\x01\x7f");
	want_string(root, "guest", "\xc3\xbf\xc3\x83"); // bytes that are no UTF-8 become the characters of their number
	json_decref(root);
}

// snprintf's way: any size gives the same length, a prefix, and no byte beyond.
static void test_json_short_buffers(void **state)
{
	(void)state;
	struct timeline t;
	char whole[1024];
	timeline_open(&t, 1, "vm0", "web", TIMELINE_SOURCE, 1);
	timeline_announced(&t, "garp", mac, 1, 3);
	size_t need = timeline_json(&t, whole, sizeof(whole));
	assert_true(need < sizeof(whole));
	for (size_t size = 0; size <= need + 1; size++) {
		char *buf = malloc(size + (size == 0));
		assert_non_null(buf);
		assert_int_equal(timeline_json(&t, buf, size), need);
		if (size) {
			assert_int_equal(strlen(buf), size - 1);
			assert_memory_equal(buf, whole, size - 1);
		}
		free(buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths), cmocka_unit_test(test_never_ran), cmocka_unit_test(test_open), cmocka_unit_test(test_join),
		cmocka_unit_test(test_json_of_paths), cmocka_unit_test(test_json_counts_and_announcements),
		cmocka_unit_test(test_json_strings), cmocka_unit_test(test_json_short_buffers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
