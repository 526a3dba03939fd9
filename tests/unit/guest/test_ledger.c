// The ledger of a packed ring over deaths of the device: at each point between fetch and publish of a batch, for chains of
// one and of several descriptors, direct and indirect, in order and not, both directions, over the wrap. The driver is
// this process; each life of the device is a child. No buffer is lost, none comes back twice, none out of order, and the
// ring goes on.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/gwrite_packed.h"
#include "guest/ledger.h"
#include "guest/mem.h"
#include "guest/pring.h"

#define F_USUAL (UINT64_C(1) << 32 | UINT64_C(1) << 28 | UINT64_C(1) << 29)
#define F_IN_ORDER (UINT64_C(1) << 35)
#define EPOCH 77u

struct kind {
	uint16_t num;
	unsigned longest; // descriptors of a chain
	bool indirect, in_order, writable;
	bool own; // no ledger that survives: what there was before
};

struct bed {
	struct kind k;
	struct gmem *mem;
	struct mem_map *map;
	struct vq q;
	int ledger_fd;
	uint64_t buf, table;
	uint32_t sent, back;
	const char *wrong;
};

static struct gseg segs[VCHAIN_MAX_SEGS];

static bool map_memory(struct bed *b) // not inherited: each life has its own
{
	struct vu_memory t;
	int fds[VU_MAX_FDS];
	gmem_table(b->mem, &t, fds);
	struct mem_spec spec = { t.region[0].guest_addr, t.region[0].size, t.region[0].user_addr, t.region[0].mmap_offset };
	return mem_build(&b->map, &spec, fds, 1, false, NULL) == OK;
}

static void bed_open(struct bed *b, const struct kind *k)
{
	memset(b, 0, sizeof(*b));
	b->k = *k;
	struct gmem_conf mc = { .regions = 1, .region_bytes = 1u << 20 };
	b->mem = gmem_new(&mc);
	struct why why;
	assert_true(vq_init_packed(&b->q, b->mem, 0, k->num, true));
	b->q.in_order = k->in_order;
	vq_reset(&b->q, 0, true);
	b->q.kick = -1;
	b->buf = gmem_area(b->mem, 0, GMEM_DEVICE, 65536, 0);
	b->table = gmem_area(b->mem, 0, GMEM_DRIVER, 16 * 256, 0);
	assert_int_equal(ledgers_make(&b->ledger_fd, &why), OK);
}

static void bed_close(struct bed *b)
{
	vq_fini(&b->q);
	mem_free(b->map);
	gmem_free(b->mem);
	close(b->ledger_fd);
}

// A chain whose length tells its number.
static uint32_t length(uint32_t no)
{
	return 100 + no % 997;
}

static bool add(struct bed *b)
{
	struct vq_buf bufs[4];
	uint32_t left = length(b->sent);
	unsigned n = 1 + (unsigned)random() % b->k.longest;
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = i + 1 == n ? left : 1 + (uint32_t)random() % 20;
		bufs[i] = (struct vq_buf){ b->buf + 2000 * i, part, b->k.writable };
		left -= part;
	}
	if (!b->k.indirect || random() % 2)
		return vq_add(&b->q, bufs, n, b->sent);
	uint64_t table = b->table + b->sent % 16 * 64;
	return vq_add_indirect(&b->q, (struct vq_desc *)(void *)gmem_at(b->mem, table), table, bufs, n, b->sent);
}

static void offer(struct bed *b)
{
	for (unsigned k = (unsigned)random() % (b->k.num + 1u); k != 0 && add(b); k--)
		b->sent++;
	vq_publish(&b->q, false);
}

static void collect(struct bed *b)
{
	uint32_t token, len;
	while (vq_take(&b->q, &token, &len)) {
		if (token != b->back)
			b->wrong = token < b->back ? "came back twice" : "was passed over";
		if (len != (b->k.writable ? length(token) : 0))
			b->wrong = "has another length";
		b->back++;
	}
	if (b->q.broken)
		b->wrong = b->q.broken;
}

// The child: give back all that is there, in batches, until nothing is left.
static void live(struct bed *b, const char *plan)
{
	if (!map_memory(b))
		_exit(2);
	struct vring_conf c = { .num = b->k.num, .features = F_USUAL | (b->k.in_order ? F_IN_ORDER : 0), .mem = b->map,
				.desc_uaddr = gmem_uaddr(b->mem, b->q.desc_gpa), .avail_uaddr = gmem_uaddr(b->mem, b->q.avail_gpa),
				.used_uaddr = gmem_uaddr(b->mem, b->q.used_gpa), .call_fd = -1 };
	struct ledgers *l;
	struct pring *p;
	struct gwrite_used e[LEDGER_BATCH];
	uint32_t base = 0x80008000;
	if (crash_plan(plan, NULL) != OK || ledgers_open(&l, b->ledger_fd, NULL) != OK)
		_exit(3);
	crash_set_life(0);
	c.ledger = b->k.own ? NULL : &ledgers_of(l, EPOCH)[5];
	if (pring_new(&p, &c, NULL) != OK)
		_exit(4);
	if (!pring_resume(p)) {
		if (b->k.own)
			pring_find(p, &base);
		pring_restore(p, base);
		if (b->k.own)
			pring_finish(p);
	}
	while (pring_ready(p, 0)) {
		unsigned n = 0;
		for (; n < LEDGER_BATCH && pring_ready(p, 0); n++) {
			struct vchain ch;
			const char *why;
			if (pchain_fetch(p, 0, b->k.writable, segs, VCHAIN_MAX_SEGS, &ch, &why) != VCHAIN_OK)
				_exit(5);
			pring_advance(p, ch.slots);
			e[n] = (struct gwrite_used){ .id = gwrite_packed_id(ch.id, ch.slots), .len = b->k.writable ? ch.len : 0 };
			if (!b->k.in_order || b->k.writable || n == 0)
				continue;
			e[0].id = (e[0].id & 0xffff0000u) + (e[n].id & 0xffff0000u) + ch.id; // one used descriptor for all
			n--;
		}
		gwrite_packed_fill(p, e, n);
		gwrite_fence();
		gwrite_packed_show(p);
		gwrite_packed_settle(p);
	}
	_exit(0);
}

// A life. False: it died as planned.
static bool life(struct bed *b, const char *plan)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		live(b, plan);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return false;
	if (status != 0)
		b->wrong = "a life went wrong";
	return true;
}

static unsigned deaths;

// Some traffic, in which lives die at that pass of that point, two in a row now and then; then an end without deaths.
// Returns what was wrong, NULL: nothing.
static const char *run(const struct kind *k, enum crash_point point, unsigned nth)
{
	struct bed b;
	char plan[80];
	if (point == CRASH_ledger_undone) // of which somebody must have left something to do
		snprintf(plan, sizeof(plan), "0:ledger_written:%u,0:ledger_undone:1", nth);
	else
		snprintf(plan, sizeof(plan), "0:%s:%u", crash_name(point), nth);
	bed_open(&b, k);
	for (unsigned i = 0; i < 6 && !b.wrong; i++) {
		offer(&b);
		for (unsigned again = 0; again < 1 + i % 2 && !life(&b, plan); again++) {
			deaths++;
			if (random() % 2)
				offer(&b); // the driver goes on meanwhile
			if (random() % 2)
				collect(&b);
		}
		collect(&b);
	}
	for (unsigned i = 0; i < 2 && !b.wrong; i++) {
		offer(&b);
		if (!life(&b, NULL))
			b.wrong = "a life died that should not";
		collect(&b);
		if (b.back != b.sent && !b.wrong)
			b.wrong = "stands still";
	}
	const char *wrong = b.wrong;
	bed_close(&b);
	return wrong;
}

static const enum crash_point points[] = { CRASH_ledger_saved, CRASH_ledger_written, CRASH_ledger_filled, CRASH_ledger_shown,
					   CRASH_ledger_undone };

static unsigned all(bool own, bool tell)
{
	static const struct kind kinds[] = {
		{ .num = 5, .longest = 1 }, { .num = 8, .longest = 1, .writable = true },
		{ .num = 8, .longest = 3 }, { .num = 7, .longest = 3, .writable = true },
		{ .num = 16, .longest = 4, .indirect = true, .writable = true },
		{ .num = 9, .longest = 3, .indirect = true },
		{ .num = 8, .longest = 3, .in_order = true }, { .num = 8, .longest = 1, .in_order = true, .writable = true },
		{ .num = 11, .longest = 3, .indirect = true, .in_order = true, .writable = true },
		{ .num = 1, .longest = 1 }, { .num = 2, .longest = 2, .writable = true },
	};
	static const unsigned nth[] = { 1, 2, 5 };
	unsigned bad = 0;
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (unsigned p = 0; p < sizeof(points) / sizeof(points[0]); p++)
			for (unsigned n = 0; n < 3; n++) {
				struct kind kind = kinds[k];
				kind.own = own;
				srandom(1 + k * 100 + p * 10 + n);
				const char *wrong = run(&kind, points[p], nth[n]);
				bad += wrong != NULL;
				if (wrong && tell)
					print_error("kind %u, %s:%u: %s\n", k, crash_name(points[p]), nth[n], wrong);
			}
	return bad;
}

static void test_every_point(void **state)
{
	(void)state;
	deaths = 0;
	assert_int_equal(all(false, true), 0);
	print_message("%u deaths\n", deaths);
	assert_true(deaths > 200);
}

// The control: without a ledger the same scenes are found out.
static void test_without(void **state)
{
	(void)state;
	assert_true(all(true, false) > 20);
}

// What it says is checked before it is believed.
static void test_nonsense(void **state)
{
	(void)state;
	struct bed b;
	struct kind k = { .num = 8, .longest = 1 };
	struct pring_ledger l;
	struct pring *p;
	uint32_t base;
	bed_open(&b, &k);
	assert_true(map_memory(&b));
	memset(&l, 0, sizeof(l));
	struct vring_conf c = { .num = 8, .features = F_USUAL, .mem = b.map, .desc_uaddr = gmem_uaddr(b.mem, b.q.desc_gpa),
				.avail_uaddr = gmem_uaddr(b.mem, b.q.avail_gpa), .used_uaddr = gmem_uaddr(b.mem, b.q.used_gpa),
				.call_fd = -1, .ledger = &l };
	assert_int_equal(pring_new(&p, &c, NULL), OK);
	assert_int_equal(l.live, 0); // a ring that is built aside leaves it alone
	assert_false(pring_resume(p)); // knows nothing
	assert_false(pring_told(&l, 8, &base));
	pring_restore(p, 0x80038003);
	assert_true(pring_told(&l, 8, &base));
	assert_int_equal(base, 0x80038003);
	assert_false(pring_told(&l, 9, &base));
	assert_true(pring_resume(p));
	assert_int_equal(pring_base(p), 0x80038003);
	static const struct {
		uint32_t live, state, end;
		uint16_t slot;
	} bad[] = {
		{ 9, 0x80030000, 0x8003, 0 }, { 8, 0x80080000, 0x8003, 0 }, { 8, 0x80030000, 0x8008, 0 },
		{ 8, 0x80030001, 0x8003, 8 }, { 8, 0x80030100, 0x8003, 1 }, { 8, 0x8003ffff, 0x8003, 1 },
	};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vq_pdesc before = b.q.p.desc[0];
		l.live = bad[i].live;
		l.state = bad[i].state;
		l.end = bad[i].end;
		for (unsigned s = 0; s < LEDGER_BATCH; s++)
			l.slot[s] = bad[i].slot;
		assert_false(pring_resume(p));
		assert_memory_equal(&before, &b.q.p.desc[0], sizeof(before));
	}
	// the ring was moved in the middle of a batch: its place holds, what is saved is of the other one
	l.live = 8;
	l.state = 0x80030001;
	l.end = 0x8005;
	l.ring ^= 4096;
	l.slot[1] = 2;
	struct vq_pdesc there = b.q.p.desc[2];
	assert_true(pring_resume(p));
	assert_int_equal(pring_base(p), 0x80038003);
	assert_memory_equal(&there, &b.q.p.desc[2], sizeof(there));
	assert_int_equal(l.state, 0x80030000);
	assert_int_equal(l.end, 0x8003);
	pring_restore(p, 0x80038003);
	pring_forget(&l);
	assert_false(pring_resume(p));
	pring_forget(NULL);
	pring_free(p);
	bed_close(&b);
}

static void test_blocks(void **state)
{
	(void)state;
	struct why why;
	struct ledgers *l, *again;
	int fd;
	uint32_t base;
	assert_int_equal(ledgers_make(&fd, &why), OK);
	assert_int_equal(ledgers_open(&l, fd, &why), OK);
	assert_null(ledgers_of(l, 0));
	assert_null(ledgers_of(NULL, 1));
	struct pring_ledger *first = ledgers_of(l, 1);
	for (unsigned i = 2; i <= LEDGER_BLOCKS; i++)
		assert_non_null(ledgers_of(l, i));
	assert_null(ledgers_of(l, 1000));
	assert_true(ledgers_of(l, 1) == first);
	first[31].live = 8;
	first[31].state = 0x80020000;
	assert_int_equal(ledgers_open(&again, fd, &why), OK); // what another process sees
	assert_true(pring_told(&ledgers_of(again, 1)[31], 8, &base));
	assert_int_equal(base, 0x80028002);
	assert_false(pring_told(&ledgers_of(again, 2)[31], 8, &base));
	ledgers_drop(again, 1);
	ledgers_drop(again, 1);
	assert_false(pring_told(&first[31], 8, &base));
	assert_true(ledgers_of(l, 1000) == first);
	first[3].live = 8;
	first[3].state = 0x80020000;
	ledgers_keep_only(again, (const uint64_t[]){ 1000, 5, 4711 }, 3);
	assert_true(pring_told(&ledgers_of(l, 1000)[3], 8, &base));
	for (unsigned i = 0; i < LEDGER_BLOCKS - 2; i++)
		assert_non_null(ledgers_of(l, 2000 + i));
	assert_null(ledgers_of(l, 3000));
	ledgers_close(again);
	ledgers_close(l);
	close(fd);
	fd = memfd_create("other", 0);
	assert_int_equal(ledgers_open(&l, fd, &why), REFUSED);
	assert_int_equal(ledgers_open(&l, -1, &why), REFUSED);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_point),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_blocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
