// Many chains at a time are what one at a time is: whatever the driver wrote, what vone_fetch and pone_fetch take, ring_fetch takes for the
// same bytes. And tables of a header and a frame are among it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/mem.h"
#include "guest/ring.h"

#define NUM 16u
#define MANY 8u // chains of a round
#define AHEAD 12u
#define F_V1 (UINT64_C(1) << 32)
#define F_IND (UINT64_C(1) << 28)
#define F_PACKED (UINT64_C(1) << 34)

struct bed {
	struct gmem *mem;
	struct mem_map *map;
	struct vq q;
	struct vring *ring;
	uint64_t buf; // guest-physical: 64 KiB
};

static void bed_open(struct bed *b, uint64_t features)
{
	memset(b, 0, sizeof(*b));
	struct gmem_conf mc = { .regions = 2, .region_bytes = 1u << 20 };
	b->mem = gmem_new(&mc);
	struct vu_memory t;
	int fds[VU_MAX_FDS];
	gmem_table(b->mem, &t, fds);
	struct mem_spec spec[2];
	for (unsigned i = 0; i < 2; i++)
		spec[i] = (struct mem_spec){ t.region[i].guest_addr, t.region[i].size, t.region[i].user_addr, t.region[i].mmap_offset };
	struct why why;
	assert_int_equal(mem_build(&b->map, spec, fds, 2, false, &why), OK);
	assert_true(features & F_PACKED ? vq_init_packed(&b->q, b->mem, 0, NUM, true) : vq_init(&b->q, b->mem, 0, NUM, true));
	vq_reset(&b->q, 0, false);
	b->q.kick = -1;
	b->buf = gmem_area(b->mem, 0, GMEM_DEVICE, 65536, 0);
	struct vring_conf c = { .num = NUM, .features = features, .mem = b->map, .desc_uaddr = gmem_uaddr(b->mem, b->q.desc_gpa),
				.avail_uaddr = gmem_uaddr(b->mem, b->q.avail_gpa), .used_uaddr = gmem_uaddr(b->mem, b->q.used_gpa),
				.log_gpa = b->q.used_gpa, .call_fd = -1 };
	assert_int_equal(ring_new(&b->ring, &c, &why), OK);
}

static void bed_close(struct bed *b)
{
	ring_free(b->ring);
	vq_fini(&b->q);
	mem_free(b->map);
	gmem_free(b->mem);
}

static uint64_t draw(unsigned n)
{
	return (uint64_t)(unsigned)random() % n;
}

// One descriptor or entry of a table, as it lies in memory.
static void put(const struct bed *b, uint8_t *to, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vq_desc split = { gpa, len, flags, next };
	struct vq_pdesc packed = { gpa, len, next, flags };
	memcpy(to, b->q.packed ? (void *)&packed : (void *)&split, 16);
}

static uint64_t any_address(const struct bed *b)
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

static void add_chain(struct bed *b, unsigned i)
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

static unsigned round_of(struct bed *b, bool writable)
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
		struct bed b;
		bed_open(&b, features);
		tables += round_of(&b, writable);
		bed_close(&b);
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
	differs_nowhere(F_V1 | F_IND | F_PACKED, false);
	differs_nowhere(F_V1 | F_IND | F_PACKED, true);
	differs_nowhere(F_V1 | F_PACKED, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_split), cmocka_unit_test(test_packed) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
