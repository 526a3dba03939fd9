// The memory map: what is refused, what is translated, what happens when the file shrinks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/guard.h"
#include "guest/mem.h"

#define MIB (UINT64_C(1) << 20)

static int memfd(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static enum err build(const struct mem_spec *s, unsigned n, uint64_t file)
{
	int fds[MEM_MAX_REGIONS + 1];
	struct mem_map *m = NULL;
	struct why why = { "" };
	for (unsigned i = 0; i < n && i <= MEM_MAX_REGIONS; i++)
		fds[i] = memfd(file);
	int before = fd_count_open();
	enum err e = mem_build(&m, s, fds, n, false, &why);
	assert_int_equal(fd_count_open(), before);
	if (e == OK)
		mem_free(m);
	else
		assert_true(why.text[0] != '\0');
	fd_reset_all(fds, n <= MEM_MAX_REGIONS ? n : MEM_MAX_REGIONS + 1);
	return e;
}

// Every combination of boundary values: accepted means that every byte is inside the file and nothing wraps.
static void test_sweep(void **state)
{
	(void)state;
	const uint64_t values[] = { 0, 1, 4095, 4096, MIB - 1, MIB, MIB + 1, UINT64_C(1) << 63, UINT64_MAX - 4095, UINT64_MAX };
	const unsigned n = sizeof(values) / sizeof(values[0]);
	unsigned accepted = 0;
	for (unsigned a = 0; a < n; a++)
		for (unsigned b = 0; b < n; b++)
			for (unsigned c = 0; c < n; c++) {
				struct mem_spec s = { .guest_addr = values[a], .size = values[b], .user_addr = values[a],
						      .mmap_offset = values[c] };
				bool good = s.size != 0 && s.size <= MIB && s.mmap_offset <= MIB - s.size &&
					    s.guest_addr <= UINT64_MAX - s.size;
				assert_int_equal(build(&s, 1, MIB) == OK, good);
				accepted += good;
			}
	assert_true(accepted > 20);
}

static void test_refused(void **state)
{
	(void)state;
	struct mem_spec s[9];
	for (unsigned i = 0; i < 9; i++)
		s[i] = (struct mem_spec){ .guest_addr = i * MIB, .size = MIB, .user_addr = (100 + i) * MIB };
	assert_int_equal(build(s, 8, MIB), OK);
	assert_int_equal(build(s, 9, MIB), REFUSED);
	s[1].guest_addr = MIB - 1; // overlaps by a byte
	assert_int_equal(build(s, 2, MIB), REFUSED);
	s[1].guest_addr = MIB;
	s[1].user_addr = 101 * MIB - 4096;
	assert_int_equal(build(s, 2, MIB), REFUSED);
	s[1].user_addr = 101 * MIB;
	assert_int_equal(build(s, 2, MIB), OK); // adjacent is fine
	int pipes[2];
	struct mem_map *m = NULL;
	struct why why;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(mem_build(&m, s, pipes, 1, true, &why), REFUSED);
	fd_reset_all(pipes, 2);
}

static void test_translate(void **state)
{
	(void)state;
	struct mem_spec s[2] = { { .guest_addr = 16 * MIB, .size = MIB, .user_addr = 500 * MIB, .mmap_offset = 4096 },
				 { .guest_addr = 0, .size = MIB, .user_addr = 700 * MIB } };
	int fds[2] = { memfd(2 * MIB), memfd(MIB) };
	struct mem_map *m = NULL;
	struct why why;
	assert_int_equal(mem_build(&m, s, fds, 2, false, &why), OK);
	assert_int_equal(m->region[0].gpa, 0); // sorted
	assert_int_equal(m->bytes, 2 * MIB);
	*(uint8_t *)(uintptr_t)mem_gpa(m, 16 * MIB, 1) = 0x5a;
	uint8_t byte = 0;
	assert_int_equal(pread(fds[0], &byte, 1, 4096), 1); // the offset is applied once
	assert_int_equal(byte, 0x5a);
	assert_non_null(mem_gpa(m, 17 * MIB - 1, 1));
	assert_null(mem_gpa(m, 17 * MIB - 1, 2));
	assert_null(mem_gpa(m, 17 * MIB, 1));
	assert_null(mem_gpa(m, 16 * MIB - 1, 1));
	assert_null(mem_gpa(m, 16 * MIB, 0));
	assert_null(mem_gpa(m, UINT64_MAX, 2));
	assert_null(mem_gpa(m, 16 * MIB, UINT64_MAX));
	uint64_t gpa = 0, part = 0;
	assert_ptr_equal(mem_uaddr(m, 700 * MIB + 5, 10, &gpa), mem_gpa(m, 5, 10));
	assert_int_equal(gpa, 5);
	assert_null(mem_uaddr(m, 701 * MIB - 5, 10, &gpa));
	assert_non_null(mem_gpa_part(m, MIB - 5, 10, &part));
	assert_int_equal(part, 5);
	assert_null(mem_gpa_part(m, MIB, 10, &part));
	mem_free(m);
	fd_reset_all(fds, 2);
}

static void test_shrunk(void **state)
{
	(void)state;
	struct mem_spec s = { .guest_addr = 0, .size = MIB, .user_addr = 0 };
	int fd = memfd(MIB);
	struct mem_map *m = NULL;
	struct why why;
	assert_int_equal(guard_install(), 0);
	assert_int_equal(mem_build(&m, &s, &fd, 1, false, &why), OK);
	volatile uint8_t *p = (uint8_t *)(uintptr_t)mem_gpa(m, MIB - 4096, 4096);
	p[0] = 1;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_false(m->broken);
	assert_int_equal(p[0], 0); // faults, and is a zero page from now on
	assert_true(m->broken);
	p[1] = 7;
	assert_int_equal(p[1], 7);
	mem_free(m);
	fd_reset(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_translate),
		cmocka_unit_test(test_shrunk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
