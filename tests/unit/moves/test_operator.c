// What an operator does while guests run: drain, announce, change addresses; and what the books say of frames that were lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/neigh.h"
#include "scene.h"
#include "wire/vu_table.h"

#define LOG_BYTES 4096 // 128 MiB of guest memory
#define GUEST 7
#define PEER 8

static void set_up(struct daemon *d, const char *const *ports, struct guest *a, struct guest *c)
{
	scene_start(d, ports);
	guest_open(a, d, "a", GUEST, 0);
	guest_open(c, d, "c", PEER, 0);
	guest_start(a);
	guest_start(c);
	guest_hello(a);
	guest_hello(c);
	guest_hear(a, a->mac, 1, 1, 50);
	guest_hear(c, a->mac, 1, 1, 50);
}

static void test_drain(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a", "vhost-user,id=c", "null,id=n", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, ports, &a, &c);
	assert_null(strstr(scene_call(&d, "drain", "{\"id\":\"a\"}"), "error"));
	assert_non_null(strstr(scene_call(&d, "ports", "{\"id\":\"a\"}"), "draining"));
	guest_send(&c, &a, 20);
	assert_int_equal(guest_hear(&a, a.mac, 1, 0, 200).numbered, 0);
	assert_non_null(strstr(scene_call(&d, "announce", "{\"id\":\"a\"}"), "drained"));
	guest_rarp(&a, a.mac);
	assert_int_equal(guest_hear(&c, a.mac, 0, 1, 200).rarps, 0);
	assert_null(strstr(scene_call(&d, "undrain", "{\"id\":\"a\"}"), "error"));
	struct heard h = guest_hear(&a, a.mac, 20, 0, 2000);
	assert_true(h.numbered == 20 && h.in_order);
	assert_int_equal(guest_hear(&c, a.mac, 0, 5, 2000).rarps, 5); // what it was to say
	assert_non_null(strstr(scene_call(&d, "drain", "{\"id\":\"n\"}"), "error"));
	guest_close(&a);
	guest_close(&c);
	scene_clean(&d, scene_end(&d));
}

// A guest that never arrives: what was held for it is lost, and all the books say so.
static void test_lost(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a,hold-ms=300", "vhost-user,id=c", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, ports, &a, &c);
	int log = memfd_create("log", MFD_CLOEXEC);
	assert_true(log >= 0 && ftruncate(log, LOG_BYTES) == 0);
	assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
	guest_stop(&a);
	guest_send(&c, &a, 17);
	guest_close(&a);
	daemon_nap(900);
	assert_non_null(strstr(scene_call(&d, "stats", "{\"id\":\"a\"}"), "\"hold_old\":17"));
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_int_equal(scene_events(s, "a", "hold.dropped"), 1);
	assert_string_equal(scene_outcome(s, "a", "source"), "left");
	assert_int_equal(scene_figure(s, "a", "source", "held"), 17);
	assert_int_equal(scene_figure(s, "a", "source", "dropped"), 17);
	scene_clean(&d, s);
	close(log);
}

// Frames of a pause (logging asked for, no log given) whose front end died wait no longer than hold-ms.
static void test_dead_pause(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a,hold-ms=300", "vhost-user,id=c", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, ports, &a, &c);
	uint64_t with_log = a.fe->features | BIT64(VHOST_F_LOG_ALL) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	assert_int_equal(fe_ack(a.fe, 2, &with_log, sizeof(with_log), NULL, 0), FE_OK);
	guest_send(&c, &a, 5);
	guest_close(&a);
	daemon_nap(50);
	guest_send(&c, &a, 5);
	daemon_nap(900);
	assert_non_null(strstr(scene_call(&d, "stats", "{\"id\":\"a\"}"), "\"hold_old\":10"));
	guest_open(&a, &d, "a", GUEST, 0);
	guest_start(&a);
	assert_int_equal(guest_hear(&a, a.mac, 1, 0, 200).numbered, 0);
	guest_close(&a);
	guest_close(&c);
	scene_clean(&d, scene_end(&d));
}

// The destination of a move is added while the guest runs; a SPEC that says what is there already is no change.
static void test_destination_added(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a,guest=g,mac=02:00:00:00:00:01", "vhost-user,id=c", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	scene_start(&d, ports);
	guest_open(&a, &d, "a", GUEST, 0);
	guest_open(&c, &d, "c", PEER, 0);
	memcpy(a.mac, "\2\0\0\0\0\1", 6);
	guest_start(&a);
	guest_start(&c);
	const char *add = "{\"spec\":\"vhost-user,id=b,guest=g,mac=02:00:00:00:00:01\"}";
	assert_null(strstr(scene_call(&d, "port.add", add), "error"));
	guest_send(&c, &a, 3);
	assert_int_equal(guest_hear(&a, a.mac, 3, 0, 1000).numbered, 3);
	assert_in_range(guest_hear(&c, a.mac, 0, 5, 1500).rarps, 3, 5); // the rounds that it owed were not cancelled
	assert_null(strstr(scene_call(&d, "port.set", "{\"id\":\"b\",\"set\":[\"label=x\"]}"), "error"));
	guest_send(&c, &a, 3);
	assert_int_equal(guest_hear(&a, a.mac, 3, 0, 1000).numbered, 3);
	assert_null(strstr(scene_call(&d, "port.set", "{\"id\":\"b\",\"set\":[\"label=x\"]}"), "error"));
	guest_close(&a);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_int_equal(scene_events(s, "b", "port.changed"), 1);
	scene_clean(&d, s);
}

// Many addresses at once are announced at a pace that the network bears, and none is left out.
static void test_pace(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a,max-macs=1000", "vhost-user,id=c", NULL };
	enum { MACS = 120, IPS = 7, ROUNDS = 5 };
	struct daemon d;
	struct guest a, c;
	uint8_t own[6];
	(void)state;
	set_up(&d, ports, &a, &c);
	memcpy(own, a.mac, 6);
	for (uint32_t i = 0; i < MACS; i++) {
		frame_mac(a.mac, 1000 + i);
		for (uint8_t k = 0; k < IPS; k++) {
			uint8_t frame[NEIGH_FRAME_MAX];
			struct ip_addr ip = { .family = 4, .addr = { 10, 0, (uint8_t)i, k } };
			assert_true(net_send(&a.net, frame, neigh_build_garp(frame, a.mac, 0, &ip), NULL, 1000));
		}
	}
	assert_true(net_tx_drain(&a.net, 1000));
	assert_non_null(strstr(scene_call(&d, "announce", "{\"id\":\"a\"}"), "\"addresses\":121"));
	guest_hear(&c, own, 0, ROUNDS + 1, 4000); // 4800 frames
	guest_close(&a);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_int_equal(scene_events(s, "a", "announce.round"), (MACS + 1) * ROUNDS);
	assert_in_range(scene_events_within(s, "a", "announce.round", 100000), 20, (256 + 200 + 64) / (1 + IPS));
	scene_clean(&d, s);
}

// A front end that turns its log on and off pushes no record out of the store.
static void test_toggles(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a", "vhost-user,id=c", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, ports, &a, &c);
	int log = memfd_create("log", MFD_CLOEXEC);
	assert_true(log >= 0 && ftruncate(log, LOG_BYTES) == 0);
	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
		assert_int_equal(fe_log_stop(a.fe), FE_OK);
	}
	guest_close(&a);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_in_range(scene_events(s, "a", "migration.started"), 1, 20);
	assert_string_equal(scene_outcome(s, "a", "source"), "returned");
	scene_clean(&d, s);
	close(log);
}

// Nor does one that comes and goes push anything out of the journal; what was left out is told.
static void test_journal(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a", "vhost-user,id=c", NULL };
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, ports, &a, &c);
	guest_close(&a);
	for (unsigned i = 0; i < 500; i++) {
		int sock = conn_connect(daemon_path(&d, "a"), 3000);
		assert_true(sock >= 0);
		close(sock);
		daemon_nap(i % 50 == 49 ? 20 : 0);
	}
	const char *waited = scene_call(&d, "wait", "{\"id\":\"a\",\"state\":\"listening\",\"timeout_ms\":5000}");
	assert_non_null(strstr(waited, "listening")); // who waits is told, journal or not
	daemon_nap(10100);
	close(conn_connect(daemon_path(&d, "a"), 3000));
	daemon_nap(100);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_in_range(scene_events(s, "a", "port.connected") + scene_events(s, "a", "port.disconnected"), 10, 66);
	assert_int_equal(scene_events(s, "a", "port.events_left_out"), 1);
	scene_clean(&d, s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_dead_pause),
		cmocka_unit_test(test_destination_added),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_toggles),
		cmocka_unit_test(test_journal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
