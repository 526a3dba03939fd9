// When a ring runs, where it starts and goes on, and what a running ring must not notice.
#include "devbed.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "dirty/dirty.h"

static bool runs(const struct devbed *b, unsigned q)
{
	return b->ring[q] != NULL && b->how[q] == DEV_RUN;
}

static void starts_when_all_is_there(void **state)
{
	struct devbed *b = *state;
	static const uint32_t need[] = { VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_VRING_ENABLE, VU_SET_VRING_KICK,
			VU_SET_MEM_TABLE };
	for (unsigned last = 0; last < ARRAY_LEN(need); last++) { // whatever comes last starts it, nothing before does
		struct devbed fresh;
		bed_open(&fresh, 2);
		bed_negotiate(&fresh, 0);
		for (unsigned i = 0; i < ARRAY_LEN(need); i++)
			if (i != last)
				bed_ok(&fresh, need[i], 1);
		assert_false(runs(&fresh, 1));
		assert_false(dev_ring_running(fresh.dev, 1));
		bed_ok(&fresh, need[last], 1);
		assert_true(runs(&fresh, 1));
		assert_int_equal(dev_rings_running(fresh.dev), 1);
		bed_close(&fresh);
	}
	assert_int_equal(dev_rings_running(b->dev), 0);
}

static void enable_and_disable(void **state)
{
	struct devbed *b = *state;
	bed_configure(b, 2);
	bed_ok(b, VU_SET_VRING_KICK, 1); // never enabled yet: parked
	assert_null(b->ring[1]);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 1));
	assert_true(runs(b, 1));
	bed_progress(b, 1, 5);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 0)); // explicitly: consumed and discarded
	assert_non_null(b->ring[1]);
	assert_int_equal(b->how[1], DEV_DISCARD);
	assert_int_equal(vring_position(b->ring[1]).avail, 5);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 1));
	assert_true(runs(b, 1));
	assert_int_equal(vring_position(b->ring[1]).used, 5);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(1, 1)); // nothing changes: nothing is done
	assert_int_equal(b->n_steps, 0);
}

static void without_bit_30_all_are_enabled(void **state)
{
	struct devbed *b = *state;
	bed_configure(b, 4);
	for (unsigned q = 0; q < 4; q++)
		bed_ok(b, VU_SET_VRING_KICK, q);
	assert_int_equal(dev_rings_running(b->dev), 0);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked & ~BIT64(VHOST_USER_F_PROTOCOL_FEATURES));
	assert_int_equal(dev_rings_running(b->dev), 4);
}

static void features_again_change_nothing(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 4);
	bed_ok64(b, VU_SET_VRING_ENABLE, state_u64(2, 0));
	bed_ok(b, VU_SET_FEATURES, 0); // QEMU repeats them for each queue pair
	assert_int_equal(b->n_steps, 0);
	assert_true(runs(b, 0) && runs(b, 1) && runs(b, 3));
	assert_int_equal(b->how[2], DEV_DISCARD);
}

static unsigned stop(struct devbed *b, unsigned q)
{
	uint64_t v = bed_ok64(b, VU_GET_VRING_BASE, state_u64(q, 0));
	assert_int_equal((uint32_t)v, q);
	return (unsigned)(v >> 32);
}

static void base_round_trip(void **state)
{
	struct devbed *b = *state;
	static const uint16_t at[] = { 0, 1, BED_NUM - 1, BED_NUM, 0x7fff, 65534, 65535 };
	bed_run(b, 2);
	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		unsigned was = stop(b, 1);
		assert_null(b->ring[1]);
		assert_int_equal(dev_snap(b->dev)->ring[1].base, was);
		assert_false(dev_snap(b->dev)->ring[1].has_addr);
		assert_true(dev_snap(b->dev)->ring[1].enabled); // kept
		assert_int_equal(stop(b, 1), was); // again: the same answer
		bed_used_idx(b, 1, at[i]);
		bed_ok(b, VU_SET_VRING_NUM, 1);
		bed_ok64(b, VU_SET_VRING_BASE, state_u64(1, at[i]));
		bed_ok(b, VU_SET_VRING_ADDR, 1);
		bed_ok(b, VU_SET_VRING_KICK, 1);
		assert_true(runs(b, 1));
		assert_int_equal(vring_position(b->ring[1]).avail, at[i]);
		bed_progress(b, 1, 3); // over the wrap, too
		assert_int_equal(b->differs[0], '\0');
	}
	assert_int_equal(stop(b, 1), 2);
	assert_int_equal(stop(b, 3), 0); // never set up
	assert_true(runs(b, 0)); // the others go on
}

static void base_ahead_of_used(void **state)
{
	struct devbed *b = *state;
	bed_configure(b, 1);
	bed_used_idx(b, 0, 65530);
	bed_ok64(b, VU_SET_VRING_BASE, state_u64(0, 4)); // 10 ahead, over the wrap
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(vring_position(b->ring[0]).avail, 65530);
	assert_non_null(strstr(b->differs, "65530"));
	assert_int_equal(stop(b, 0), 65530);
}

static void no_base_given(void **state)
{
	struct devbed *b = *state;
	bed_negotiate(b, 0);
	bed_memory(b);
	bed_used_idx(b, 0, 1000);
	bed_ok(b, VU_SET_VRING_NUM, 0);
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(vring_position(b->ring[0]).avail, 1000);
}

static void stop_retracts_before_all(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	stop(b, 0);
	assert_int_equal(b->step[0].what, STEP_RETRACT);
	assert_int_equal(b->step[0].bits, 1); // for good
	assert_int_equal(b->step[1].what, STEP_COMMIT);
	assert_false(dev_snap(b->dev)->ring[0].started);
	assert_int_equal(dev_snap(b->dev)->ring[0].kick, SNAP_FD_UNSET);
	assert_int_equal(dev_snap(b->dev)->ring[0].call, SNAP_FD_UNSET);
}

static void log_start_keeps_position(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 4);
	for (unsigned q = 0; q < 4; q++)
		bed_progress(b, q, (uint16_t)(10 + q));
	bed_start_log(b);
	assert_true(dev_logging(b->dev));
	for (unsigned q = 0; q < 4; q++) {
		assert_true(runs(b, q));
		assert_int_equal(vring_position(b->ring[q]).avail, 10 + q);
		assert_non_null(b->ring[q]->log);
		assert_true(b->ring[q]->log_used);
		assert_int_equal(b->ring[q]->used_log_gpa, bed_ring_gpa(q) + 0x2000);
	}
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked & ~BIT64(VHOST_F_LOG_ALL)); // cancelled
	assert_false(dev_logging(b->dev));
	assert_false(dev_snap(b->dev)->has_log);
	for (unsigned q = 0; q < 4; q++) {
		assert_true(runs(b, q));
		assert_null(b->ring[q]->log);
		assert_int_equal(vring_position(b->ring[q]).avail, 10 + q);
	}
}

static void log_gate(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_progress(b, 0, 7);
	bed_progress(b, 1, 1000);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked | BIT64(VHOST_F_LOG_ALL));
	assert_null(b->ring[0]); // no log yet: nothing may be written
	assert_null(b->ring[1]);
	const char *reason, *hint;
	dev_explain(b->dev, &reason, &hint);
	assert_non_null(strstr(reason, "log"));
	assert_true(bed_nacked64(b, VU_SET_VRING_NUM, state_u64(1, 32)) || !dev_ring_running(b->dev, 1));
	assert_int_equal(dev_snap(b->dev)->ring[1].num, BED_NUM);
	bed_ok(b, VU_SET_LOG_BASE, 0);
	assert_int_equal(vring_position(b->ring[0]).avail, 7);
	assert_int_equal(vring_position(b->ring[1]).avail, 1000);
	assert_non_null(b->ring[1]->log);
}

static void stop_behind_the_log_gate(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_progress(b, 1, 1000);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked | BIT64(VHOST_F_LOG_ALL));
	assert_int_equal(stop(b, 1), 1000);
}

// A start while a migration is under way: LOG_ALL and the kicks come before the log.
static void start_while_logging(void **state)
{
	struct devbed *b = *state;
	bed_negotiate(b, BIT64(VHOST_F_LOG_ALL));
	bed_memory(b);
	for (unsigned q = 0; q < 2; q++) {
		bed_ok(b, VU_SET_VRING_NUM, q);
		bed_ok(b, VU_SET_VRING_ADDR, q);
		bed_ok(b, VU_SET_VRING_ENABLE, q);
		bed_ok(b, VU_SET_VRING_KICK, q);
		assert_null(b->ring[q]);
	}
	bed_ok(b, VU_SET_LOG_BASE, 0);
	assert_true(runs(b, 0) && runs(b, 1));
	// stopped and started again: the log of before is not the one that the front end reads now
	stop(b, 0);
	assert_true(dev_logging(b->dev));
	stop(b, 1);
	assert_false(dev_logging(b->dev));
	bed_ok(b, VU_SET_VRING_ADDR, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_null(b->ring[0]);
	bed_ok(b, VU_SET_LOG_BASE, 0);
	assert_true(runs(b, 0));
}

static void log_replaced_keeps_counters(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 1);
	bed_start_log(b);
	dirty_mark(b->ring[0]->log, 0x3000, 8192);
	assert_int_equal(dev_pages_logged(b->dev), 2);
	struct dirty_log *old = b->ring[0]->log;
	bed_ok(b, VU_SET_LOG_BASE, 0);
	assert_ptr_not_equal(b->ring[0]->log, old);
	assert_int_equal(dev_pages_logged(b->dev), 2);
	assert_int_equal(bed_count(b, STEP_SYNC, UINT32_MAX) > 0, 1);
	assert_int_equal(dev_pages_missed(b->dev), 0);
}

static void address_in_mid_run(void **state)
{
	struct devbed *b = *state;
	struct request r;
	struct dev_reply reply;
	bed_run(b, 2);
	bed_progress(b, 1, 12);
	request_good(b, &r, VU_SET_VRING_ADDR, 1);
	uint64_t desc = BED_UADDR + 0x80000;
	memcpy(r.payload + 8, &desc, 8);
	bed_send(b, &r, &reply);
	assert_int_equal(b->step[0].what, STEP_COMMIT);
	assert_int_equal(b->step[1].what, STEP_RETRACT);
	assert_int_equal(b->step[1].bits, 0); // a short pause
	assert_int_equal(bed_count(b, STEP_PUBLISH, 1), 1);
	assert_int_equal(bed_count(b, STEP_RETRACT, 0), 0); // the other ring is left alone
	assert_int_equal(vring_position(b->ring[1]).avail, 12);
	assert_int_equal((uint64_t)((const uint8_t *)b->ring[1]->desc - (const uint8_t *)b->ring[1]->avail),
			 0x80000 - bed_ring_gpa(1) - 0x1000); // translated at once
}

static void memory_swapped_under_rings(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_progress(b, 0, 3);
	const void *old = b->ring[0]->desc;
	unsigned commits = b->commits;
	uint64_t from = dev_snap(b->dev)->region[0].from;
	bed_ok(b, VU_SET_MEM_TABLE, 0); // the same layout, but the files may be others: their names are stored
	assert_int_equal(b->commits, commits + 1);
	assert_int_equal(dev_snap(b->dev)->region[0].from, b->seq);
	assert_true(from < b->seq);
	assert_ptr_not_equal(b->ring[0]->desc, old);
	assert_int_equal(vring_position(b->ring[0]).avail, 3);
	assert_int_equal(bed_count(b, STEP_PUBLISH, UINT32_MAX), 2);
	assert_int_equal(bed_maps(), 1 + 2); // the old map is gone
	assert_int_equal(dev_memory_bytes(b->dev), BED_MEM);
}

static void call_replaced_live(void **state)
{
	struct devbed *b = *state;
	struct request r;
	struct dev_reply reply;
	bed_run(b, 1);
	request_good(b, &r, VU_SET_VRING_CALL, 0);
	int mine = dup(r.fds[0]);
	bed_send(b, &r, &reply);
	assert_int_equal(bed_count(b, STEP_RETRACT, UINT32_MAX), 0); // no pause for it
	assert_int_equal(bed_count(b, STEP_SYNC, UINT32_MAX), 1);
	assert_true(eventfd_take(mine)); // the one before may have lost a signal
	vring_call_now(b->ring[0]);
	assert_true(eventfd_take(mine));
	bed_ok64(b, VU_SET_VRING_CALL, VU_RING_NOFD | 0);
	vring_call_now(b->ring[0]);
	assert_false(eventfd_take(mine));
	assert_int_equal(dev_snap(b->dev)->ring[0].call, SNAP_FD_POLL);
	close(mine);
}

static void kick_replaced_live(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 1);
	bed_progress(b, 0, 9);
	int old = b->kick[0];
	assert_true(old >= 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_int_equal(b->step[0].what, STEP_COMMIT); // its name
	assert_int_equal(b->step[1].what, STEP_RETRACT);
	assert_true(runs(b, 0));
	assert_int_equal(vring_position(b->ring[0]).avail, 9);
	bed_ok64(b, VU_SET_VRING_KICK, VU_RING_NOFD | 0);
	assert_int_equal(b->kick[0], -1); // polled
	assert_true(runs(b, 0));
}

static void each_start_signals_once(void **state)
{
	struct devbed *b = *state;
	struct request r;
	struct dev_reply reply;
	bed_configure(b, 1);
	request_good(b, &r, VU_SET_VRING_CALL, 0);
	int mine = dup(r.fds[0]);
	bed_send(b, &r, &reply);
	assert_false(eventfd_take(mine)); // not started yet
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	bed_ok(b, VU_SET_VRING_KICK, 0);
	assert_true(eventfd_take(mine));
	close(mine);
}

static void rarp_and_mtu(void **state)
{
	struct devbed *b = *state;
	bed_ok(b, VU_SEND_RARP, 0); // before anything else
	assert_int_equal(bed_count(b, STEP_RARP, UINT32_MAX), 1);
	assert_int_equal(b->commits, 1); // what is owed from it on
	bed_ok(b, VU_SEND_RARP, 0);
	assert_int_equal(bed_count(b, STEP_RARP, UINT32_MAX), 1);
	bed_ok64(b, VU_NET_SET_MTU, 68);
	bed_ok64(b, VU_NET_SET_MTU, 65535);
	assert_int_equal(dev_snap(b->dev)->mtu, 65535);
	assert_int_equal(bed_ok(b, VU_GET_QUEUE_NUM, 0), 2); // pairs
	assert_int_equal(bed_ok(b, VU_GET_FEATURES, 0), b->conf.features);
}

static void reset_owner_keeps_the_session(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_progress(b, 0, 4);
	bed_ok(b, VU_RESET_OWNER, 0);
	assert_int_equal(dev_rings_running(b->dev), 0);
	assert_true(dev_snap(b->dev)->owned && dev_snap(b->dev)->has_features && dev_snap(b->dev)->n_regions == 1);
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	assert_true(runs(b, 0));
	assert_int_equal(vring_position(b->ring[0]).avail, 4);
}

static void giving_up(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_start_log(b);
	dev_give_up(b->dev);
	for (unsigned i = 0; i < BED_LOG; i++)
		assert_int_equal(b->log[i], 0xff);
	assert_null(b->ring[0]);
	assert_null(b->ring[1]);
	dev_give_up(b->dev);
}

static void explanations(void **state)
{
	struct devbed *b = *state;
	const char *reason, *hint;
	dev_explain(b->dev, &reason, &hint);
	assert_true(reason[0] && hint[0]);
	bed_negotiate(b, 0);
	dev_explain(b->dev, &reason, &hint);
	assert_non_null(strstr(reason, "memory"));
	assert_non_null(strstr(hint, "share=on"));
	bed_memory(b);
	for (unsigned q = 0; q < 2; q++) {
		bed_ok(b, VU_SET_VRING_NUM, q);
		bed_ok(b, VU_SET_VRING_ADDR, q);
		bed_ok(b, VU_SET_VRING_KICK, q);
	}
	dev_explain(b->dev, &reason, &hint);
	assert_non_null(strstr(reason, "disabled"));
	bed_ok(b, VU_SET_VRING_ENABLE, 0);
	dev_explain(b->dev, &reason, &hint);
	assert_string_equal(reason, "");
	assert_string_equal(hint, "");
	stop(b, 0);
	dev_explain(b->dev, &reason, &hint);
	assert_true(reason[0] && hint[0]);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(dev_feature_name(VIRTIO_NET_F_MRG_RXBUF), "mrg_rxbuf");
	assert_string_equal(dev_protocol_feature_name(VU_PF_MQ), "proto-mq");
	assert_null(dev_feature_name(63));
	assert_null(dev_protocol_feature_name(64));
	for (unsigned i = 0; i < 64; i++) {
		if (bits_has(dev_features_supported(), i))
			assert_non_null(dev_feature_name(i));
		if (bits_has(dev_protocol_features_supported(), i))
			assert_non_null(dev_protocol_feature_name(i));
	}
	static const unsigned never[] = { VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_RSS,
			VIRTIO_F_RING_RESET, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GSO };
	for (unsigned i = 0; i < ARRAY_LEN(never); i++)
		assert_false(bits_has(dev_features_supported(), never[i]));
	assert_int_equal(dev_protocol_features_supported(), 0x1f);
	uint64_t all = dev_features_supported(), host = BIT64(11) | BIT64(12) | BIT64(13), guest = BIT64(7) | BIT64(8) | BIT64(9);
	assert_int_equal(all & (host | guest), host | guest);
	assert_int_equal(dev_features_sound(all), all);
	assert_int_equal(dev_features_sound(bits_without(all, VIRTIO_NET_F_CSUM)), all & ~(host | BIT64(VIRTIO_NET_F_CSUM)));
	assert_int_equal(dev_features_sound(bits_without(all, VIRTIO_NET_F_GUEST_CSUM)),
			 all & ~(guest | BIT64(VIRTIO_NET_F_GUEST_CSUM)));
	assert_int_equal(dev_features_sound(all & ~(BIT64(7) | BIT64(8) | BIT64(11))), all & ~(guest | BIT64(11)));
}

// A message that only replaces a descriptor is a transition: the row says which message's descriptor is meant.
static void descriptors_have_names(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_start_log(b);
	bed_ok(b, VU_SET_VRING_ERR, 1);
	bed_ok(b, VU_SET_LOG_FD, 0);
	const struct snap *s = dev_snap(b->dev);
	const struct {
		uint32_t id;
		unsigned q;
		uint64_t bits;
		const uint64_t *name;
	} rows[] = {
		{ VU_SET_VRING_KICK, 1, SNAP_RING(1), &s->ring[1].kick_from },
		{ VU_SET_VRING_CALL, 0, SNAP_RING(0), &s->ring[0].call_from },
		{ VU_SET_VRING_ERR, 1, SNAP_RING(1), &s->ring[1].err_from },
		{ VU_SET_MEM_TABLE, 0, SNAP_MEM, &s->region[0].from },
		{ VU_SET_LOG_BASE, 0, SNAP_CONN, &s->log_from },
		{ VU_SET_LOG_FD, 0, SNAP_CONN, &s->bell_from },
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t before = *rows[i].name;
		unsigned commits = b->commits;
		bed_ok(b, rows[i].id, rows[i].q);
		assert_int_equal(b->commits, commits + 1);
		assert_int_equal(b->step[0].what, STEP_COMMIT);
		assert_int_equal(b->step[0].bits, rows[i].bits);
		assert_true(before != 0 && before < b->seq);
		assert_int_equal(*rows[i].name, b->seq);
	}
	bed_ok64(b, VU_SET_VRING_CALL, 0 | VU_RING_NOFD);
	assert_int_equal(s->ring[0].call_from, 0);
	bed_ok(b, VU_GET_VRING_BASE, 1); // lets go of kick and call
	assert_int_equal(s->ring[1].kick_from, 0);
	assert_int_equal(s->ring[1].call_from, 0);
	assert_true(s->ring[1].err_from != 0);
	bed_ok(b, VU_GET_VRING_BASE, 0); // and of the log, as no ring runs
	assert_int_equal(s->log_from, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(starts_when_all_is_there), T(enable_and_disable), T(without_bit_30_all_are_enabled),
		T(features_again_change_nothing), T(base_round_trip), T(base_ahead_of_used), T(no_base_given),
		T(stop_retracts_before_all), T(log_start_keeps_position), T(log_gate), T(stop_behind_the_log_gate),
		T(start_while_logging), T(log_replaced_keeps_counters), T(address_in_mid_run), T(memory_swapped_under_rings),
		T(descriptors_have_names),
		T(call_replaced_live), T(kick_replaced_live), T(each_start_signals_once), T(rarp_and_mtu),
		T(reset_owner_keeps_the_session), T(giving_up), T(explanations), T(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
