// The packed ring from the device's side, against the driver library: chains good and hostile, wrap, suppression, order of
// log and publication, base.
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
#include "dirty/vbase.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/gwrite.h"
#include "guest/gwrite_packed.h"
#include "guest/mem.h"
#include "guest/pring.h"
#include "guest/vone.h"
#include "ringbed.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 28)
#define F_EVENT (UINT64_C(1) << 29)
#define FRESH 0x80008000u

static struct gseg segs[VCHAIN_MAX_SEGS];

static void bed_open(struct ringbed *b, uint16_t num, uint64_t features, bool in_order, bool logging)
{
	ringbed_open(b, &(struct ringbed_conf){ .num = num, .features = features | RINGBED_PACKED, .in_order = in_order, .logging = logging });
}

// -- chains -------------------------------------------------------------------------------------------------------------

#define BUF UINT64_MAX // replaced by the buffer
#define EDGE (UINT64_MAX - 1) // the last 100 bytes of region 0; region 1 follows
#define END (UINT64_MAX - 2) // the last 100 bytes of all memory

static const struct row {
	const char *name;
	struct vq_pdesc d[4]; // up to the first of length 0 and no flags
	unsigned n;
	bool writable;
	enum vchain_result want;
	uint32_t len;
	unsigned segs;
} rows[] = {
	{ "one", { { BUF, 100, 7, 0 } }, 1, false, VCHAIN_OK, 100, 1 },
	{ "any id", { { BUF, 100, 0xffff, 0 } }, 1, false, VCHAIN_OK, 100, 1 },
	{ "two", { { BUF, 10, 1, VQ_NEXT }, { BUF, 20, 7, 0 } }, 2, false, VCHAIN_OK, 30, 2 },
	{ "empty piece", { { 0x1, 0, 7, VQ_NEXT }, { BUF, 20, 7, 0 } }, 2, false, VCHAIN_OK, 20, 1 },
	{ "over two regions", { { EDGE, 200, 7, 0 } }, 1, false, VCHAIN_OK, 200, 2 },
	{ "over the end", { { END, 101, 7, 0 } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "wraps", { { UINT64_MAX - 100, 200, 7, 0 } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "nowhere", { { 0x10, 1, 7, 0 } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "bad in front of the end", { { 0x10, 1, 3, VQ_NEXT }, { BUF, 1, 7, 0 } }, 2, false, VCHAIN_BAD, 0, 0 },
	{ "writable where readable", { { BUF, 10, 7, VQ_WRITE } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "readable where writable", { { BUF, 10, 7, 0 } }, 1, true, VCHAIN_BAD, 0, 0 },
	{ "writable", { { BUF, 10, 7, VQ_WRITE | VQ_NEXT }, { BUF, 90, 7, VQ_WRITE } }, 2, true, VCHAIN_OK, 100, 2 },
	{ "readable behind writable", { { BUF, 10, 7, VQ_WRITE | VQ_NEXT }, { BUF, 90, 7, 0 } }, 2, true, VCHAIN_BAD, 0, 0 },
	{ "indirect with next", { { BUF, 16, 7, VQ_INDIRECT | VQ_NEXT }, { BUF, 1, 7, 0 } }, 2, false, VCHAIN_BAD, 0, 0 },
	{ "indirect in a chain", { { BUF, 16, 7, VQ_NEXT }, { BUF, 16, 7, VQ_INDIRECT } }, 2, false, VCHAIN_BAD, 0, 0 },
	{ "indirect of length 0", { { BUF, 0, 7, VQ_INDIRECT } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "indirect of length 17", { { BUF, 17, 7, VQ_INDIRECT } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "indirect outside", { { 0x10, 16, 7, VQ_INDIRECT } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "indirect longer than the ring", { { BUF, 16 * 9, 7, VQ_INDIRECT } }, 1, false, VCHAIN_BAD, 0, 0 },
	{ "indirect as large as there are numbers", { { BUF, 0xfffffff0, 7, VQ_INDIRECT } }, 1, false, VCHAIN_BAD, 0, 0 },
};

static void offer_row(struct ringbed *b, const struct row *row)
{
	const struct gmem_region *r0 = &b->mem->region[0], *r1 = &b->mem->region[1];
	for (unsigned i = 0; i < row->n; i++) {
		struct vq_pdesc d = row->d[i];
		if (d.addr == BUF)
			d.addr = b->buf;
		else if (d.addr == EDGE)
			d.addr = r0->gpa + r0->size - 100;
		else if (d.addr == END)
			d.addr = r1->gpa + r1->size - 100;
		vq_packed_raw(&b->q, d);
	}
	vq_publish(&b->q, false);
}

static void test_chains(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ringbed b;
		struct vchain c;
		struct vones taken;
		const char *why = NULL;
		bed_open(&b, 8, F_USUAL, false, false);
		assert_false(pring_ready(b.packed, 0));
		offer_row(&b, &rows[i]);
		assert_true(pring_ready(b.packed, 0));
		enum vchain_result res = pchain_fetch(b.packed, 0, rows[i].writable, segs, VCHAIN_MAX_SEGS, &c, &why);
		if (res != rows[i].want || c.len != rows[i].len || c.n_segs != rows[i].segs)
			fail_msg("%s: result %d (%s), length %u in %u pieces", rows[i].name, res, why ? why : "", c.len, c.n_segs);
		assert_int_equal(c.slots, rows[i].n); // good or bad, it is known how it goes back
		assert_int_equal(c.id, rows[i].d[rows[i].n - 1].id);
		assert_true((res == VCHAIN_BAD) == (why != NULL));
		bool is_plain = res == VCHAIN_OK && rows[i].n == 1 && rows[i].segs == 1;
		assert_int_equal(pone_fetch(b.packed, 1, rows[i].writable, 1, 0, &taken), is_plain);
		if (is_plain) {
			assert_true(taken.id[0] == gwrite_packed_id(c.id, c.slots));
			assert_true(taken.host[0] == segs[0].host && taken.len[0] == segs[0].len);
			assert_true(rows[i].writable ? taken.gpa[0] == segs[0].gpa : taken.rest[0] == taken.host[0]);
			assert_int_equal(pone_fetch(b.packed, 1, rows[i].writable, c.len + 1, 0, &taken), 0); // too short
		}
		ringbed_close(&b);
	}
}

static void test_indirect(void **state)
{
	(void)state;
	struct ringbed b;
	struct vchain c;
	const char *why;
	bed_open(&b, 8, F_USUAL, false, false);
	const struct gmem_region *r0 = &b.mem->region[0];
	uint64_t at = r0->gpa + r0->size - 24; // unaligned, over two regions
	// flags other than WRITE and INDIRECT say nothing
	struct vq_pdesc t[2] = { { b.buf, 11, 5, 0 }, { b.buf, 31, 6, 0xffff & ~(VQ_WRITE | VQ_INDIRECT) } };
	uint8_t raw[sizeof(t)];
	memcpy(raw, t, sizeof(t));
	for (unsigned i = 0; i < sizeof(t); i++)
		*gmem_at(b.mem, at + i) = raw[i];
	vq_packed_raw(&b.q, (struct vq_pdesc){ at, sizeof(t), 7, VQ_INDIRECT });
	vq_publish(&b.q, false);
	assert_int_equal(pchain_fetch(b.packed, 0, false, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_OK);
	assert_int_equal(c.len, 42);
	assert_int_equal(c.id, 7);
	assert_int_equal(c.slots, 1);
	assert_int_equal(pchain_fetch(b.packed, 0, false, segs, 1, &c, &why), VCHAIN_NO_ROOM);
	*gmem_at(b.mem, at + 14) = VQ_INDIRECT; // nested
	assert_int_equal(pchain_fetch(b.packed, 0, false, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_BAD);
	ringbed_close(&b);
	bed_open(&b, 8, UINT64_C(1) << 32, false, false); // not negotiated
	vq_packed_raw(&b.q, (struct vq_pdesc){ b.buf, 16, 7, VQ_INDIRECT });
	vq_publish(&b.q, false);
	assert_int_equal(pchain_fetch(b.packed, 0, false, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_BAD);
	ringbed_close(&b);
}

// NEXT all round, and flags that say "available" everywhere: bounded, and the ring is broken, not we.
static void test_no_end(void **state)
{
	(void)state;
	struct ringbed b;
	struct vchain c;
	const char *why;
	bed_open(&b, 8, F_USUAL, false, false);
	for (unsigned i = 0; i < 8; i++)
		b.q.p.desc[i] = (struct vq_pdesc){ b.buf, 10, 1, VQ_NEXT | VQ_AVAIL };
	assert_true(pring_ready(b.packed, 0));
	assert_true(pring_ready(b.packed, 7));
	assert_false(pring_ready(b.packed, 8));
	assert_int_equal(pchain_fetch(b.packed, 0, false, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_BROKEN);
	assert_non_null(vring_broken(&b.packed->v));
	pring_restore(b.packed, FRESH);
	assert_null(vring_broken(&b.packed->v));
	// what the device has already is not taken a second time, whatever the flags say
	for (unsigned i = 0; i < 8; i++)
		b.q.p.desc[i].flags = VQ_AVAIL;
	struct vones many;
	assert_int_equal(pone_fetch(b.packed, 1, false, 1, 0, &many), 1);
	pring_advance(b.packed, 6);
	b.q.p.desc[0].flags = VQ_USED; // available in the next lap
	b.q.p.desc[1].flags = VQ_USED;
	assert_true(pring_ready(b.packed, 1));
	assert_false(pring_ready(b.packed, 2));
	assert_int_equal(pone_fetch(b.packed, 8, false, 1, 0, &many), 2);
	b.q.p.desc[7].flags |= VQ_NEXT;
	assert_int_equal(pchain_fetch(b.packed, 1, false, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_BROKEN);
	ringbed_close(&b);
}

// -- round and round ----------------------------------------------------------------------------------------------------------

// Chains of one to three descriptors through a ring of an odd size, over many laps, several of them in a publish.
static void run_laps(uint16_t num, bool writable, bool in_order)
{
	struct ringbed b;
	bed_open(&b, num, F_USUAL | F_EVENT, in_order, false);
	srandom(num);
	uint32_t sent = 0, back = 0;
	while (back < 2000) {
		for (unsigned k = (unsigned)random() % 4; k != 0; k--) {
			unsigned n = 1 + (unsigned)random() % 3;
			struct vq_buf bufs[3];
			for (unsigned i = 0; i < n; i++)
				bufs[i] = (struct vq_buf){ b.buf + 100 * i, 10 + sent % 7, writable };
			if (vq_add(&b.q, bufs, n, sent))
				sent++;
		}
		assert_false(pring_ready(b.packed, 0)); // not shown yet
		vq_publish(&b.q, false);
		struct gwrite_used elems[16];
		unsigned n = 0;
		uint32_t shown = back;
		while (n < 16 && pring_ready(b.packed, 0)) {
			struct vchain c;
			const char *why;
			assert_int_equal(pchain_fetch(b.packed, 0, writable, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_OK);
			assert_int_equal(c.len, c.n_segs * (10 + (shown++) % 7));
			pring_advance(b.packed, c.slots);
			elems[n++] = (struct gwrite_used){ .id = gwrite_packed_id(c.id, c.slots), .len = writable ? c.len : 0 };
		}
		if (in_order && !writable && n > 1) { // one used descriptor for all
			for (unsigned i = 0; i + 1 < n; i++)
				elems[n - 1].id += elems[i].id & 0xffff0000;
			elems[0] = elems[n - 1];
			n = 1;
		}
		uint32_t token, len;
		gwrite_packed_fill(b.packed, elems, n);
		assert_false(vq_take(&b.q, &token, &len)); // nothing is visible before it is shown
		gwrite_packed_show(b.packed);
		while (vq_take(&b.q, &token, &len)) {
			assert_int_equal(token, back);
			assert_true(!writable ? len == 0 : len % (10 + back % 7) == 0 && len != 0);
			back++;
		}
		assert_null(b.q.broken);
		assert_int_equal(back, sent);
		uint32_t base = pring_base(b.packed);
		assert_int_equal(base & 0xffff, base >> 16);
		assert_int_equal(base, vq_base(&b.q));
		if (random() % 8 == 0)
			pring_restore(b.packed, random() % 2 ? base : base & 0xffff); // a stop and a start, also with half a base
	}
	ringbed_close(&b);
}

static void test_laps(void **state)
{
	(void)state;
	static const uint16_t sizes[] = { 1, 2, 3, 7, 8, 64, 100 };
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		run_laps(sizes[i], false, false);
		run_laps(sizes[i], true, false);
		run_laps(sizes[i], false, true);
		run_laps(sizes[i], true, true);
	}
}

static void test_base(void **state)
{
	(void)state;
	struct why why;
	assert_int_equal(vbase_check_packed(FRESH, 1, &why), OK);
	assert_int_equal(vbase_check_packed(0x80078007, 8, &why), OK);
	assert_int_equal(vbase_check_packed(0x80078008, 8, &why), REFUSED);
	assert_int_equal(vbase_check_packed(0x00080007, 8, &why), REFUSED);
	struct ringbed b;
	bed_open(&b, 8, F_USUAL, false, false);
	assert_int_equal(pring_base(b.packed), FRESH);
	pring_restore(b.packed, 0x80050003); // fetched up to 3 of the next lap, returned up to 5 of this one: that again
	assert_int_equal(pring_base(b.packed), 0x80058005);
	struct vring_conf c = { .num = 0, .mem = b.map };
	struct pring *p;
	assert_int_equal(pring_new(&p, &c, &why), REFUSED);
	c.num = 32769;
	assert_int_equal(pring_new(&p, &c, &why), REFUSED);
	c.num = 8; // addresses that lead nowhere
	assert_int_equal(pring_new(&p, &c, &why), REFUSED);
	ringbed_close(&b);
}

// Wherever a ring stands after clean laps of single descriptors, its flags say it; with traces of longer chains they say nothing
// rather than something wrong.
static void test_find(void **state)
{
	(void)state;
	static const uint16_t sizes[] = { 1, 2, 5, 8 };
	for (unsigned k = 0; k < 4; k++)
		for (unsigned steps = 0; steps < 4u * sizes[k] + 3; steps++)
			for (unsigned out = 0; out <= sizes[k]; out++) {
				struct ringbed b;
				uint32_t found = 0, token, len;
				bed_open(&b, sizes[k], F_USUAL, false, false);
				struct vq_buf buf = { b.buf, 100, false };
				for (unsigned i = 0; i < steps; i++) {
					struct vones one;
					assert_true(vq_add(&b.q, &buf, 1, i));
					vq_publish(&b.q, false);
					assert_int_equal(pone_fetch(b.packed, 1, false, 1, 0, &one), 1);
					pring_advance(b.packed, 1);
					struct gwrite_used u = { .id = one.id[0] };
					gwrite_packed_publish(b.packed, &u, 1);
					assert_true(vq_take(&b.q, &token, &len));
				}
				for (unsigned i = 0; i < out; i++)
					assert_true(vq_add(&b.q, &buf, 1, i));
				vq_publish(&b.q, false);
				assert_true(pring_find(b.packed, &found));
				if (found != pring_base(b.packed))
					fail_msg("size %u, %u done, %u out: 0x%x, not 0x%x", sizes[k], steps, out, found, pring_base(b.packed));
				ringbed_close(&b);
			}
	// killed between the others of a batch and its first: it is shown at the next start, whatever the driver added meanwhile
	for (unsigned steps = 0; steps < 19; steps++)
		for (unsigned cut = 2; cut <= 5; cut++)
			for (unsigned more = 0; cut + more <= 6; more++) {
				struct ringbed k;
				uint32_t at, token, len;
				bed_open(&k, 6, F_USUAL, false, false);
				struct vq_buf buf = { k.buf, 100, false };
				struct vones one;
				struct gwrite_used u[6];
				for (unsigned i = 0; i < steps + cut; i++) {
					assert_true(vq_add(&k.q, &buf, 1, i));
					vq_publish(&k.q, false);
					if (i >= steps)
						continue;
					assert_int_equal(pone_fetch(k.packed, 1, false, 1, 0, &one), 1);
					pring_advance(k.packed, 1);
					u[0] = (struct gwrite_used){ .id = one.id[0] };
					gwrite_packed_publish(k.packed, u, 1);
					assert_true(vq_take(&k.q, &token, &len));
				}
				uint32_t before = pring_base(k.packed);
				assert_int_equal(pone_fetch(k.packed, cut, false, 1, 0, &one), cut);
				for (unsigned i = 0; i < cut; i++)
					u[i] = (struct gwrite_used){ .id = one.id[i], .len = 7 };
				pring_advance(k.packed, cut);
				gwrite_packed_fill(k.packed, u, cut);
				for (unsigned i = 0; i < more; i++)
					assert_true(vq_add(&k.q, &buf, 1, 100 + i));
				vq_publish(&k.q, false);
				assert_false(vq_take(&k.q, &token, &len));
				assert_true(pring_find(k.packed, &at));
				assert_int_equal(at, before);
				for (uint32_t any = 0; any < 12; any++) // nothing else can be right
					assert_int_equal(pring_admits(k.packed, at, any % 6 | (any / 6) << 15), (at & 0xffff) == (any % 6 | (any / 6) << 15));
				pring_restore(k.packed, at);
				assert_int_equal(pring_finish(k.packed), cut);
				for (unsigned i = 0; i < cut; i++) {
					assert_true(vq_take(&k.q, &token, &len));
					assert_int_equal(token, steps + i);
					assert_int_equal(len, i == 0 ? 0 : 7);
				}
				assert_null(k.q.broken);
				assert_int_equal(pring_base(k.packed), vq_base(&k.q));
				assert_int_equal(pring_finish(k.packed), 0);
				assert_int_equal(pone_fetch(k.packed, 6, false, 1, 0, &one), more);
				ringbed_close(&k);
			}
	struct ringbed b;
	uint32_t found;
	bed_open(&b, 8, F_USUAL, false, false);
	struct vq_buf two[2] = { { b.buf, 100, false }, { b.buf, 100, false } };
	assert_true(vq_add(&b.q, two, 2, 0)); // available, and longer
	vq_publish(&b.q, false);
	assert_false(pring_find(b.packed, &found));
	struct gwrite_used u = { .id = gwrite_packed_id(b.q.p.desc[0].id, 2) };
	pring_advance(b.packed, 2);
	gwrite_packed_publish(b.packed, &u, 1);
	if (pring_find(b.packed, &found)) // used: its tail looks as if it were available. The right place is the one behind it
		assert_true(pring_admits(b.packed, found, pring_base(b.packed)));
	for (unsigned i = 0; i < 8; i++) // nonsense
		b.q.p.desc[i].flags = i % 3 == 0 ? VQ_AVAIL : i % 3 == 1 ? VQ_USED : 0;
	assert_false(pring_find(b.packed, &found));
	ringbed_close(&b);
}

// -- suppression ----------------------------------------------------------------------------------------------------------------

// Against the definition: a call iff one of the places that were completed since the last decision is the one asked for.
static void test_wants_call(void **state)
{
	(void)state;
	enum { N = 5 };
	struct ringbed b;
	bed_open(&b, N, F_USUAL | F_EVENT, false, false);
	for (unsigned from = 0; from < 2 * N; from++)
		for (unsigned steps = 1; steps <= N; steps++)
			for (unsigned event = 0; event < 2 * N; event++) {
				struct ppos at = { from % N, from < N };
				pring_restore(b.packed, (at.slot | (uint32_t)at.wrap << 15) * 0x10001u);
				*b.q.p.driver_event = VQ_EVENT_DESC << 16;
				assert_true(pring_wants_call(b.packed)); // nothing is known after a start
				*b.q.p.driver_event = event % N | (event < N ? 1u << 15 : 0) | VQ_EVENT_DESC << 16;
				pring_advance(b.packed, steps);
				struct gwrite_used e = { .id = gwrite_packed_id(0, (uint16_t)steps) };
				gwrite_packed_publish(b.packed, &e, 1);
				bool want = (event + 2 * N - from) % (2 * N) < steps;
				if (pring_wants_call(b.packed) != want)
					fail_msg("from %u by %u, asked for %u: not %d", from, steps, event, want);
			}
	*b.q.p.driver_event = VQ_EVENT_ENABLE << 16;
	assert_true(pring_wants_call(b.packed));
	*b.q.p.driver_event = VQ_EVENT_DISABLE << 16;
	assert_false(pring_wants_call(b.packed));
	*b.q.p.driver_event = 0x7fff | VQ_EVENT_DESC << 16; // a place that the ring does not have: any answer, no harm
	pring_wants_call(b.packed);
	ringbed_close(&b);
	bed_open(&b, N, F_USUAL, false, false);
	*b.q.p.driver_event = VQ_EVENT_DESC << 16; // not negotiated
	assert_true(pring_wants_call(b.packed));
	ringbed_close(&b);
}

static void test_notify(void **state)
{
	(void)state;
	struct ringbed b;
	bed_open(&b, 5, F_USUAL | F_EVENT, false, false);
	gwrite_packed_notify(b.packed, false, 0);
	assert_int_equal(*b.q.p.device_event >> 16, VQ_EVENT_DISABLE);
	pring_restore(b.packed, 0x80038003);
	gwrite_packed_notify(b.packed, true, 3); // slot 1 of the next lap
	assert_int_equal(*b.q.p.device_event, 1 | VQ_EVENT_DESC << 16);
	ringbed_close(&b);
	bed_open(&b, 5, F_USUAL, false, false);
	gwrite_packed_notify(b.packed, true, 0);
	assert_int_equal(*b.q.p.device_event >> 16, VQ_EVENT_ENABLE);
	ringbed_close(&b);
}

// -- log ------------------------------------------------------------------------------------------------------------------------------

static void log_clear(struct ringbed *b)
{
	for (uint64_t i = 0; i < b->log->n_bytes / 8; i++)
		atomic_store(&b->log->words[i], 0);
}

static unsigned log_count(const struct ringbed *b)
{
	unsigned n = 0;
	for (uint64_t i = 0; i < b->log->n_bytes / 8; i++)
		n += (unsigned)__builtin_popcountll(atomic_load(&b->log->words[i]));
	return n;
}

// Every write is in the log, where the descriptor ring lies and not where its log address points, and nothing else is.
static void test_log(void **state)
{
	(void)state;
	struct ringbed b;
	bed_open(&b, 8, F_USUAL | F_EVENT, false, true); // the ring's first two descriptors are in a page of their own
	struct vq_buf buf = { .gpa = b.buf + 4096 - 6, .len = 6000, .write = true };
	struct vchain c[3];
	struct gwrite_used e[3];
	const char *why;
	uint8_t hdr[12] = { 0 }, data[5000];
	memset(data, 0xab, sizeof(data));
	for (unsigned i = 0; i < 3; i++)
		assert_true(vq_add(&b.q, &buf, 1, i));
	vq_publish(&b.q, false);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pchain_fetch(b.packed, 0, true, segs, VCHAIN_MAX_SEGS, &c[i], &why), VCHAIN_OK);
		pring_advance(b.packed, c[i].slots);
		e[i] = (struct gwrite_used){ .id = gwrite_packed_id(c[i].id, c[i].slots), .len = 5012 };
	}
	struct gwrite_at at = gwrite_header(&b.packed->v, segs, (struct gwrite_at){ 0, 0 }, hdr, 12);
	gwrite_payload(&b.packed->v, segs, at, data, sizeof(data));
	gwrite_packed_fill(b.packed, e, 3);
	assert_true(gwrite_unlogged(&b.packed->v));
	assert_int_equal(log_count(&b), 0); // one go, behind one fence
	gwrite_fence();
	gwrite_packed_show(b.packed);
	assert_true(dirty_test(b.log, b.buf)); // first six header bytes
	assert_true(dirty_test(b.log, b.buf + 4096));
	assert_true(dirty_test(b.log, b.buf + 8192));
	assert_true(dirty_test(b.log, b.q.desc_gpa)); // descriptor 1; 0 is logged by the decision
	assert_true(dirty_test(b.log, b.q.desc_gpa + 32)); // descriptor 2
	assert_false(dirty_test(b.log, b.q.used_gpa)); // the device area was not written
	assert_int_equal(log_count(&b), 5);
	log_clear(&b); // harvested between the two: the first was written after that
	pring_wants_call(b.packed);
	assert_true(dirty_test(b.log, b.q.desc_gpa));
	assert_int_equal(log_count(&b), 1);
	log_clear(&b);
	pring_wants_call(b.packed);
	assert_int_equal(log_count(&b), 0);
	gwrite_packed_notify(b.packed, false, 0);
	assert_true(dirty_test(b.log, b.q.used_gpa));
	assert_int_equal(log_count(&b), 1);
	log_clear(&b);
	gwrite_packed_notify(b.packed, false, 0); // unchanged: not written
	assert_int_equal(log_count(&b), 0);
	assert_int_equal(b.log->missed, 0);
	ringbed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains), cmocka_unit_test(test_indirect),	  cmocka_unit_test(test_no_end),
		cmocka_unit_test(test_laps),   cmocka_unit_test(test_base),	  cmocka_unit_test(test_wants_call),
		cmocka_unit_test(test_notify), cmocka_unit_test(test_log),	  cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
