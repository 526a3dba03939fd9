// The split ring from the device's side: chains, event index, order of log and publication.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dirty/dirty.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/gwrite.h"
#include "guest/mem.h"
#include "guest/vchain.h"
#include "guest/vring.h"
#include "ringbed.h"

#define NUM 16u
#define F_V1 (UINT64_C(1) << 32)
#define F_IND (UINT64_C(1) << 28)
#define F_EVENT (UINT64_C(1) << 29)

static void bed_open(struct ringbed *b, uint64_t features, uint16_t base, bool logging)
{
	ringbed_open(b, &(struct ringbed_conf){ .num = NUM, .features = features, .base = base, .logging = logging });
}

static enum vchain_result fetch(struct ringbed *b, bool writable, struct vchain *c, const char **why)
{
	static struct gseg segs[VCHAIN_MAX_SEGS];
	*why = NULL;
	return vchain_fetch(b->ring, b->ring->last_avail, writable, segs, VCHAIN_MAX_SEGS, c, why);
}

// One descriptor table by hand, head 0, and what must come of it.
struct row {
	const char *name;
	struct vq_desc d[4];
	bool writable;
	enum vchain_result want;
	uint32_t len;
	unsigned segs;
};

#define BUF UINT64_MAX // replaced by the bed's buffer
#define EDGE (UINT64_MAX - 1) // replaced by the last 100 bytes of region 0; region 1 follows
#define END (UINT64_MAX - 2) // the last 100 bytes of all memory

static const struct row rows[] = {
	{ "one", { { BUF, 100, 0, 0 } }, false, VCHAIN_OK, 100, 1 },
	{ "two", { { BUF, 10, VQ_NEXT, 2 }, { 0 }, { BUF, 20, 0, 0 } }, false, VCHAIN_OK, 30, 2 },
	{ "empty piece anywhere", { { 0x1, 0, VQ_NEXT, 1 }, { BUF, 20, 0, 0 } }, false, VCHAIN_OK, 20, 1 },
	{ "over two regions", { { EDGE, 200, 0, 0 } }, false, VCHAIN_OK, 200, 2 },
	{ "over the end", { { END, 101, 0, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "wraps", { { UINT64_MAX - 100, 200, 0, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "nowhere", { { 0x10, 1, 0, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "self loop", { { BUF, 10, VQ_NEXT, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "two-cycle", { { BUF, 10, VQ_NEXT, 1 }, { BUF, 10, VQ_NEXT, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "empty loop", { { BUF, 0, VQ_NEXT, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "next outside", { { BUF, 10, VQ_NEXT, NUM } }, false, VCHAIN_BAD, 0, 0 },
	{ "next far outside", { { BUF, 10, VQ_NEXT, 0xffff } }, false, VCHAIN_BAD, 0, 0 },
	{ "writable where readable", { { BUF, 10, VQ_WRITE, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "readable where writable", { { BUF, 10, 0, 0 } }, true, VCHAIN_BAD, 0, 0 },
	{ "writable", { { BUF, 10, VQ_WRITE | VQ_NEXT, 1 }, { BUF, 90, VQ_WRITE, 0 } }, true, VCHAIN_OK, 100, 2 },
	{ "readable behind writable", { { BUF, 10, VQ_WRITE | VQ_NEXT, 1 }, { BUF, 90, 0, 0 } }, true, VCHAIN_BAD, 0, 0 },
	{ "indirect with next", { { BUF, 16, VQ_INDIRECT | VQ_NEXT, 1 }, { BUF, 1, 0, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "indirect of length 0", { { BUF, 0, VQ_INDIRECT, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "indirect of length 17", { { BUF, 17, VQ_INDIRECT, 0 } }, false, VCHAIN_BAD, 0, 0 },
	{ "indirect outside", { { 0x10, 16, VQ_INDIRECT, 0 } }, false, VCHAIN_BAD, 0, 0 },
};

static uint64_t place(const struct ringbed *b, uint64_t addr)
{
	const struct gmem_region *r0 = &b->mem->region[0], *r1 = &b->mem->region[1];
	return addr == BUF ? b->buf : addr == EDGE ? r0->gpa + r0->size - 100 : addr == END ? r1->gpa + r1->size - 100 : addr;
}

static void test_chains(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ringbed b;
		struct vchain c;
		const char *why;
		bed_open(&b, F_V1 | F_IND, 0, false);
		for (unsigned d = 0; d < 4; d++) {
			b.q.desc[d] = rows[i].d[d];
			b.q.desc[d].addr = place(&b, rows[i].d[d].addr);
		}
		vq_offer_raw(&b.q, 0);
		vq_publish(&b.q, false);
		assert_int_equal(vring_pending(b.ring), 1);
		enum vchain_result res = fetch(&b, rows[i].writable, &c, &why);
		if (res != rows[i].want || (res == VCHAIN_OK && (c.len != rows[i].len || c.n_segs != rows[i].segs)))
			fail_msg("%s: result %d (%s), length %u in %u pieces", rows[i].name, res, why ? why : "", c.len, c.n_segs);
		if (res == VCHAIN_BAD)
			assert_non_null(why);
		ringbed_close(&b);
	}
}

static void test_indirect(void **state)
{
	(void)state;
	struct ringbed b;
	struct vchain c;
	const char *why;
	bed_open(&b, F_V1 | F_IND, 0, false);
	struct vq_desc *t = (struct vq_desc *)gmem_at(b.mem, b.buf);
	for (unsigned i = 0; i < NUM; i++)
		t[i] = (struct vq_desc){ b.buf, 10, i + 1 < NUM ? VQ_NEXT : 0, (uint16_t)(i + 1) };
	b.q.desc[3] = (struct vq_desc){ b.buf, NUM * 16, VQ_INDIRECT, 0 };
	vq_offer_raw(&b.q, 3);
	vq_publish(&b.q, false);
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_OK);
	assert_int_equal(c.id, 3);
	assert_int_equal(c.len, NUM * 10);
	t[NUM - 1] = (struct vq_desc){ b.buf, 10, VQ_NEXT, 0 }; // loops inside
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_BAD);
	t[NUM - 1] = (struct vq_desc){ b.buf, 16, VQ_INDIRECT, 0 }; // nested
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_BAD);
	// the table over the border of two regions, unaligned
	const struct gmem_region *r0 = &b.mem->region[0];
	uint64_t at = r0->gpa + r0->size - 24;
	struct vq_desc two[2] = { { b.buf, 11, VQ_NEXT, 1 }, { b.buf, 31, 0, 0 } };
	uint8_t raw[32];
	memcpy(raw, two, 32);
	for (unsigned i = 0; i < 32; i++)
		*gmem_at(b.mem, at + i) = raw[i];
	b.q.desc[3] = (struct vq_desc){ at, 32, VQ_INDIRECT, 0 };
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_OK);
	assert_int_equal(c.len, 42);
	ringbed_close(&b);
	bed_open(&b, F_V1, 0, false); // not negotiated
	b.q.desc[0] = (struct vq_desc){ b.buf, 32, VQ_INDIRECT, 0 };
	vq_offer_raw(&b.q, 0);
	vq_publish(&b.q, false);
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_BAD);
	ringbed_close(&b);
}

static void test_broken(void **state)
{
	(void)state;
	struct ringbed b;
	struct vchain c;
	const char *why;
	bed_open(&b, F_V1, 65530, false);
	vq_offer_raw(&b.q, NUM); // no descriptor
	vq_publish(&b.q, false);
	assert_int_equal(vring_pending(b.ring), 1);
	assert_int_equal(fetch(&b, false, &c, &why), VCHAIN_BROKEN);
	assert_non_null(vring_broken(b.ring));
	vring_restore(b.ring, 65530);
	assert_null(vring_broken(b.ring));
	const uint16_t jumps[] = { NUM + 1, 0x8000, 0xffff };
	for (unsigned i = 0; i < 3; i++) {
		b.q.avail[1] = (uint16_t)(65530 + jumps[i]);
		assert_int_equal(vring_pending(b.ring), 0);
		assert_non_null(vring_broken(b.ring));
		vring_restore(b.ring, 65530);
	}
	b.q.avail[1] = (uint16_t)(65530 + NUM);
	assert_int_equal(vring_pending(b.ring), NUM); // exactly full, over the wrap
	ringbed_close(&b);
}

static bool logged(const struct ringbed *b, uint64_t gpa)
{
	return dirty_test(b->log, gpa);
}

// Every kind of write is in the log, and nothing else is.
static void test_log(void **state)
{
	(void)state;
	struct ringbed b;
	bed_open(&b, F_V1 | F_EVENT, 0, true);
	uint64_t gpa = b.buf + 4096 - 6; // header over a page border
	struct vq_buf buf = { .gpa = gpa, .len = 6000, .write = true };
	assert_true(vq_add(&b.q, &buf, 1, 0));
	vq_publish(&b.q, false);
	static struct gseg segs[VCHAIN_MAX_SEGS];
	struct vchain c;
	const char *why;
	assert_int_equal(vchain_fetch(b.ring, 0, true, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_OK);
	uint8_t hdr[12] = { 0 }, data[5000];
	memset(data, 0xab, sizeof(data));
	struct gwrite_at at = gwrite_header(b.ring, segs, (struct gwrite_at){ 0, 0 }, hdr, 12);
	gwrite_payload(b.ring, segs, at, data, sizeof(data));
	b.ring->last_avail++;
	struct gwrite_used u = { c.id, 12 + 5000 };
	assert_false(logged(&b, b.q.used_gpa));
	gwrite_publish_used(b.ring, &u, 1);
	assert_true(logged(&b, b.buf)); // first six header bytes
	assert_true(logged(&b, b.buf + 4096));
	assert_true(logged(&b, b.buf + 8192));
	assert_false(logged(&b, b.buf + 12288)); // not touched
	assert_true(logged(&b, b.q.used_gpa));
	uint64_t elem = b.q.used_gpa + 4;
	assert_true(logged(&b, elem));
	uint32_t token, len;
	assert_true(vq_take(&b.q, &token, &len));
	assert_int_equal(len, 5012);
	// the event index has its own page in this bed
	uint64_t event = b.q.used_gpa + 4 + 8 * NUM;
	for (uint64_t i = 0; i < b.log->n_bytes / 8; i++)
		atomic_store(&b.log->words[i], 0);
	gwrite_notify(b.ring, true);
	assert_true(logged(&b, event));
	assert_int_equal(*b.q.avail_event, 1);
	assert_int_equal(b.log->missed, 0);
	ringbed_close(&b);
}

// Buffers that are there and too few for a frame: the kick is to come with the next one, not for one that is there.
static void test_event_behind_seen(void **state)
{
	(void)state;
	struct ringbed b;
	bed_open(&b, F_V1 | F_EVENT, 0, false);
	for (unsigned i = 0; i < 3; i++)
		vq_offer_raw(&b.q, (uint16_t)i);
	vq_publish(&b.q, false);
	assert_int_equal(vring_pending(b.ring), 3);
	gwrite_notify(b.ring, true);
	assert_int_equal(*b.q.avail_event, 3);
	assert_int_equal(vring_position(b.ring).avail, 0); // nothing was taken
	ringbed_close(&b);
}

static void test_wants_call(void **state)
{
	(void)state;
	struct ringbed b;
	bed_open(&b, F_V1 | F_EVENT, 65533, false);
	struct gwrite_used elems[8] = { { 0, 0 } };
	b.q.avail[2 + NUM] = 1000; // used_event far away
	gwrite_publish_used(b.ring, elems, 1);
	assert_true(vring_wants_call(b.ring)); // unknown since the start: signal
	gwrite_publish_used(b.ring, elems, 1);
	assert_false(vring_wants_call(b.ring));
	b.q.avail[2 + NUM] = 2; // in two entries, over the wrap: 65535, 0, 1, 2
	gwrite_publish_used(b.ring, elems, 3);
	assert_false(vring_wants_call(b.ring));
	gwrite_publish_used(b.ring, elems, 1);
	assert_true(vring_wants_call(b.ring));
	gwrite_publish_used(b.ring, elems, 1);
	assert_false(vring_wants_call(b.ring));
	assert_int_equal(vring_used_idx(b.ring), vring_position(b.ring).used);
	ringbed_close(&b);
	bed_open(&b, F_V1, 0, false);
	b.q.avail[0] = 1; // no interrupt
	gwrite_publish_used(b.ring, elems, 1);
	assert_false(vring_wants_call(b.ring));
	b.q.avail[0] = 0;
	assert_true(vring_wants_call(b.ring));
	ringbed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains), cmocka_unit_test(test_indirect), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_log),    cmocka_unit_test(test_event_behind_seen), cmocka_unit_test(test_wants_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
