#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "switch/addrs.h"
#include "switch/fdb.h"

static void test_enter_find(void **state)
{
	(void)state;
	struct fdb f;
	uint16_t old;
	assert_true(fdb_init(&f));
	uint64_t k = fdb_key(0x525400000001, 0);
	assert_int_equal(fdb_find(&f, k, 10).port, FDB_NO_PORT);
	assert_int_equal(fdb_enter(&f, k, 3, FDB_LEARNED, 10, &old), FDB_NEW);
	assert_int_equal(fdb_enter(&f, k, 3, FDB_LEARNED, 11, &old), FDB_SAME);
	assert_int_equal(fdb_find(&f, k, 11).port, 3);
	assert_int_equal(fdb_find(&f, fdb_key(0x525400000001, 5), 11).port, FDB_NO_PORT); // another VLAN
	assert_int_equal(fdb_enter(&f, k, 4, FDB_LEARNED, 12, &old), FDB_MOVED);
	assert_int_equal(old, 3);
	assert_int_equal(fdb_find(&f, k, 12 + FDB_AGE_S).port, 4);
	assert_int_equal(fdb_find(&f, k, 13 + FDB_AGE_S).port, FDB_NO_PORT); // aged
	fdb_touch(&f, k, 4, 200);
	assert_int_equal(fdb_find(&f, k, 13 + FDB_AGE_S).port, 4);
	fdb_fini(&f);
}

static void test_configured(void **state)
{
	(void)state;
	struct fdb f;
	uint16_t old;
	assert_true(fdb_init(&f));
	uint64_t k = fdb_key(0x525400000002, 0);
	assert_int_equal(fdb_enter(&f, k, 1, FDB_CONFIG, 0, &old), FDB_NEW);
	assert_int_equal(fdb_enter(&f, k, 2, FDB_LEARNED, 1, &old), FDB_KEPT);
	assert_int_equal(fdb_enter(&f, k, 2, FDB_CLAIMED, 1, &old), FDB_KEPT);
	assert_int_equal(fdb_find(&f, k, 100000).port, 1); // does not age
	assert_int_equal(fdb_enter(&f, k, 2, FDB_CONFIG, 1, &old), FDB_MOVED);
	assert_int_equal(fdb_move_port(&f, 2, 7, 2), 1);
	assert_int_equal(fdb_find(&f, k, 100000).port, 7);
	assert_int_equal(fdb_move_port(&f, 7, FDB_NO_PORT, 2), 1);
	assert_int_equal(fdb_find(&f, k, 2).port, FDB_NO_PORT);
	fdb_fini(&f);
}

static void test_full_and_grow(void **state)
{
	(void)state;
	struct fdb f;
	uint16_t old;
	assert_true(fdb_init(&f));
	unsigned n = 0, full = 0;
	for (uint64_t i = 1; i <= 60000; i++) {
		enum fdb_entered e = fdb_enter(&f, fdb_key(i, 0), 1, FDB_LEARNED, 0, &old);
		n += e == FDB_NEW;
		full += e == FDB_FULL;
		if (f.want_grow && e != FDB_FULL)
			fdb_table_free(fdb_grow(&f, 0));
	}
	assert_true(n > 45000); // the largest table takes three quarters
	assert_true(full < 15000);
	assert_int_equal(fdb_count_port(&f, 1, 0), n);
	fdb_table_free(fdb_grow(&f, FDB_AGE_S + 1)); // all are too old: the new table is empty
	assert_int_equal(fdb_count_port(&f, 1, 0), 0);
	assert_int_equal(fdb_enter(&f, fdb_key(1, 0), 1, FDB_LEARNED, 0, &old), FDB_NEW);
	fdb_fini(&f);
}

struct visit {
	struct fdb *f;
	unsigned n;
};

static void enter_another(void *arg, uint64_t key, const struct fdb_hit *hit)
{
	struct visit *v = arg;
	uint16_t old;
	(void)hit;
	v->n++;
	fdb_enter(v->f, key + (UINT64_C(1) << 40), 2, FDB_LEARNED, 0, &old); // as a data thread might, meanwhile
}

// Whoever looks at the database keeps nobody from entering addresses.
static void test_each_waits_for_nobody(void **state)
{
	(void)state;
	struct fdb f;
	struct visit v = { &f, 0 };
	uint16_t old;
	assert_true(fdb_init(&f));
	for (uint64_t i = 1; i <= 50; i++)
		fdb_enter(&f, fdb_key(i, 0), 1, FDB_LEARNED, 0, &old);
	alarm(20);
	fdb_each(&f, 0, enter_another, &v);
	alarm(0);
	assert_true(v.n >= 50);
	assert_int_equal(fdb_count_port(&f, 1, 0), 50);
	fdb_fini(&f);
}

static void test_addrs(void **state)
{
	(void)state;
	struct addrs a;
	addrs_init(&a);
	struct ip_addr out[ADDRS_PER_MAC], ip = { .family = 4 };
	for (uint64_t key = 100; key > 0; key--) {
		for (uint8_t i = 0; i < 10; i++) {
			ip.addr[0] = i;
			assert_true(addrs_add(&a, key, &ip));
		}
		assert_false(addrs_add(&a, key, &ip)); // known
		assert_int_equal(addrs_get(&a, key, out), ADDRS_PER_MAC);
		assert_int_equal(out[0].addr[0], 8); // the oldest two were replaced
		assert_int_equal(out[1].addr[0], 9);
		assert_int_equal(out[2].addr[0], 2);
	}
	addrs_forget(&a, 50);
	assert_int_equal(addrs_get(&a, 50, out), 0);
	assert_int_equal(addrs_get(&a, 51, out), ADDRS_PER_MAC);
	addrs_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enter_find),
		cmocka_unit_test(test_configured),
		cmocka_unit_test(test_full_and_grow),
		cmocka_unit_test(test_each_waits_for_nobody),
		cmocka_unit_test(test_addrs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
