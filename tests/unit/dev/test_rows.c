// Each row of the message table with one fault at a time, in several states of the session: the refusal is spelt as the row
// says, nothing is changed, no descriptor stays open. Then the same with a store that cannot commit.
#include "faults.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

static bool fault_length(struct devbed *b, struct request *r, int k)
{
	(void)b;
	const struct vu_row *row = vu_row(r->hdr.request);
	if (row && row->len.kind == VU_LEN_RANGE)
		return false;
	if (k < 0 && r->hdr.size < (uint32_t)-k)
		return false;
	r->hdr.size += (uint32_t)k;
	return true;
}

static bool fault_fds(struct devbed *b, struct request *r, int k)
{
	(void)b;
	if (k < 0) {
		if (r->n_fds == 0)
			return false;
		fd_reset(&r->fds[--r->n_fds]);
		return true;
	}
	if (vu_row(r->hdr.request)->fds == VU_FDS_MAYBE && r->n_fds + (unsigned)k <= 1)
		return false;
	while (k-- > 0 && r->n_fds < VU_MAX_FDS)
		r->fds[r->n_fds++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return true;
}

static bool fault_index(struct devbed *b, struct request *r, int k)
{
	(void)b;
	static const uint32_t index[] = { 4, 5, 255, 256, 0xffff, 0x10000, 0xffffffff, 257, 260 };
	const struct vu_row *row = vu_row(r->hdr.request);
	if (row->queue == VU_Q_NO || (row->queue == VU_Q_LOW_BYTE && (index[k] == 256 || index[k] == 257)))
		return false;
	memcpy(r->payload, &index[k], sizeof(index[k]));
	return true;
}

static bool fault_none(struct devbed *b, struct request *r, int k)
{
	(void)b;
	(void)k;
	return !vu_row(r->hdr.request) || !vu_row(r->hdr.request)->works;
}

static bool fault_header(struct devbed *b, struct request *r, int k)
{
	(void)b;
	static const uint32_t flags[] = { 0, 2, 3, VU_REPLY_FLAGS, 0x21 };
	r->hdr.flags = flags[k];
	return true;
}

static bool fault_truncated(struct devbed *b, struct request *r, int k)
{
	(void)b;
	(void)k;
	r->truncated = true;
	return true;
}

static void lengths(void **state)
{
	(void)state;
	try_each("length", fault_length, -1, 1, false, 400);
}

static void descriptors(void **state)
{
	(void)state;
	try_each("fds", fault_fds, -1, 1, false, 300);
	try_each("many fds", fault_fds, 7, 7, false, 300);
}

static void indices(void **state)
{
	(void)state;
	try_each("index", fault_index, 0, 8, false, 500);
}

static void headers(void **state)
{
	(void)state;
	try_each("flags", fault_header, 0, 4, true, 500);
	try_each("truncated", fault_truncated, 0, 0, true, 100);
}

static void declined_and_unknown(void **state)
{
	(void)state;
	try_each("declined", fault_none, 0, 0, false, 100);
	static const uint32_t ids[] = { 0, 45, 64, 255, 0x7fffffff, 0xffffffff };
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
		for (int s = 0; s < N_STATES; s++)
			for (int ask = 0; ask < 2; ask++)
				assert_true(try_fault(ids[i], (enum state)s, ask, "unknown", fault_none, 0, false));
}

// Single wrong values, one line each: id, ring phase, what is wrong with the payload.
struct value_row {
	uint32_t id;
	enum state state;
	const char *name;
	unsigned at, width; // bytes of the payload that are replaced
	uint64_t value;
};
static const struct value_row values[] = {
	{ VU_SET_FEATURES, CONFIGURED, "not offered", 0, 8, BIT64(VIRTIO_F_ACCESS_PLATFORM) },
	{ VU_SET_FEATURES, CONFIGURED, "not offered", 0, 8, BIT64(VIRTIO_NET_F_RSS) },
	{ VU_SET_FEATURES, FRESH, "LOG_ALL without LOG_SHMFD", 0, 8, BIT64(VHOST_F_LOG_ALL) },
	{ VU_SET_FEATURES, RUNNING, "other bits while running", 0, 8, BIT64(VIRTIO_F_VERSION_1) },
	{ VU_SET_PROTOCOL_FEATURES, CONFIGURED, "not offered", 0, 8, BIT64(VU_PF_STATUS) },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 0", 4, 4, 0 },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 3", 4, 4, 3 },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 300", 4, 4, 300 },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 32769", 4, 4, 32769 },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 65536", 4, 4, 65536 },
	{ VU_SET_VRING_NUM, CONFIGURED, "size 2^31", 4, 4, 0x80000000 },
	{ VU_SET_VRING_NUM, RUNNING, "while it runs", 4, 4, 64 },
	{ VU_SET_VRING_BASE, CONFIGURED, "over 16 bits", 4, 4, 0x10000 },
	{ VU_SET_VRING_BASE, CONFIGURED, "packed", 4, 4, 0x80008000 },
	{ VU_SET_VRING_BASE, RUNNING, "while it runs", 4, 4, 0 },
	{ VU_SET_VRING_ADDR, CONFIGURED, "flags", 4, 4, 2 },
	{ VU_SET_VRING_ADDR, CONFIGURED, "desc unaligned", 8, 8, BED_UADDR + 8 },
	{ VU_SET_VRING_ADDR, CONFIGURED, "used unaligned", 16, 8, BED_UADDR + 2 },
	{ VU_SET_VRING_ADDR, CONFIGURED, "avail unaligned", 24, 8, BED_UADDR + 1 },
	{ VU_SET_VRING_ADDR, RUNNING, "desc outside", 8, 8, BED_UADDR + BED_MEM },
	{ VU_SET_VRING_ADDR, RUNNING, "desc wraps", 8, 8, UINT64_MAX - 15 },
	{ VU_SET_VRING_ADDR, RUNNING, "used half outside", 16, 8, BED_UADDR + BED_MEM - 8 },
	{ VU_SET_VRING_ADDR, LOGGING, "avail outside", 24, 8, 0 },
	{ VU_SET_VRING_ADDR, LOGGING, "log address beyond the log", 32, 8, UINT64_C(8) * BED_LOG * 4096 - 8 },
	{ VU_SET_VRING_ADDR, LOGGING, "log address wraps", 32, 8, UINT64_MAX - 7 },
	{ VU_SET_VRING_ENABLE, CONFIGURED, "neither 0 nor 1", 4, 4, 2 },
	{ VU_SET_VRING_ENABLE, RUNNING, "neither 0 nor 1", 4, 4, 0xffffffff },
	{ VU_SET_VRING_KICK, CONFIGURED, "reserved bits", 0, 8, UINT64_C(1) << 32 },
	{ VU_SEND_RARP, FRESH, "zero", 0, 8, 0 },
	{ VU_SEND_RARP, RUNNING, "multicast", 0, 8, 1 },
	{ VU_NET_SET_MTU, FRESH, "67", 0, 8, 67 },
	{ VU_NET_SET_MTU, CONFIGURED, "65536", 0, 8, 65536 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "size 0", 16, 8, 0 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "longer than its file", 16, 8, BED_MEM + 1 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "size 2^63", 16, 8, BIT64(63) },
	{ VU_SET_MEM_TABLE, CONFIGURED, "size 2^64-1", 16, 8, UINT64_MAX },
	{ VU_SET_MEM_TABLE, CONFIGURED, "guest address wraps", 8, 8, UINT64_MAX - 4095 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "user address wraps", 24, 8, UINT64_MAX - 4095 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "offset wraps", 32, 8, UINT64_MAX - 4095 },
	{ VU_SET_MEM_TABLE, CONFIGURED, "offset beyond", 32, 8, 4096 },
	{ VU_SET_MEM_TABLE, RUNNING, "rings outside", 16, 8, 0x8000 },
	{ VU_SET_MEM_TABLE, RUNNING, "rings moved away", 24, 8, BED_UADDR + BED_MEM },
	{ VU_SET_MEM_TABLE, LOGGING, "beyond the log", 8, 8, UINT64_C(1) << 40 },
	{ VU_SET_LOG_BASE, CONFIGURED, "size 0", 0, 8, 0 },
	{ VU_SET_LOG_BASE, RUNNING, "longer than its file", 0, 8, BED_LOG + 8 },
	{ VU_SET_LOG_BASE, LOGGING, "size 2^63", 0, 8, BIT64(63) },
	{ VU_SET_LOG_BASE, LOGGING, "offset wraps", 8, 8, UINT64_MAX - 7 },
	{ VU_SET_LOG_BASE, LOGGING, "offset beyond", 8, 8, BED_LOG },
	{ VU_SET_LOG_BASE, LOGGING, "shorter than memory", 0, 8, 64 },
};
static const struct value_row *value_row;

static bool fault_value(struct devbed *b, struct request *r, int k)
{
	(void)b;
	(void)k;
	memcpy(r->payload + value_row->at, &value_row->value, value_row->width);
	return true;
}

static void wrong_values(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
		value_row = &values[i];
		for (int ask = 0; ask < 2; ask++)
			assert_true(try_fault(value_row->id, value_row->state, ask, value_row->name, fault_value, (int)i,
					false));
	}
}

// Descriptors of a wrong kind.
static bool fault_kind(struct devbed *b, struct request *r, int k)
{
	(void)b;
	static const char *const path[] = { "/dev/null", "/", "/proc/self/exe", "/dev/zero" };
	static const int flags[] = { O_RDWR, O_RDONLY, O_RDONLY, O_PATH };
	if (r->n_fds == 0 || r->hdr.request == VU_SET_LOG_FD || r->hdr.request > 20)
		return false;
	fd_replace(&r->fds[0], open(path[k], flags[k] | O_CLOEXEC));
	return true;
}

static void wrong_kinds_of_descriptor(void **state)
{
	(void)state;
	try_each("kind of descriptor", fault_kind, 0, 3, false, 50);
}

// A request that changes the snapshot, for each row that can.
static bool fault_change(struct devbed *b, struct request *r, int k)
{
	(void)k;
	const struct snap *s = dev_snap(b->dev);
	uint64_t v;
	memcpy(&v, r->payload, 8);
	switch (r->hdr.request) {
	case VU_SET_OWNER:
		return !s->owned;
	case VU_SET_FEATURES:
		if (!s->has_protocol)
			return true;
		v ^= BIT64(VHOST_F_LOG_ALL);
		break;
	case VU_RESET_OWNER:
		return s->ring[0].enabled;
	case VU_SET_MEM_TABLE:
		v = BED_MEM - 4096;
		if (s->owned)
			memcpy(r->payload + 16, &v, 8);
		return s->owned;
	case VU_SET_LOG_BASE:
		v = BED_LOG - 64;
		break;
	case VU_SET_VRING_NUM:
		r->payload[4] = 32;
		return s->owned && !dev_ring_running(b->dev, 1);
	case VU_SET_VRING_BASE:
		r->payload[4] = 9;
		return s->owned && !dev_ring_running(b->dev, 1);
	case VU_SET_VRING_ADDR:
		r->payload[8] ^= 0x40;
		return s->owned;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		r->payload[1] = 1;
		fd_reset(&r->fds[--r->n_fds]);
		return s->owned;
	case VU_SET_PROTOCOL_FEATURES:
		v &= ~BIT64(VU_PF_MTU);
		break;
	case VU_SET_VRING_ENABLE:
		r->payload[4] = !s->ring[1].enabled;
		return s->owned;
	case VU_NET_SET_MTU:
		return true;
	default:
		return false;
	}
	memcpy(r->payload, &v, 8);
	return s->owned;
}

static bool fault_commit(struct devbed *b, struct request *r, int k)
{
	b->fail_commit = true;
	return fault_change(b, r, k);
}

static void no_commit_no_change(void **state)
{
	(void)state;
	try_each("commit fails", fault_commit, 0, 0, false, 70);
}

// The one row that is answered all the same; what could not be stored goes with the next commit.
static void stop_without_a_store(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	bed_progress(b, 1, 77);
	b->fail_commit = true;
	struct request r;
	struct dev_reply reply;
	struct vu_state st;
	request_good(b, &r, VU_GET_VRING_BASE, 1);
	bed_send(b, &r, &reply);
	assert_int_equal(reply.len, 20);
	assert_false(reply.close);
	memcpy(&st, reply.bytes + 12, sizeof(st));
	assert_int_equal(st.index, 1);
	assert_int_equal(st.num, 77);
	assert_non_null(strstr(b->refused, "disk is full"));
	assert_false(dev_ring_running(b->dev, 1));
	b->fail_commit = false;
	bed_ok64(b, VU_NET_SET_MTU, 9000); // about something else
	assert_int_equal(snap_diff(&b->committed, dev_snap(b->dev)), 0);
	assert_true(b->step[0].what == STEP_COMMIT && (b->step[0].bits & SNAP_RING(1)));
}

static void a_thousand_times(void **state)
{
	struct devbed *b = *state;
	bed_run(b, 2);
	int before = fd_count_open();
	for (unsigned i = 0; i < 1000; i++) {
		bed_ok(b, VU_SET_VRING_CALL, 0);
		bed_ok(b, VU_SET_VRING_KICK, 1);
		bed_ok(b, VU_SET_VRING_ERR, 2);
		bed_ok(b, VU_SET_LOG_FD, 0);
		bed_ok(b, VU_SET_LOG_BASE, 0);
		bed_ok(b, VU_SET_MEM_TABLE, 0);
	}
	assert_int_equal(fd_count_open(), before + 2); // SET_VRING_ERR and SET_LOG_FD hold one each now
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths), cmocka_unit_test(descriptors), cmocka_unit_test(indices),
		cmocka_unit_test(headers), cmocka_unit_test(declined_and_unknown), cmocka_unit_test(wrong_values),
		cmocka_unit_test(wrong_kinds_of_descriptor), cmocka_unit_test(no_commit_no_change),
		cmocka_unit_test_setup_teardown(stop_without_a_store, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(a_thousand_times, bed_setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
