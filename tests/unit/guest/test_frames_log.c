// What gwrite_frames logs: the pages that the frames touch, all of them and no other, in whatever order their buffers lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dirty/dirty.h"
#include "guest/gwrite.h"

#define PAGES 2048u
#define HDR 12u

static uint8_t *memory; // PAGES of guest memory at guest-physical 0
static uint8_t source[16384];
static uint8_t used[8 * 64 + 8] __attribute__((aligned(8)));

struct rig {
	struct dirty_log *log;
	struct vring ring;
	int fd;
};

static void rig_open(struct rig *g, uint64_t log_pages)
{
	struct why why;
	memset(g, 0, sizeof(*g));
	g->fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(g->fd, PAGES / 8), 0);
	assert_int_equal(dirty_open(&g->log, g->fd, log_pages / 8, 0, false, &why), OK);
	g->ring = (struct vring){ .hdr_len = HDR, .log = g->log, .used = used, .num = 64, .mask = 63 };
}

static void rig_close(struct rig *g)
{
	dirty_free(g->log);
	close(g->fd);
}

struct piece {
	uint64_t gpa;
	uint32_t len; // of the frame, without its header
};

// Write them in calls of `together` frames, publish, compare with what a page by page look expects.
static void write_and_compare(struct rig *g, const struct piece *p, unsigned n, unsigned together)
{
	struct gwrite_frame f[64];
	uint8_t want[PAGES] = { 0 };
	for (unsigned i = 0; i < n; i++) {
		f[i] = (struct gwrite_frame){ .host = memory + p[i].gpa, .gpa = p[i].gpa, .src = source, .len = p[i].len };
		for (uint64_t page = p[i].gpa / 4096; page <= (p[i].gpa + HDR + p[i].len - 1) / 4096; page++)
			want[page] = 1;
	}
	for (unsigned i = 0; i < PAGES / 64; i++)
		atomic_store(&g->log->words[i], 0); // harvested
	for (unsigned i = 0; i < n; i += together)
		gwrite_frames(&g->ring, f + i, n - i < together ? n - i : together);
	assert_true(gwrite_unlogged(&g->ring));
	gwrite_fence();
	gwrite_show(&g->ring, 0);
	assert_false(gwrite_unlogged(&g->ring));
	for (uint64_t page = 0; page < PAGES; page++)
		assert_int_equal(dirty_test(g->log, page * 4096), want[page]);
}

static void test_orders(void **state)
{
	(void)state;
	struct rig g;
	struct piece p[64];
	rig_open(&g, PAGES);
	for (unsigned i = 0; i < 64; i++) // up, two to a page
		p[i] = (struct piece){ 4096 + i * 2048u, 64 };
	write_and_compare(&g, p, 64, 64);
	for (unsigned i = 0; i < 64; i++) // down
		p[i] = (struct piece){ 4096 * 100 - i * 2048u, 64 };
	write_and_compare(&g, p, 64, 64);
	for (unsigned i = 0; i < 64; i++) // each in a page of its own, none beside another: more than are pending at once
		p[i] = (struct piece){ 4096u * 3 * i, 64 };
	write_and_compare(&g, p, 64, 64);
	write_and_compare(&g, p, 64, 1);
	for (unsigned i = 0; i < 64; i++) // the header's and the frame's last bytes at a page's end, and just over it
		p[i] = (struct piece){ 4096u * 4 * i + 4096 - HDR - 64 + i % 3 - 1, 64 };
	write_and_compare(&g, p, 64, 64);
	rig_close(&g);
}

static void test_any(void **state)
{
	(void)state;
	struct rig g;
	struct piece p[64];
	rig_open(&g, PAGES);
	srand(7);
	for (unsigned round = 0; round < 2000; round++) {
		unsigned n = 1 + (unsigned)rand() % 64, row = rand() % 2, longer = rand() % 4 == 0;
		uint64_t at = (uint64_t)rand() % (PAGES * 4096 / 2);
		for (unsigned i = 0; i < n; i++) {
			uint32_t len = rand() % 4 ? 64u : 64u + (uint32_t)rand() % 16000;
			if (row && !longer)
				len = 64u + (uint32_t)rand() % 2000;
			if (!row && rand() % 3 == 0) // elsewhere
				at = (uint64_t)rand() % (PAGES * 4096 - 20000);
			p[i] = (struct piece){ at, len };
			at += (uint64_t)rand() % (row ? 4098 : 9000);
			if (at > PAGES * 4096 - 20000)
				at = 0;
		}
		write_and_compare(&g, p, n, 1 + (unsigned)rand() % 64);
	}
	rig_close(&g);
}

// A log that is too short: what is inside is logged, the rest is missed and told.
static void test_short_log(void **state)
{
	(void)state;
	struct rig g;
	rig_open(&g, 64);
	struct gwrite_frame f = { .host = memory + 63 * 4096, .gpa = 63 * 4096, .src = source, .len = 6000 };
	gwrite_frames(&g.ring, &f, 1);
	gwrite_fence();
	gwrite_show(&g.ring, 0);
	assert_true(dirty_test(g.log, 63 * 4096));
	assert_int_equal(g.log->missed, 1);
	rig_close(&g);
}

static void test_marked(void **state)
{
	(void)state;
	struct rig g;
	rig_open(&g, 128);
	assert_false(dirty_marked(g.log, 5, 9));
	dirty_fence();
	dirty_mark_pages(g.log, 5, 8);
	assert_false(dirty_marked(g.log, 5, 9));
	dirty_mark_pages(g.log, 9, 9);
	assert_true(dirty_marked(g.log, 5, 9) && dirty_marked(g.log, 7, 7));
	assert_false(dirty_marked(g.log, 4, 9));
	atomic_fetch_and(&g.log->words[0], ~UINT64_C(0x80)); // harvested
	assert_false(dirty_marked(g.log, 5, 9));
	dirty_mark_pages(g.log, 0, 127);
	assert_true(dirty_marked(g.log, 64, 127));
	assert_false(dirty_marked(g.log, 63, 64)); // over a word: takes a longer look
	assert_false(dirty_marked(g.log, 128, 128) || dirty_marked(g.log, UINT64_MAX, UINT64_MAX)); // outside
	rig_close(&g);
}

static int setup(void **state)
{
	(void)state;
	memory = calloc(PAGES, 4096);
	return memory ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_short_log),
		cmocka_unit_test(test_marked),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
