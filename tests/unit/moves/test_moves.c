// A guest that moves, from port to port, to itself, over a crash: where its frames go, who is told, what the record says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "scene.h"
#include "store/store.h"

#define LOG_BYTES 4096 // 128 MiB of guest memory
#define GUEST 7 // number of the MAC that moves
#define PEER 8

static const char *const named[] = { "vhost-user,id=a,guest=g", "vhost-user,id=b,guest=g", "vhost-user,id=c", NULL };
static const char *const plain[] = { "vhost-user,id=a,max-macs=4", "vhost-user,id=b,max-macs=4", "vhost-user,id=c", NULL };

static int log_file(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(fd >= 0 && ftruncate(fd, LOG_BYTES) == 0);
	return fd;
}

// a runs the guest, c a peer, and both know each other.
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

static void test_guest_option(void **state)
{
	struct daemon d;
	struct guest a, b, c;
	(void)state;
	set_up(&d, named, &a, &c);
	int log = log_file();
	assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
	guest_open(&b, &d, "b", GUEST, 300);
	guest_stop(&a);
	guest_send(&c, &a, 40); // nobody runs the guest: held
	guest_start(&b);
	struct heard h = guest_hear(&b, b.mac, 40, 0, 3000);
	assert_int_equal(h.numbered, 40);
	assert_true(h.in_order && h.first == 1);
	guest_send(&c, &b, 5);
	h = guest_hear(&b, b.mac, 5, 0, 2000);
	assert_true(h.numbered == 5 && h.first == 41);
	h = guest_hear(&c, a.mac, 0, 5, 2000); // all rounds, though the guest said nothing
	assert_int_equal(h.rarps, 5);
	h = guest_hear(&c, a.mac, 0, 1, 300); // and no more
	assert_int_equal(h.rarps, 0);
	guest_close(&a);
	guest_close(&b);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "source"), "left");
	assert_string_equal(scene_outcome(s, "b", "destination"), "arrived");
	assert_int_equal(scene_events(s, "b", "announce.round"), 5);
	assert_int_equal(scene_owed(s), 0);
	scene_clean(&d, s);
	close(log);
}

// Cancelled after the stop: logging ends while nothing runs, then the same rings start again.
static void test_returned(void **state)
{
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	int log = log_file();
	assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
	guest_stop(&a);
	guest_send(&c, &a, 10);
	assert_int_equal(fe_log_stop(a.fe), FE_OK);
	guest_start(&a);
	struct heard h = guest_hear(&a, a.mac, 10, 0, 3000);
	assert_true(h.numbered == 10 && h.in_order);
	h = guest_hear(&c, a.mac, 0, 5, 2000);
	assert_int_equal(h.rarps, 5);
	guest_stop(&a); // without a log: a pause tells nobody anything
	guest_start(&a);
	h = guest_hear(&c, a.mac, 0, 1, 300);
	assert_int_equal(h.rarps, 0);
	guest_close(&a);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "source"), "returned");
	scene_clean(&d, s);
	close(log);
}

// SEND_RARP comes before the rings: what was held for that address waits for them.
static void test_rarp(void **state)
{
	struct daemon d;
	struct guest a, b, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	guest_open(&b, &d, "b", GUEST, 300);
	guest_stop(&a);
	guest_send(&c, &a, 10);
	guest_rarp(&b, b.mac);
	guest_send(&c, &a, 10); // for b by now, whose rings are not there yet
	guest_start(&b);
	struct heard h = guest_hear(&b, b.mac, 20, 0, 3000);
	assert_true(h.numbered == 20 && h.in_order);
	for (unsigned i = 0; i < 4; i++) { // QEMU's own schedule: it adds nothing
		static const unsigned wait[] = { 50, 150, 250, 350 };
		daemon_nap(wait[i]);
		guest_rarp(&b, b.mac);
	}
	h = guest_hear(&c, a.mac, 0, 6, 1500);
	assert_int_equal(h.rarps, 5);
	for (uint32_t n = 0; n < 20; n++) { // others than its own: as many as max-macs
		uint8_t mac[6];
		frame_mac(mac, 1000 + n);
		guest_rarp(&b, mac);
	}
	daemon_nap(1000);
	guest_close(&a);
	guest_close(&b);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_int_equal(scene_events(s, "b", "announce.round"), 4 * 5);
	scene_clean(&d, s);
}

// Nobody says anything but the guest itself: its first frame is told on, what was held stays where it is.
static void test_learned(void **state)
{
	struct daemon d;
	struct guest a, b, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	int log = log_file();
	assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
	guest_open(&b, &d, "b", GUEST, 300);
	guest_stop(&a);
	guest_send(&c, &a, 10);
	guest_start(&b);
	guest_hello(&b);
	struct heard h = guest_hear(&c, a.mac, 0, 5, 2000);
	assert_int_equal(h.rarps, 5);
	guest_send(&c, &b, 3);
	h = guest_hear(&b, b.mac, 3, 0, 1000);
	assert_int_equal(h.numbered, 3);
	assert_int_equal(h.first, 11); // the ten before are not for whoever says that MAC
	guest_close(&a);
	guest_close(&b);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "source"), "left");
	assert_string_equal(scene_outcome(s, "b", "destination"), "arrived");
	scene_clean(&d, s);
	close(log);
}

// Killed between two rounds: those that are owed come after the restart, though the guest's port is empty then.
static void test_owed(void **state)
{
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	guest_rarp(&a, a.mac);
	struct heard h = guest_hear(&c, a.mac, 0, 2, 1000);
	assert_int_equal(h.rarps, 2);
	daemon_kill(&d);
	fe_disconnect(c.fe);
	guest_close(&a);
	assert_true(daemon_again(&d));
	fe_bases_from_memory(c.fe);
	assert_true(fe_connect(c.fe, daemon_path(&d, "c")) && fe_negotiate(c.fe) == FE_OK);
	guest_start(&c);
	daemon_nap(1000);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_in_range(scene_events(s, "a", "announce.round"), 5, 6); // one at most is said twice
	assert_int_equal(scene_events(s, "a", "announce.resumed"), 1);
	assert_int_equal(scene_owed(s), 0);
	scene_clean(&d, s);
}

// The connection ends while rings run: frames wait for the front end that comes back, and that is no migration.
static void test_comes_back(void **state)
{
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	guest_send(&c, &a, 3);
	assert_int_equal(guest_hear(&a, a.mac, 3, 0, 1000).numbered, 3);
	fe_disconnect(a.fe);
	fe_bases_from_memory(a.fe);
	assert_true(fe_connect(a.fe, daemon_path(&d, "a")) && fe_negotiate(a.fe) == FE_OK);
	guest_send(&c, &a, 10);
	guest_start(&a);
	struct heard h = guest_hear(&a, a.mac, 10, 0, 3000);
	assert_true(h.numbered == 10 && h.in_order);
	guest_close(&a);
	guest_send(&c, &a, 10);
	daemon_nap(1300); // hold-ms is over
	guest_open(&a, &d, "a", GUEST, 0);
	guest_start(&a);
	assert_int_equal(guest_hear(&a, a.mac, 1, 0, 200).numbered, 0);
	guest_close(&a);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "destination"), "none");
	scene_clean(&d, s);
}

// What was acknowledged stays offered, though the SPEC says otherwise by now; a base that is not the last one is reported.
static void test_restart(void **state)
{
	static const char *const less[] = { "--port", "vhost-user,id=a,features=-mrg_rxbuf", "--port", "vhost-user,id=b,features=-mrg_rxbuf",
					    NULL };
	struct daemon d;
	struct guest a, b;
	(void)state;
	scene_start(&d, plain);
	guest_open(&a, &d, "a", GUEST, 5);
	guest_start(&a);
	guest_stop(&a);
	daemon_kill(&d);
	for (unsigned i = 0; i < 5; i++)
		d.arg[i] = less[i];
	guest_close(&a);
	assert_true(daemon_again(&d));
	guest_open(&a, &d, "a", GUEST, 9);
	guest_open(&b, &d, "b", GUEST + 1, 0);
	assert_true(bits_has(a.fe->offered, VIRTIO_NET_F_MRG_RXBUF));
	assert_false(bits_has(b.fe->offered, VIRTIO_NET_F_MRG_RXBUF)); // nobody was there: nothing is pinned
	guest_start(&a);
	guest_close(&a);
	guest_close(&b);
	struct store *s = scene_end(&d);
	assert_int_equal(scene_events(s, "a", "store.base_differs"), 2); // both rings
	scene_clean(&d, s);
}

// One path, two front ends: while the first one's rings rest for a log, the second one's must not be taken for their heirs.
static void test_turns(void **state)
{
	struct daemon d;
	struct guest a, b, c;
	(void)state;
	set_up(&d, plain, &a, &c);
	guest_open(&b, &d, "a", GUEST, 300);
	uint64_t with_log = a.fe->features | BIT64(VHOST_F_LOG_ALL) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	assert_int_equal(fe_ack(a.fe, 2, &with_log, sizeof(with_log), NULL, 0), FE_OK); // no log yet: nothing moves
	guest_start(&b);
	guest_send(&c, &a, 10);
	assert_int_equal(guest_hear(&b, b.mac, 1, 0, 100).numbered, 0);
	int log = log_file();
	assert_int_equal(fe_log_base(a.fe, log, LOG_BYTES, 0), FE_OK);
	struct heard h = guest_hear(&a, a.mac, 10, 0, 2000);
	assert_true(h.numbered == 10 && h.in_order);
	guest_send(&c, &a, 10);
	assert_int_equal(guest_hear(&a, a.mac, 10, 0, 2000).numbered, 10);
	guest_stop(&a); // its turn now
	guest_send(&c, &a, 10);
	h = guest_hear(&b, b.mac, 10, 0, 2000);
	assert_true(h.numbered == 10 && h.in_order);
	h = guest_hear(&c, a.mac, 0, 5, 2000); // it logged before the stop
	assert_int_equal(h.rarps, 5);
	guest_close(&a);
	guest_send(&c, &a, 10); // the end of the first connection is nothing to the second
	assert_int_equal(guest_hear(&b, b.mac, 10, 0, 2000).numbered, 10);
	guest_close(&b);
	guest_close(&c);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "destination"), "arrived");
	scene_clean(&d, s);
	close(log);
}

static void limit_files(const struct daemon *d, rlim_t bytes)
{
	struct rlimit r = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };
	assert_int_equal(prlimit(daemon_worker(d), RLIMIT_FSIZE, &r, NULL), 0);
}

// No file can grow: what runs goes on, what would change is refused, and later it is possible again.
static void test_full_disk(void **state)
{
	struct daemon d;
	struct guest a, b, c;
	struct vu_state disable = { .index = 0, .num = 0 };
	(void)state;
	set_up(&d, plain, &a, &c);
	guest_open(&b, &d, "b", GUEST + 5, 0);
	assert_int_equal(fe_barrier(b.fe), FE_OK); // all that needs no answer is through
	assert_int_equal(fe_barrier(a.fe), FE_OK);
	limit_files(&d, 1);
	enum fe_res res = fe_ack(b.fe, 18, &disable, sizeof(disable), NULL, 0);
	if (!daemon_alive(&d))
		fail_msg("the daemon ended with status 0x%x", (unsigned)d.status);
	assert_int_equal(res, FE_NACK);
	guest_send(&c, &a, 10);
	assert_int_equal(guest_hear(&a, a.mac, 10, 0, 2000).numbered, 10);
	guest_stop(&a); // always answered
	limit_files(&d, RLIM_INFINITY);
	assert_int_equal(fe_ack(b.fe, 18, &disable, sizeof(disable), NULL, 0), FE_OK);
	guest_start(&a);
	guest_start(&b);
	guest_send(&c, &a, 10);
	assert_int_equal(guest_hear(&a, a.mac, 10, 0, 2000).numbered, 10);
	guest_close(&a);
	guest_close(&b);
	guest_close(&c);
	struct store *s = scene_end(&d);
	scene_clean(&d, s);
}

static void last_listening(void *arg, uint64_t seq, uint64_t time_us, const char *port, const char *type, const char *detail)
{
	(void)seq, (void)time_us;
	if (strcmp(port, "a") == 0 && strcmp(type, "port.listening") == 0)
		snprintf(arg, 400, "%s", detail);
}

// Why nobody is connected: a refusal is the reason if it kept the guest from running, not if it was just one answer on the way.
static void test_reason(void **state)
{
	static const char *const ports[] = { "vhost-user,id=a", NULL };
	static const uint32_t wrong[2] = { 500, 1 };
	(void)state;
	for (unsigned turn = 0; turn < 3; turn++) {
		bool ran = turn != 0, cut = turn == 2;
		struct daemon d;
		struct guest a;
		struct why why;
		char reason[400] = "";
		scene_start(&d, ports);
		guest_open(&a, &d, "a", GUEST, 0);
		if (ran)
			guest_start(&a);
		assert_int_equal(fe_ack(a.fe, 18, wrong, sizeof(wrong), NULL, 0), FE_NACK);
		struct conn_msg msg;
		if (cut) { // no message begins like this
			assert_true(conn_send(a.fe->sock, "............", 12, NULL, 0));
			assert_int_equal(conn_recv(a.fe->sock, &msg, 2000), CONN_CLOSED);
		}
		guest_close(&a);
		struct store *s = scene_end(&d);
		assert_int_equal(store_each_event(s, 0, last_listening, reason, &why), OK);
		if (cut)
			assert_non_null(strstr(reason, "the last front end was closed: "));
		else if (ran)
			assert_string_equal(reason, "no front end is connected");
		else
			assert_non_null(strstr(reason, "SET_VRING_ENABLE"));
		scene_clean(&d, s);
	}
}

// Logging that comes and goes while the guest runs, with and without memory for the log, is over when it is over; a reboot on the way
// is no return.
static void test_log_and_reboot(void **state)
{
	struct daemon d;
	struct guest a, c;
	(void)state;
	set_up(&d, named, &a, &c);
	uint64_t acked = a.fe->features, logged = acked | UINT64_C(1) << 26;
	assert_int_equal(fe_ack(a.fe, 2, &logged, sizeof(logged), NULL, 0), FE_OK);
	assert_int_equal(fe_ack(a.fe, 2, &acked, sizeof(acked), NULL, 0), FE_OK);
	guest_send(&c, &a, 3); // all has happened when the frames are there
	assert_int_equal(guest_hear(&a, a.mac, 3, 0, 2000).numbered, 3);
	guest_close(&c);
	guest_close(&a);
	struct store *s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "source"), "returned");
	scene_clean(&d, s);

	set_up(&d, named, &a, &c);
	int log = log_file();
	assert_int_equal(fe_log_start(a.fe, log, LOG_BYTES, 0), FE_OK);
	guest_stop(&a);
	guest_start(&a); // the guest rebooted
	guest_send(&c, &a, 3);
	assert_int_equal(guest_hear(&a, a.mac, 3, 0, 2000).numbered, 3);
	guest_stop(&a);
	guest_close(&a);
	guest_close(&c);
	s = scene_end(&d);
	assert_string_equal(scene_outcome(s, "a", "source"), "left");
	scene_clean(&d, s);
	close(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_option), cmocka_unit_test(test_returned), cmocka_unit_test(test_rarp),
		cmocka_unit_test(test_learned),	     cmocka_unit_test(test_owed),     cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_restart),	     cmocka_unit_test(test_turns),     cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_reason),	     cmocka_unit_test(test_log_and_reboot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
