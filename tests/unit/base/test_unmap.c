// A mapping goes in pieces, and nothing beside it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/unmap.h"

// Is all of [at, at + len), which is pages, mapped (all) or none of it?
static bool mapped(const void *at, size_t len, bool all)
{
	for (size_t i = 0; i < len; i += 4096) {
		unsigned char in;
		if ((mincore((char *)(uintptr_t)at + i, 4096, &in) == 0) != all)
			return false;
	}
	return true;
}

static void test_pieces_by_time(void **state)
{
	static const struct {
		size_t was;
		uint64_t us;
		size_t next;
	} rows[] = {
		{ UNMAP_FIRST, 0, 2 * UNMAP_FIRST },
		{ UNMAP_FIRST, 49, 2 * UNMAP_FIRST },
		{ UNMAP_FIRST, 50, UNMAP_FIRST },
		{ UNMAP_FIRST, 200, UNMAP_FIRST },
		{ UNMAP_FIRST, 201, UNMAP_FIRST / 2 },
		{ UNMAP_LEAST, 1000000, UNMAP_LEAST },
		{ (size_t)1 << 40, 0, (size_t)1 << 40 },
	};
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(unmap_piece(rows[i].was, rows[i].us), rows[i].next);
}

static void test_all_and_nothing_else(void **state)
{
	static const size_t sizes[] = { 4096, UNMAP_FIRST - 4096, UNMAP_FIRST, UNMAP_FIRST + 4096, (37u << 20) + 8192 };
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t n = sizes[i];
		char *at = mmap(NULL, n + 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		struct unmap u;
		unsigned calls = 1;
		assert_ptr_not_equal(at, MAP_FAILED);
		memset(at, 1, n + 8192);
		unmap_begin(&u, at + 4096, n);
		while (unmap_next(&u)) {
			size_t done = u.from - (uintptr_t)(at + 4096);
			calls++;
			assert_true(mapped(at + 4096, done, false));
			assert_true(mapped(at + 4096 + done, n - done, true));
		}
		assert_true(mapped(at + 4096, n, false));
		assert_true(mapped(at, 4096, true) && mapped(at + 4096 + n, 4096, true));
		assert_true(calls > 1 || n <= UNMAP_FIRST);
		assert_false(unmap_next(&u));
		munmap(at, 4096);
		munmap(at + 4096 + n, 4096);
	}
}

// Of a mapping that nobody has touched a piece takes a few microseconds, and the next one is larger. (One that was quick is enough here.)
static void test_sparse(void **state)
{
	const size_t n = (size_t)64 << 30;
	char *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct unmap u;
	unsigned calls = 1;
	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	unmap_begin(&u, at, n);
	while (unmap_next(&u))
		calls++;
	assert_in_range(calls, 2, n / UNMAP_FIRST - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_by_time),
		cmocka_unit_test(test_all_and_nothing_else),
		cmocka_unit_test(test_sparse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
