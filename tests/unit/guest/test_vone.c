// Many chains at a time are what one at a time is: whatever the driver wrote, what vone_fetch and pone_fetch take, ring_fetch takes for the
// same bytes. And tables of a header and a frame are among it. The twins, one at a time and four at a time, take the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringbed.h"

#define NUM 16u
#define MANY 8u // chains of a round
#define TWIN_NUM 64u
#define AHEAD 12u
#define F_V1 (UINT64_C(1) << 32)
#define F_IND (UINT64_C(1) << 28)

static bool can_wide; // here

static uint64_t draw(unsigned n)
{
	return (uint64_t)(unsigned)random() % n;
}

// One descriptor or entry of a table, as it lies in memory.
static void put(const struct ringbed *b, uint8_t *to, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vq_desc split = { gpa, len, flags, next };
	struct vq_pdesc packed = { gpa, len, next, flags };
	memcpy(to, b->q.packed ? (void *)&packed : (void *)&split, 16);
}

static uint64_t any_address(const struct ringbed *b)
{
	uint64_t edge = gmem_end(b->mem) - (1u << 20);
	switch (draw(12)) {
	case 0: return edge - draw(40); // between the regions
	case 1: return gmem_end(b->mem) - draw(40);
	case 2: return UINT64_MAX - draw(40);
	default: return b->buf + 32768 + draw(16384);
	}
}

static uint32_t any_length(uint32_t usual)
{
	static const uint32_t lens[] = { 0, 1, 11, 12, 13, 46, 100, 4096, UINT32_MAX, UINT32_MAX - 11 };
	return draw(8) ? usual : lens[draw(sizeof(lens) / sizeof(lens[0]))];
}

static uint16_t any_flags(uint16_t usual)
{
	return draw(10) ? usual : (uint16_t)draw(8);
}

static void add_chain(struct ringbed *b, unsigned i)
{
	uint64_t table = b->buf + (uint64_t)i * 256 + (draw(4) ? 0 : draw(16)), gpa = any_address(b);
	uint32_t len = any_length(100), tlen = draw(8) ? 32 : (uint32_t)draw(5) * 16 + (uint32_t)draw(2);
	uint16_t flags = any_flags(0);
	if (draw(3)) { // a table
		uint8_t *to = gmem_at(b->mem, table);
		put(b, to, any_address(b), any_length(AHEAD), any_flags(VQ_NEXT), draw(10) ? 1 : (uint16_t)draw(4));
		put(b, to + 16, any_address(b), any_length(60), any_flags(0), (uint16_t)draw(3));
		put(b, to + 32, any_address(b), any_length(60), any_flags(0), (uint16_t)draw(3));
		gpa = draw(20) ? table : any_address(b);
		len = tlen;
		flags = draw(20) ? VQ_INDIRECT : (uint16_t)(VQ_INDIRECT | draw(4));
	}
	if (b->q.packed) {
		vq_packed_raw(&b->q, (struct vq_pdesc){ gpa, len, (uint16_t)i, flags });
	} else {
		put(b, (uint8_t *)b->q.desc + (size_t)i * 16, gpa, len, flags, (uint16_t)draw(NUM));
		vq_offer_raw(&b->q, (uint16_t)i);
	}
}

// The bytes of the pieces [at, at + len) begin at this address, and are in one piece.
static bool lies(const struct gseg *segs, unsigned n, uint32_t at, const uint8_t *host, uint32_t len)
{
	for (unsigned i = 0; i < n; at -= segs[i++].len)
		if (at < segs[i].len)
			return segs[i].host + at == host && len <= segs[i].len - at;
	return false;
}

// What was taken is what the general form takes. Returns how many were tables.
static unsigned as_general(struct ringbed *b, bool writable, uint32_t min_len, const struct vones *one, unsigned n)
{
	static struct gseg segs[VCHAIN_MAX_SEGS];
	unsigned tables = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vchain c;
		const char *why = NULL;
		assert_int_equal(ring_fetch(b->ring, i, writable, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_OK);
		assert_int_equal(ring_used(b->ring, &c, 0).id, one->id[i]);
		assert_int_equal(c.len, one->len[i]);
		assert_true(c.len >= min_len);
		if (writable) {
			assert_true(c.n_segs == 1 && segs[0].gpa == one->gpa[i]);
			assert_ptr_equal(segs[0].host, one->host[i]);
			continue;
		}
		assert_true(lies(segs, c.n_segs, 0, one->host[i], c.len < AHEAD ? c.len : AHEAD));
		if (c.len > AHEAD)
			assert_true(lies(segs, c.n_segs, AHEAD, one->rest[i], c.len - AHEAD));
		tables += one->rest[i] != one->host[i] + AHEAD;
		for (unsigned k = 0; k < VONE_FIRST && c.len >= VONE_FIRST; k++) // the sanitizer's
			(void)*(const volatile uint8_t *)(one->host[i] + k);
	}
	return tables;
}

static unsigned take_all(struct ringbed *b, bool wide, unsigned many, bool writable, uint32_t min_len, struct vones *one)
{
	uint8_t hint = b->ring->hint;
	b->ring->wide = wide;
	unsigned n = ring_fetch_ones(b->ring, many, ring_pending(b->ring), writable, min_len, AHEAD, one);
	if (!wide)
		b->ring->hint = hint;
	assert_true(n <= many);
	return n;
}

static unsigned round_of(struct ringbed *b, bool writable)
{
	struct vones one;
	for (unsigned i = 0; i < MANY; i++)
		add_chain(b, i);
	vq_publish(&b->q, false);
	uint32_t min_len = 1 + (uint32_t)draw(60);
	unsigned n = take_all(b, can_wide && draw(2), MANY, writable, min_len, &one);
	return as_general(b, writable, min_len, &one, n);
}

static void differs_nowhere(uint64_t features, bool writable)
{
	unsigned tables = 0;
	srandom(1);
	for (unsigned i = 0; i < 3000; i++) {
		struct ringbed b;
		ringbed_open(&b, &(struct ringbed_conf){ .num = NUM, .features = features });
		tables += round_of(&b, writable);
		ringbed_close(&b);
	}
	if (!writable && (features & F_IND))
		assert_true(tables > 1000);
	else
		assert_int_equal(tables, 0);
}

// -- the twins --------------------------------------------------------------------------------------------------------------

// Buffers as they should be, in the one region or the other, but for one in so many, which is anything.
static void add_buffer(struct ringbed *b, uint16_t head, unsigned region, bool writable)
{
	uint64_t gpa = region ? gmem_end(b->mem) - 65536 : b->buf + 32768;
	uint32_t len = any_length(100 + (uint32_t)draw(1000));
	uint16_t flags = any_flags(writable ? VQ_WRITE : 0);
	gpa = draw(30) ? gpa + draw(16384) : any_address(b);
	if (draw(20)) {
		len = 100 + (uint32_t)draw(1000);
		flags = writable ? VQ_WRITE : 0;
	}
	if (b->q.packed) {
		vq_packed_raw(&b->q, (struct vq_pdesc){ gpa, len, (uint16_t)draw(65536), flags });
		return;
	}
	if (draw(200) == 0) { // one that is not in the table, and would be a good one
		head = (uint16_t)((b->buf + 60000 - b->q.desc_gpa) / 16);
		assert_true(head >= TWIN_NUM);
	}
	put(b, gmem_at(b->mem, b->q.desc_gpa + (uint64_t)head * 16), gpa, len, flags, (uint16_t)draw(65536));
	vq_offer_raw(&b->q, head);
}

// The place in the ring moves on, so that batches go over its end.
static void go_round(struct ringbed *b, unsigned steps)
{
	struct vq_buf buf = { b->buf, 100, false };
	struct vones one;
	uint32_t token, len;
	for (unsigned i = 0; i < steps; i++) {
		assert_true(vq_add(&b->q, &buf, 1, i));
		vq_publish(&b->q, false);
		assert_int_equal(take_all(b, false, 1, false, 1, &one), 1);
		struct gwrite_used u = { .id = one.id[0] };
		ring_advance(b->ring, 1);
		ring_publish(b->ring, &u, 1);
		assert_true(vq_take(&b->q, &token, &len));
	}
}

// All of n are the same in both, but for what neither says: a readable one's gpa.
static void same(const struct vones *a, const struct vones *b, unsigned n)
{
	assert_memory_equal(a->host, b->host, n * sizeof(a->host[0]));
	assert_memory_equal(a->gpa, b->gpa, n * sizeof(a->gpa[0]));
	assert_memory_equal(a->len, b->len, n * sizeof(a->len[0]));
	assert_memory_equal(a->id, b->id, n * sizeof(a->id[0]));
}

static void twins_agree(uint64_t features, bool writable)
{
	unsigned taken = 0, rounds = 2000, whole = 0;
	srandom(1);
	for (unsigned i = 0; i < rounds; i++) {
		struct ringbed b;
		struct vones one, wide;
		unsigned many = 1 + (unsigned)draw(TWIN_NUM), region = (unsigned)draw(2), mixed = draw(4) == 0;
		uint32_t min_len = 1 + (uint32_t)draw(60);
		ringbed_open(&b, &(struct ringbed_conf){ .num = TWIN_NUM, .features = features });
		go_round(&b, (unsigned)draw(TWIN_NUM + 4));
		for (unsigned k = 0; k < many; k++)
			add_buffer(&b, (uint16_t)(k * 5 % TWIN_NUM), mixed ? (unsigned)draw(2) : region, writable);
		vq_publish(&b.q, false);
		b.ring->hint = (uint8_t)draw(2);
		unsigned n = take_all(&b, false, many, writable, min_len, &one);
		assert_int_equal(take_all(&b, true, many, writable, min_len, &wide), n);
		same(&one, &wide, n);
		as_general(&b, writable, min_len, &wide, n);
		taken += n;
		whole += n == many && many >= 16;
		ringbed_close(&b);
	}
	assert_true(taken > rounds * 8 && whole > rounds / 20);
}

static void test_twins(void **state)
{
	(void)state;
	if (!can_wide)
		skip();
	for (unsigned i = 0; i < 2; i++) {
		twins_agree(F_V1 | F_IND, i != 0);
		twins_agree(F_V1 | F_IND | RINGBED_PACKED, i != 0);
	}
}

static void test_split(void **state)
{
	(void)state;
	differs_nowhere(F_V1 | F_IND, false);
	differs_nowhere(F_V1 | F_IND, true);
	differs_nowhere(F_V1, false);
}

static void test_packed(void **state)
{
	(void)state;
	differs_nowhere(F_V1 | F_IND | RINGBED_PACKED, false);
	differs_nowhere(F_V1 | F_IND | RINGBED_PACKED, true);
	differs_nowhere(F_V1 | RINGBED_PACKED, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_split), cmocka_unit_test(test_packed), cmocka_unit_test(test_twins) };
	can_wide = vone_wide_for(NULL);
#ifdef VRINGD_MUTANT_WIDE // has nothing to show where that twin is not used
	if (!can_wide)
		return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
