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

static struct ip_addr ip_no(uint32_t n)
{
	return (struct ip_addr){ .family = 4, .addr = { 10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

static void test_addrs(void **state)
{
	(void)state;
	struct addrs a;
	assert_true(addrs_init(&a));
	struct ip_addr out[ADDRS_PER_MAC], ip;
	for (uint64_t key = fdb_key(100, 0); key > 0; key -= fdb_key(1, 0)) {
		for (uint32_t i = 0; i < 10; i++) {
			ip = ip_no((uint32_t)(key >> 12) * 16 + i);
			assert_true(addrs_add(&a, key, 1, &ip, 0));
		}
		assert_false(addrs_add(&a, key, 1, &ip, 0)); // known
		assert_int_equal(addrs_get(&a, key, out), ADDRS_PER_MAC);
		assert_int_equal(out[0].addr[3] % 16, 2); // the oldest two are gone
		assert_int_equal(out[7].addr[3] % 16, 9);
	}
	assert_int_equal(a.of_port[1], 100 * ADDRS_PER_MAC);
	addrs_fini(&a);
}

// The later claim is the true one, within a VLAN; of a router only what it says itself.
static void test_addrs_claims(void **state)
{
	(void)state;
	struct addrs a;
	struct ip_addr out[ADDRS_PER_MAC], ip = ip_no(1), six = { .family = 6, .addr = { 0xfe, 0x80, [15] = 9 } };
	uint64_t first = fdb_key(1, 0), second = fdb_key(2, 0), tagged = fdb_key(3, 5);
	assert_true(addrs_init(&a));
	assert_true(addrs_add(&a, first, 1, &ip, 0));
	assert_true(addrs_add(&a, tagged, 3, &ip, 0)); // another network
	assert_true(addrs_add(&a, second, 2, &ip, 0));
	assert_int_equal(addrs_get(&a, first, out), 0);
	assert_int_equal(addrs_get(&a, second, out), 1);
	assert_int_equal(addrs_get(&a, tagged, out), 1);
	assert_false(addrs_disown(&a, second, &ip));
	assert_true(addrs_disown(&a, first, &ip));
	assert_int_equal(addrs_get(&a, second, out), 0);
	assert_true(addrs_add(&a, first, 1, &six, 0));
	six.router = IP_ROUTER_YES;
	assert_true(addrs_add(&a, first, 1, &six, 0));
	six.router = IP_ROUTER_NOT_SAID;
	assert_false(addrs_add(&a, first, 1, &six, 0));
	assert_int_equal(addrs_get(&a, first, out), 1);
	assert_int_equal(out[0].router, IP_ROUTER_YES);
	assert_true(a.of_port[1] == 1 && a.of_port[2] == 0 && a.of_port[3] == 1);
	addrs_fini(&a);
}

static uint16_t where(void *arg, uint64_t key)
{
	const struct fdb *f = arg;
	return fdb_find(f, key, 0).port;
}

// One port, or time, does not take the room of all; what is nowhere any more gives its room back.
static void test_addrs_room(void **state)
{
	(void)state;
	struct addrs a;
	struct fdb f;
	struct ip_addr out[ADDRS_PER_MAC], ip;
	uint16_t old;
	uint32_t n = 0;
	assert_true(addrs_init(&a) && fdb_init(&f));
	for (uint64_t mac = 1; n < 3 * ADDRS_PER_PORT; mac++, n++) {
		ip = ip_no(n);
		addrs_add(&a, fdb_key(mac, 0), 7, &ip, 1);
	}
	assert_int_equal(a.of_port[7], ADDRS_PER_PORT);
	assert_true(a.want_sweep);
	ip = ip_no(n++);
	assert_true(addrs_add(&a, fdb_key(1u << 20, 0), 8, &ip, 1)); // another port's
	fdb_enter(&f, fdb_key(1, 0), 7, FDB_LEARNED, 0, &old);
	fdb_enter(&f, fdb_key(2, 0), 9, FDB_LEARNED, 0, &old);
	addrs_settle(&a, where, &f, ADDRS_NOWHERE, 2); // none is gone: they only count where they are
	assert_true(a.want_sweep && a.of_port[7] == ADDRS_PER_PORT - 1 && a.of_port[8] == 1 && a.of_port[9] == 1);
	addrs_settle(&a, where, &f, 7, 2);
	assert_true(a.of_port[7] == 1 && a.of_port[8] == 1 && a.of_port[9] == 1);
	assert_int_equal(addrs_get(&a, fdb_key(2, 0), out), 1);
	addrs_settle(&a, where, &f, ADDRS_ANY, 2);
	assert_true(!a.want_sweep && a.of_port[7] == 1 && a.of_port[8] == 0 && a.of_port[9] == 1);
	for (uint64_t mac = 10; mac < 4000; mac++) {
		ip = ip_no(n++);
		assert_true(addrs_add(&a, fdb_key(mac, 0), 7, &ip, 3));
	}
	addrs_fini(&a);
	fdb_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enter_find),
		cmocka_unit_test(test_configured),
		cmocka_unit_test(test_full_and_grow),
		cmocka_unit_test(test_each_waits_for_nobody),
		cmocka_unit_test(test_addrs),
		cmocka_unit_test(test_addrs_claims),
		cmocka_unit_test(test_addrs_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
