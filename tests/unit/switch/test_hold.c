#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "switch/held.h"
#include "switch/hold.h"

static struct held *mem;
static _Atomic uint64_t used;

static bool put(struct hold *h, uint32_t no, uint32_t len, uint64_t limit, uint64_t all)
{
	struct hold_rec rec = { .len = len, .until_us = no };
	uint8_t *to = hold_append(h, &rec, limit, &used, all);
	if (to) {
		memset(to, 0xee, len);
		memcpy(to, &no, 4);
		hold_commit(h);
	}
	return to != NULL;
}

static uint32_t pop(struct hold *h)
{
	struct hold_rec *r = hold_first(h);
	uint32_t no = 0;
	if (r) {
		memcpy(&no, hold_bytes(r), 4);
		hold_pop(h, &used);
		if (no % 3 == 0) // a few at a time
			hold_settle(h);
	}
	return no;
}

static void test_order_over_chunks(void **state)
{
	(void)state;
	struct hold h;
	hold_init(&h, mem, 0);
	for (uint32_t i = 1; i <= 1000; i++)
		assert_true(put(&h, i, 60 + i * 3, UINT64_MAX, UINT64_MAX)); // several chunks
	assert_true(put(&h, 1001, 65549, UINT64_MAX, UINT64_MAX));
	for (uint32_t i = 1; i <= 1001; i++)
		assert_int_equal(pop(&h), i);
	assert_int_equal(pop(&h), 0);
	assert_int_equal(used, 0);
	assert_int_equal(h.bytes, 0);
	hold_settle(&h);
	assert_null(h.head);
	hold_fini(&h, &used, false);
}

static void test_limits(void **state)
{
	(void)state;
	struct hold a, b;
	hold_init(&a, mem, 0);
	hold_init(&b, mem, 1);
	unsigned n = 0;
	while (put(&a, n + 1, 1000, 10000, UINT64_MAX))
		n++;
	assert_int_equal(n, 9);
	while (put(&b, n + 1, 1000, UINT64_MAX, 20000)) // of all together
		n++;
	assert_true(n < 20 && n > 15);
	assert_true(used <= 20000);
	hold_fini(&a, &used, false);
	hold_fini(&b, &used, false);
	assert_int_equal(used, 0);
}

static void take_even(void *arg, struct hold_rec *rec)
{
	uint32_t no;
	memcpy(&no, hold_bytes(rec), 4);
	if (no % 2 == 0)
		hold_take_out(arg, rec, &used);
}

static void test_splice_and_take_out(void **state)
{
	(void)state;
	struct hold a, b;
	hold_init(&a, mem, 0);
	hold_init(&b, mem, 1);
	for (uint32_t i = 1; i <= 10; i++)
		put(&a, i, 100, UINT64_MAX, UINT64_MAX);
	for (uint32_t i = 11; i <= 20; i++)
		put(&b, i, 100, UINT64_MAX, UINT64_MAX);
	assert_int_equal(a.oldest_until_us, 1);
	hold_splice(&a, &b); // a's go in front
	assert_int_equal(a.frames, 0);
	assert_int_equal(b.frames, 20);
	assert_int_equal(b.oldest_until_us, 1);
	hold_each(&b, take_even, &b);
	assert_int_equal(b.frames, 10);
	for (uint32_t i = 1; i <= 19; i += 2)
		assert_int_equal(pop(&b), i);
	assert_int_equal(pop(&b), 0);
	put(&a, 5, 100, UINT64_MAX, UINT64_MAX);
	assert_int_equal(pop(&a), 5);
	hold_fini(&a, &used, false);
	hold_fini(&b, &used, false);
	assert_int_equal(used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_over_chunks),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_splice_and_take_out),
	};
	struct why why;
	if (held_open(&mem, -1, 64u << 20, &why) != OK)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	held_close(mem);
	return rc;
}
