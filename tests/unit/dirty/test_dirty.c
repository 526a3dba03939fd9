// The dirty log: ranges and their borders, what lies outside, a harvester at full speed; ring bases.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dirty/dirty.h"
#include "dirty/vbase.h"

static struct dirty_log *log_open(uint64_t bytes, uint64_t offset, int *fd)
{
	struct dirty_log *log = NULL;
	struct why why;
	*fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(*fd, (off_t)(bytes + offset)), 0);
	assert_int_equal(dirty_open(&log, *fd, bytes, offset, false, &why), OK);
	return log;
}

static void test_ranges(void **state)
{
	(void)state;
	int fd;
	struct dirty_log *log = log_open(64, 8192 + 8, &fd); // 512 pages, behind an offset
	dirty_fence();
	dirty_mark(log, 4095, 2);
	assert_true(dirty_test(log, 0) && dirty_test(log, 4096) && !dirty_test(log, 8192));
	dirty_mark(log, 10 * 4096, 0); // nothing
	assert_false(dirty_test(log, 10 * 4096));
	dirty_mark(log, 63 * 4096, 3 * 4096); // over a word
	assert_true(dirty_test(log, 63 * 4096) && dirty_test(log, 64 * 4096) && dirty_test(log, 65 * 4096));
	assert_false(dirty_test(log, 66 * 4096));
	assert_int_equal(log->marked, 5);
	uint8_t raw[64];
	assert_int_equal(pread(fd, raw, sizeof(raw), 8192 + 8), 64); // byte page/8, bit page%8, offset once
	assert_int_equal(raw[0], 3);
	assert_int_equal(raw[7], 0x80);
	assert_int_equal(raw[8], 3);
	dirty_mark(log, 511 * 4096, 3 * 4096); // one inside, two outside
	assert_true(dirty_test(log, 511 * 4096));
	assert_int_equal(log->missed, 2);
	dirty_mark(log, UINT64_MAX - 10, 100); // wraps: no loop, no crash
	assert_true(log->missed > 2);
	dirty_fill(log, 128 * 4096, 129 * 4096); // whole words; what no memory is behind stays
	for (uint64_t p = 66; p < 512; p++)
		assert_int_equal(dirty_test(log, p * 4096), (p >= 128 && p < 320) || p == 511);
	dirty_fill(log, 300 * 4096, UINT64_MAX); // as far as the log goes
	assert_true(dirty_test(log, 511 * 4096) && dirty_test(log, 400 * 4096));
	dirty_free(log);
	close(fd);
}

static void test_refused(void **state)
{
	(void)state;
	struct why why;
	struct dirty_log *log = NULL;
	int fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 8192), 0);
	const uint64_t v[] = { 0, 1, 8, 4096, 8192, 8193, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX };
	unsigned accepted = 0;
	for (unsigned a = 0; a < 9; a++)
		for (unsigned b = 0; b < 9; b++) {
			bool good = v[a] != 0 && v[a] % 8 == 0 && v[b] % 8 == 0 && v[a] <= 8192 && v[b] <= 8192 - v[a];
			enum err e = dirty_open(&log, fd, v[a], v[b], false, &why);
			assert_int_equal(e == OK, good);
			accepted += good;
			if (e == OK)
				dirty_free(log);
		}
	assert_true(accepted >= 5);
	close(fd);
}

// A writer stamps pages and logs them, a harvester exchanges words with zero and reads the page: what it read last must be the
// last stamp.
#define PAGES 64
static _Atomic uint64_t page_value[PAGES];
static struct dirty_log *race_log;
static _Atomic int race_stop;

static void *writer(void *arg)
{
	(void)arg;
	for (uint64_t n = 1; !race_stop; n++) {
		unsigned p = (unsigned)(n * 7 % PAGES);
		atomic_store_explicit(&page_value[p], n, memory_order_relaxed);
		dirty_fence();
		dirty_mark(race_log, (uint64_t)p * 4096, 1);
	}
	return NULL;
}

static void test_harvest_race(void **state)
{
	(void)state;
	int fd;
	uint64_t copy[PAGES] = { 0 };
	race_log = log_open(8, 0, &fd);
	pthread_t t;
	pthread_create(&t, NULL, writer, NULL);
	for (unsigned round = 0; round < 200000 || !race_stop; round++) {
		if (round == 200000) {
			race_stop = 1;
			pthread_join(t, NULL);
		}
		uint64_t bits = atomic_exchange(&race_log->words[0], 0);
		for (; bits; bits &= bits - 1) {
			int p = __builtin_ctzll(bits);
			copy[p] = atomic_load(&page_value[p]);
		}
	}
	uint64_t bits = atomic_exchange(&race_log->words[0], 0);
	for (; bits; bits &= bits - 1)
		copy[__builtin_ctzll(bits)] = page_value[__builtin_ctzll(bits)];
	for (unsigned p = 0; p < PAGES; p++)
		assert_int_equal(copy[p], page_value[p]);
	dirty_free(race_log);
	close(fd);
}

static void test_base(void **state)
{
	(void)state;
	struct why why;
	assert_int_equal(vbase_check_split(0xffff, &why), OK);
	assert_int_equal(vbase_check_split(0x10000, &why), REFUSED);
	assert_int_equal(vbase_compare(5, 5, 256), VBASE_EQUAL);
	assert_int_equal(vbase_compare(4, 65530, 256), VBASE_AHEAD); // over the wrap
	assert_int_equal(vbase_compare(261, 5, 256), VBASE_AHEAD);
	assert_int_equal(vbase_compare(262, 5, 256), VBASE_WILD);
	assert_int_equal(vbase_compare(4, 5, 256), VBASE_BEHIND);
	assert_int_equal(vbase_compare(65530, 4, 256), VBASE_BEHIND);
	assert_int_equal(vbase_compare(5, 262, 256), VBASE_WILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_harvest_race),
		cmocka_unit_test(test_base),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
