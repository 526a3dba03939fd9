// No page is lost to a kill: a process writes into receive buffers as fast as it can and is killed, at a random instruction
// or between two steps of a batch; then what relog.c logs again, with what was logged before, must be all that differs from
// the driver's mirror, which is fed by the log alone. For each kind of ring and of buffer, and over many deaths of one ring.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kill.h"
#include "dirty/dirty.h"
#include "driver/flog.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/mem.h"
#include "guest/relog.h"
#include "guest/ring.h"

enum { NUM = 64, CHAINS = 20, PARTS = 3, BATCH = 8, KILLS = 100 };
#define F_V1 (UINT64_C(1) << 32)
#define F_INDIRECT (UINT64_C(1) << 28)
#define F_PACKED (UINT64_C(1) << 34)

enum buffers { ONE, CHAINED, TABLES };

struct bed {
	uint64_t features;
	enum buffers kind;
	struct gmem *mem;
	struct vq q;
	struct flog *log;
	uint64_t buf[CHAINS], table[CHAINS];
	unsigned frames, whole; // came back; times that the whole log was filled
	// of the process that has the ring
	struct mem_map *map;
	struct dirty_log *dirty;
	struct vring *ring;
	bool sure;
	unsigned steps; // that it lives, 0: until it is killed
};

static void step(struct bed *b)
{
	if (b->steps != 0 && --b->steps == 0)
		raise(SIGKILL);
}

static void offer(struct bed *b, uint32_t i)
{
	struct vq_buf one = { b->buf[i], 6000, true };
	struct vq_buf parts[PARTS] = {
		{ b->buf[i], 100, true }, { b->buf[i] + 4000, 3000, true }, { b->buf[i] + 12000, 4000, true },
	};
	struct vq_desc *table = (struct vq_desc *)(void *)gmem_at(b->mem, b->table[i]);
	if (b->kind == ONE)
		assert_true(vq_add(&b->q, &one, 1, i));
	else if (b->kind == CHAINED)
		assert_true(vq_add(&b->q, parts, PARTS, i));
	else
		assert_true(vq_add_indirect(&b->q, table, b->table[i], parts, PARTS, i));
}

static void open_bed(struct bed *b, uint64_t features, enum buffers kind)
{
	memset(b, 0, sizeof(*b));
	b->features = features;
	b->kind = kind;
	struct gmem_conf mc = { .regions = 2, .region_bytes = 1u << 20 };
	b->mem = gmem_new(&mc);
	bool packed = features & F_PACKED;
	assert_true(packed ? vq_init_packed(&b->q, b->mem, 0, NUM, true) : vq_init(&b->q, b->mem, 0, NUM, true));
	vq_reset(&b->q, 0, false);
	b->q.kick = -1;
	for (unsigned i = 0; i < CHAINS; i++) {
		b->buf[i] = gmem_area(b->mem, i & 1, GMEM_DEVICE, 4 * GMEM_PAGE, 100 * i);
		b->table[i] = gmem_area(b->mem, 0, GMEM_DRIVER, PARTS * 16, 16);
		assert_true(b->buf[i] && b->table[i]);
	}
	b->log = flog_new(b->mem, 0);
	flog_copy_all(b->log);
	for (uint32_t i = 0; i < CHAINS; i++)
		offer(b, i);
	vq_publish(&b->q, false);
}

static void close_bed(struct bed *b)
{
	flog_free(b->log);
	vq_fini(&b->q);
	gmem_free(b->mem);
}

// Map all of it, and find the ring's place, as a process that takes it over.
static bool attach(struct bed *b)
{
	struct vu_memory t;
	int fds[VU_MAX_FDS];
	struct mem_spec spec[2];
	struct why why;
	gmem_table(b->mem, &t, fds);
	for (unsigned i = 0; i < 2; i++)
		spec[i] = (struct mem_spec){ t.region[i].guest_addr, t.region[i].size, t.region[i].user_addr,
					     t.region[i].mmap_offset };
	if (mem_build(&b->map, spec, fds, 2, false, &why) != OK ||
	    dirty_open(&b->dirty, b->log->fd, b->log->bytes, 0, false, &why) != OK)
		return false;
	struct vring_conf c = { .num = NUM, .features = b->features, .mem = b->map, .log = b->dirty, .log_used = true,
				.desc_uaddr = gmem_uaddr(b->mem, b->q.desc_gpa),
				.avail_uaddr = gmem_uaddr(b->mem, b->q.avail_gpa),
				.used_uaddr = gmem_uaddr(b->mem, b->q.used_gpa), .log_gpa = b->q.used_gpa, .call_fd = -1 };
	if (ring_new(&b->ring, &c, &why) != OK)
		return false;
	b->sure = ring_resume(b->ring);
	if (!b->sure) { // no ledger: the flags say it
		uint32_t base = RING_FRESH_PACKED;
		b->sure = pring_find(pring_of(b->ring), &base);
		ring_restore(b->ring, base);
	}
	return true;
}

static void detach(struct bed *b)
{
	ring_free(b->ring);
	dirty_free(b->dirty);
	mem_free(b->map);
}

// The datapath's order: fetch, take, write, publish; the latter in one step and in several.
static void serve(struct bed *b, uint32_t turn)
{
	static uint8_t data[7100];
	struct gseg segs[BATCH][4];
	struct vchain c[BATCH];
	struct gwrite_used back[BATCH];
	const char *why;
	unsigned n = 0, off = 0, most = turn % BATCH + 1, pending = ring_pending(b->ring);
	for (; n < most && ring_has(b->ring, off, pending); off += c[n++].slots)
		if (ring_fetch(b->ring, off, true, segs[n], 4, &c[n], &why) != VCHAIN_OK)
			_exit(3);
	if (n == 0)
		return;
	ring_advance(b->ring, off);
	step(b);
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = (turn * 1103u + i * 517u) % (c[i].len - 12);
		memset(data, (int)(turn + i), len);
		struct gwrite_at at = gwrite_header(b->ring, segs[i], (struct gwrite_at){ 0 }, data, 12);
		step(b);
		gwrite_payload(b->ring, segs[i], at, data, len);
		step(b);
		back[i] = ring_used(b->ring, &c[i], 12 + len);
	}
	if (turn & 1) {
		ring_publish(b->ring, back, n);
		return;
	}
	ring_stage(b->ring, back, n);
	step(b);
	if (gwrite_unlogged(b->ring))
		gwrite_fence();
	ring_show(b->ring, n);
	step(b);
	gwrite_fence();
	ring_settle(b->ring);
}

static void drive(struct bed *b)
{
	uint32_t token, len;
	while (vq_take(&b->q, &token, &len)) {
		offer(b, token);
		b->frames++;
	}
	if (b->q.broken)
		fail_msg("%s", b->q.broken);
	vq_publish(&b->q, false);
	flog_harvest(b->log);
}

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// It dies after so many steps, or after so long.
static void one_life(struct bed *b, unsigned steps, unsigned us)
{
	int ready[2], st;
	char c;
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		if (!attach(b) || write(ready[1], "", 1) != 1)
			_exit(2);
		b->steps = steps;
		for (uint32_t turn = (uint32_t)now_us();; turn++)
			serve(b, turn);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	bool dead = false;
	for (int64_t end = now_us() + us; !dead && (steps || now_us() < end);) {
		drive(b);
		dead = waitpid(child, &st, WNOHANG) == child;
	}
	if (!dead) {
		kill_one(child, SIGKILL);
		waitpid(child, &st, 0);
	}
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	close(ready[0]);
	close(ready[1]);
}

static void run(uint64_t features, enum buffers kind, unsigned most_whole)
{
	struct bed b;
	struct flog_diff diff;
	open_bed(&b, F_V1 | features, kind);
	srand(1);
	for (unsigned i = 0; i < KILLS; i++) {
		one_life(&b, i % 4 ? 1 + (unsigned)rand() % 50 : 0, 100 + (unsigned)rand() % 700);
		assert_true(attach(&b));
		if (!ring_relog(b.ring, b.sure)) {
			b.whole++;
			dirty_fill(b.dirty, 0, UINT64_MAX);
		}
		flog_harvest(b.log);
		if (!flog_equal(b.log, &diff))
			fail_msg("kill %u: what was written is not in the log: %llu pages, the first at 0x%llx", i,
				 (unsigned long long)diff.pages, (unsigned long long)diff.gpa);
		if (b.ring->packed)
			pring_finish(pring_of(b.ring));
		detach(&b);
		drive(&b);
	}
	printf("%u kills, %u frames, %u times the whole log\n", KILLS, b.frames, b.whole);
	assert_true(b.frames > KILLS);
	assert_true(b.whole <= most_whole);
	close_bed(&b);
}

static void split_one(void **state)
{
	(void)state;
	run(0, ONE, 0);
}

static void split_chained(void **state)
{
	(void)state;
	run(0, CHAINED, 0);
}

static void split_tables(void **state)
{
	(void)state;
	run(F_INDIRECT, TABLES, 0);
}

static void packed_one(void **state)
{
	(void)state;
	run(F_PACKED, ONE, 0);
}

static void packed_tables(void **state) // a batch that was written but for its first has lost its tables
{
	(void)state;
	run(F_PACKED | F_INDIRECT, TABLES, KILLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_one), cmocka_unit_test(split_chained), cmocka_unit_test(split_tables),
		cmocka_unit_test(packed_one), cmocka_unit_test(packed_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
