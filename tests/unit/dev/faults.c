#include "faults.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"

static const char *const state_names[] = { "fresh", "configured", "running", "logging" };

static void enter(struct devbed *b, enum state s)
{
	if (s == CONFIGURED)
		bed_configure(b, 4);
	if (s >= RUNNING)
		bed_run(b, 4);
	if (s == LOGGING)
		bed_start_log(b);
}

static bool log_filled(const struct devbed *b)
{
	for (unsigned i = 0; i < BED_LOG; i++)
		if (b->log[i] != 0xff)
			return false;
	return true;
}

// What the row, the state and the header make of a refusal: 'n' nack, 'c' close, 'g' carry on.
static char spelling(const struct devbed *b, const struct request *r, bool desync)
{
	const struct vu_row *row = vu_row(r->hdr.request);
	const struct snap *s = dev_snap(b->dev);
	bool asked = (r->hdr.flags & VU_FLAG_NEED_REPLY) && bits_has(s->protocol_features, VU_PF_REPLY_ACK);
	bool logs = s->has_log || bits_has(s->features_acked, VHOST_F_LOG_ALL) ||
		    (r->hdr.request == VU_SET_FEATURES && (r->payload[3] & 4)) ||
		    (r->hdr.request == VU_SET_VRING_ADDR && (r->payload[4] & 1));
	if (desync)
		return 'c';
	switch (row ? row->refusal : VU_NACK_CLOSE) {
	case VU_NACK_CLOSE:
		return asked ? 'n' : 'c';
	case VU_NACK_GO_ON:
		return asked ? 'n' : 'g';
	case VU_NACK_LOG:
		return logs ? 'c' : asked ? 'n' : 'c';
	case VU_NACK:
		return 'n';
	case VU_CLOSE:
	case VU_ANSWER:
		return 'c';
	}
	return '?';
}

struct outcome {
	struct dev_reply reply;
	char want;
	bool had_log;
	struct snap before;
};

static void check_refused(struct devbed *b, const struct request *r, struct outcome *o, const char *fault)
{
	uint64_t nack = 0;
	struct vu_hdr hdr;
	if (!b->refused[0])
		fail_msg("%s, %s: not refused", vu_name(r->hdr.request), fault);
	if (strncmp(b->refused, vu_name(r->hdr.request), strlen(vu_name(r->hdr.request))) != 0)
		fail_msg("the reason \"%s\" does not name %s", b->refused, vu_name(r->hdr.request));
	assert_int_equal(snap_diff(&o->before, dev_snap(b->dev)), 0);
	assert_int_equal(bed_count(b, STEP_COMMIT, UINT32_MAX), 0);
	assert_int_equal(bed_count(b, STEP_PUBLISH, UINT32_MAX), 0);
	assert_int_equal(bed_count(b, STEP_RARP, UINT32_MAX), 0);
	char got = o->reply.close ? 'c' : o->reply.len ? 'n' : 'g';
	if (got != o->want)
		fail_msg("%s, %s: refused as '%c', not '%c' (%s)", vu_name(r->hdr.request), fault, got, o->want, b->refused);
	if (got == 'n') {
		assert_int_equal(o->reply.len, 20);
		memcpy(&hdr, o->reply.bytes, sizeof(hdr));
		memcpy(&nack, o->reply.bytes + 12, 8);
		assert_int_equal(hdr.request, r->hdr.request);
		assert_int_equal(hdr.flags, 5);
		assert_int_equal(nack, 1);
	}
	if (got == 'c') {
		assert_int_equal(o->reply.len, 0);
		if (o->had_log)
			assert_true(log_filled(b)); // before the socket is closed
	} else {
		assert_int_equal(bed_count(b, STEP_RETRACT, UINT32_MAX), 0);
	}
}

bool try_fault(uint32_t id, enum state s, bool need_reply, const char *name, fault_fn *change, int k, bool desync)
{
	struct devbed b;
	struct request r;
	struct outcome o = { .want = 0 };
	int before = fd_count_open();
	bed_open(&b, 2);
	enter(&b, s);
	memset(b.log, 0, BED_LOG);
	request_good(&b, &r, id, 1);
	if (need_reply)
		r.hdr.flags |= VU_FLAG_NEED_REPLY;
	bool applies = change(&b, &r, k);
	if (applies) {
		o.want = spelling(&b, &r, desync);
		o.before = *dev_snap(b.dev);
		o.had_log = o.before.has_log;
		b.refused[0] = '\0';
		bed_send(&b, &r, &o.reply);
		char fault[80];
		snprintf(fault, sizeof(fault), "%s %d, %s%s", name, k, state_names[s], need_reply ? ", need_reply" : "");
		check_refused(&b, &r, &o, fault);
	} else {
		fd_reset_all(r.fds, VU_MAX_FDS);
	}
	bed_close(&b);
	if (fd_count_open() != before)
		fail_msg("%s, %s %d: %d descriptors leaked", vu_name(id), name, k, fd_count_open() - before);
	if (bed_maps() != 0)
		fail_msg("%s, %s %d: %u mappings leaked", vu_name(id), name, k, bed_maps());
	return applies;
}

void try_each(const char *name, fault_fn *change, int from, int to, bool desync, unsigned at_least)
{
	unsigned n = 0;
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++)
		for (int s = 0; s < N_STATES; s++)
			for (int k = from; k <= to; k++)
				if (k != 0 || from == 0)
					n += try_fault(id, (enum state)s, false, name, change, k, desync) +
					     try_fault(id, (enum state)s, true, name, change, k, desync);
	if (n < at_least)
		fail_msg("only %u cases of %s", n, name);
}
