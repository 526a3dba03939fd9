// Many chains at a time are what one at a time is: whatever the driver wrote, what vone_fetch and pone_fetch take, ring_fetch takes for the
// same bytes. And tables of a header and a frame are among it.
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
#define AHEAD 12u
#define F_V1 (UINT64_C(1) << 32)
#define F_IND (UINT64_C(1) << 28)

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

static unsigned round_of(struct ringbed *b, bool writable)
{
	static struct gseg segs[VCHAIN_MAX_SEGS];
	struct vone one[MANY];
	unsigned tables = 0;
	for (unsigned i = 0; i < MANY; i++)
		add_chain(b, i);
	vq_publish(&b->q, false);
	uint32_t min_len = 1 + (uint32_t)draw(60);
	unsigned n = ring_fetch_ones(b->ring, MANY, ring_pending(b->ring), writable, min_len, AHEAD, one);
	assert_true(n <= MANY);
	for (unsigned i = 0; i < n; i++) {
		struct vchain c;
		const char *why = NULL;
		assert_int_equal(ring_fetch(b->ring, i, writable, segs, VCHAIN_MAX_SEGS, &c, &why), VCHAIN_OK);
		assert_int_equal(ring_used(b->ring, &c, 0).id, one[i].id);
		assert_int_equal(c.len, one[i].len);
		assert_true(c.len >= min_len);
		if (writable) {
			assert_true(c.n_segs == 1 && segs[0].gpa == one[i].gpa);
			assert_ptr_equal(segs[0].host, one[i].host);
			continue;
		}
		assert_true(lies(segs, c.n_segs, 0, one[i].host, c.len < AHEAD ? c.len : AHEAD));
		if (c.len > AHEAD)
			assert_true(lies(segs, c.n_segs, AHEAD, one[i].rest, c.len - AHEAD));
		tables += one[i].rest != one[i].host + AHEAD;
		for (unsigned k = 0; k < VONE_FIRST && c.len >= VONE_FIRST; k++) // the sanitizer's
			(void)*(const volatile uint8_t *)(one[i].host + k);
	}
	return tables;
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_split), cmocka_unit_test(test_packed) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
