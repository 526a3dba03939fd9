// Guest memory on its way out: at once, or piece by piece where somebody comes back for it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/unmap.h"
#include "guest/letgo.h"

#define SIZE (32u << 20)

static unsigned asked;

static void ask(void *arg)
{
	assert_ptr_equal(arg, &asked);
	asked++;
}

static char *map(size_t len)
{
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	memset(at, 1, len);
	return at;
}

static bool there(const char *page)
{
	unsigned char in;
	return mincore((char *)(uintptr_t)page, 4096, &in) == 0;
}

static bool wholly(const char *at, size_t len, bool mapped)
{
	for (size_t i = 0; i < len; i += 4096)
		if (there(at + i) != mapped)
			return false;
	return true;
}

static void test_at_once(void **state)
{
	char *at = map(SIZE);
	(void)state;
	letgo(at, SIZE);
	assert_true(wholly(at, SIZE, false));
	assert_false(letgo_some());
}

static void test_in_pieces(void **state)
{
	(void)state;
	letgo_ask(ask, &asked);
	char *small = map(UNMAP_LARGE - 4096), *a = map(SIZE), *b = map(SIZE);
	asked = 0;
	letgo(small, UNMAP_LARGE - 4096);
	assert_true(wholly(small, UNMAP_LARGE - 4096, false));
	assert_int_equal(asked, 0);
	letgo(a, SIZE);
	letgo(b, SIZE);
	assert_int_equal(asked, 1);
	assert_true(wholly(a, SIZE, true) && wholly(b, SIZE, true));
	assert_true(letgo_some());
	assert_false(there(a));
	while (there(a + SIZE - 4096)) {
		assert_true(wholly(b, SIZE, true));
		assert_true(letgo_some());
	}
	assert_true(wholly(a, SIZE, false));
	while (letgo_some())
		;
	assert_true(wholly(b, SIZE, false));
	assert_int_equal(asked, 1);
	a = map(SIZE);
	letgo(a, SIZE);
	assert_int_equal(asked, 2);
	letgo_ask(NULL, NULL);
	while (letgo_some())
		;
	assert_true(wholly(a, SIZE, false));
}

// A front end that changes its memory faster than it goes.
static void test_too_many(void **state)
{
	enum { N = 70, KEPT = 64 };
	char *at[N];
	(void)state;
	letgo_ask(ask, &asked);
	for (unsigned i = 0; i < N; i++) {
		at[i] = mmap(NULL, UNMAP_LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		assert_ptr_not_equal(at[i], MAP_FAILED);
	}
	for (unsigned i = 0; i < N; i++) {
		letgo(at[i], UNMAP_LARGE);
		assert_true(there(at[i]) == (i < KEPT));
	}
	while (letgo_some())
		;
	for (unsigned i = 0; i < N; i++)
		assert_false(there(at[i]));
	letgo_ask(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
