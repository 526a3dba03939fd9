// Nothing is acknowledged, published or announced before it is committed. Built a second time against a device with the
// seeded bug VRINGD_MUTANT_ACK_BEFORE_COMMIT: there this test must fail and say so.
#include "devbed.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"

static void check_order(struct devbed *b, const struct request *r, const struct snap *before, unsigned commits_before,
			const struct dev_reply *reply)
{
	const char *name = vu_name(r->hdr.request);
	const struct snap *now = dev_snap(b->dev);
	uint64_t changed = snap_diff(before, now) | (r->hdr.request == VU_SEND_RARP ? SNAP_CLAIM : 0);
	unsigned commits = b->commits - commits_before;
	if (commits != (changed ? 1u : 0u) || (changed && snap_diff(&b->committed, now) != 0)) {
		printf("%s: acknowledged before it was committed\n", name);
		fail();
	}
	if (changed) {
		assert_int_equal(b->committed_seq, b->seq);
		assert_int_equal(b->committed_reply_len, reply->len);
		assert_memory_equal(b->committed_reply, reply->bytes, reply->len);
	}
	bool committed = false;
	for (unsigned i = 0; i < b->n_steps; i++) {
		const struct step *s = &b->step[i];
		if (s->what == STEP_COMMIT) {
			assert_int_equal(s->bits, changed);
			committed = true;
		} else if (changed && !committed && !(s->what == STEP_RETRACT && r->hdr.request == VU_GET_VRING_BASE)) {
			fail_msg("%s: an effect before the commit", name);
		}
	}
	if (vu_row(r->hdr.request)->effect == VU_READ && r->hdr.request != VU_SEND_RARP) // a claim changes no row of the snapshot
		assert_int_equal(changed, 0);
}

static void send(struct devbed *b, uint32_t id, unsigned q, const uint64_t *payload)
{
	struct request r;
	struct dev_reply reply;
	struct snap before = *dev_snap(b->dev);
	unsigned commits = b->commits;
	request_good(b, &r, id, q);
	if (payload)
		memcpy(r.payload, payload, 8);
	r.hdr.flags |= VU_FLAG_NEED_REPLY;
	b->refused[0] = '\0';
	bed_send(b, &r, &reply);
	assert_string_equal(b->refused, "");
	check_order(b, &r, &before, commits, &reply);
}

static void value(struct devbed *b, uint32_t id, uint64_t v)
{
	send(b, id, 0, &v);
}

static void whole_session(void **state)
{
	struct devbed *b = *state;
	uint64_t acked = b->conf.features & ~BIT64(VHOST_F_LOG_ALL);
	send(b, VU_GET_FEATURES, 0, NULL);
	send(b, VU_GET_PROTOCOL_FEATURES, 0, NULL);
	send(b, VU_SET_PROTOCOL_FEATURES, 0, NULL);
	send(b, VU_GET_QUEUE_NUM, 0, NULL);
	send(b, VU_SET_OWNER, 0, NULL);
	send(b, VU_SET_OWNER, 0, NULL);
	value(b, VU_SET_FEATURES, acked);
	value(b, VU_NET_SET_MTU, 1500);
	send(b, VU_SEND_RARP, 0, NULL);
	for (unsigned round = 0; round < 3; round++) {
		send(b, VU_SET_MEM_TABLE, 0, NULL);
		for (unsigned q = 0; q < 4; q++) {
			send(b, VU_SET_VRING_NUM, q, NULL);
			value(b, VU_SET_VRING_BASE, state_u64(q, dev_snap(b->dev)->ring[q].base));
			send(b, VU_SET_VRING_ADDR, q, NULL);
			send(b, VU_SET_VRING_KICK, q, NULL);
			send(b, VU_SET_VRING_CALL, q, NULL);
			send(b, VU_SET_VRING_ERR, q, NULL);
			send(b, VU_SET_VRING_ENABLE, q, NULL);
		}
		assert_int_equal(dev_rings_running(b->dev), round == 1 ? 0 : 4); // round 1 waits for its log
		send(b, VU_SET_LOG_BASE, 0, NULL);
		assert_int_equal(dev_rings_running(b->dev), 4);
		for (unsigned q = 0; q < 4; q++)
			bed_progress(b, q, 100);
		send(b, VU_SET_LOG_FD, 0, NULL);
		value(b, VU_SET_FEATURES, acked | BIT64(VHOST_F_LOG_ALL));
		value(b, VU_SET_VRING_ENABLE, state_u64(2, 0));
		value(b, VU_SET_VRING_ENABLE, state_u64(2, 1));
		send(b, VU_SET_MEM_TABLE, 0, NULL);
		if (round == 1)
			value(b, VU_SET_FEATURES, acked);
		for (unsigned q = 0; q < 4; q++)
			value(b, VU_GET_VRING_BASE, state_u64(q, 0));
	}
	send(b, VU_RESET_OWNER, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(whole_session, bed_setup, bed_teardown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
