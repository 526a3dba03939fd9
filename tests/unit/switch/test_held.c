// Held frames over deaths of the process that holds them: each that was held is found, in order, whole; what was half
// written is not; at no step of a move is one in neither place. A process is a child here; the next one looks at what it
// left.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash.h"
#include "switch/held.h"
#include "switch/hold.h"

#define TOTAL (8u << 20)
#define FROM 3 // two owners
#define TO 200

static _Atomic uint64_t used;

static uint32_t length(uint32_t no)
{
	return 64 + no * 7919 % 9000;
}

static bool put(struct hold *h, uint32_t no)
{
	struct hold_rec rec = { .len = length(no), .until_us = no + 1, .forever = no % 5 == 0 };
	uint8_t *to = hold_append(h, &rec, UINT64_MAX, &used, UINT64_MAX);
	if (!to)
		return false;
	for (uint32_t i = 0; i < rec.len; i++)
		to[i] = (uint8_t)(no + i);
	memcpy(to, &no, 4);
	hold_commit(h);
	return true;
}

static bool is_whole(struct hold_rec *r, uint32_t *no)
{
	memcpy(no, hold_bytes(r), 4);
	bool whole = r->len == length(*no);
	for (uint32_t i = 4; whole && i < r->len; i++)
		whole = hold_bytes(r)[i] == (uint8_t)(*no + i);
	return whole;
}

struct seen {
	unsigned n, bad;
	uint32_t no[3000];
};

static void see(void *arg, struct hold_rec *r)
{
	struct seen *s = arg;
	s->bad += !is_whole(r, &s->no[s->n]);
	s->n++;
}

// What a successor finds for that owner; it is left there.
static struct seen *found(int fd, uint16_t owner)
{
	static struct seen s[2];
	static unsigned turn;
	struct seen *out = &s[turn++ % 2];
	struct held *m;
	struct hold h;
	struct why why;
	out->n = out->bad = 0;
	used = 0;
	assert_int_equal(held_open(&m, fd, 0, &why), OK);
	hold_init(&h, m, owner);
	hold_adopt(&h, &used, true);
	hold_each(&h, see, out);
	assert_int_equal(h.frames, out->n);
	assert_int_equal(used, h.bytes);
	assert_int_equal(h.gate, out->n != 0);
	hold_fini(&h, &used, true);
	assert_int_equal(used, 0);
	held_close(m);
	assert_int_equal(out->bad, 0);
	return out;
}

static int file(void)
{
	struct why why;
	int fd;
	assert_int_equal(held_make(&fd, TOTAL, &why), OK);
	return fd;
}

typedef void act_fn(struct hold *from, struct hold *to);

// In a process of its own, which takes up what is there. True: it died as planned.
static bool life(int fd, const char *plan, act_fn *act)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct held *m;
		struct hold from, to;
		alarm(60);
		used = 0;
		if (crash_plan(plan, NULL) != OK || held_open(&m, fd, 0, NULL) != OK)
			_exit(2);
		crash_set_life(0);
		hold_init(&from, m, FROM);
		hold_init(&to, m, TO);
		hold_adopt(&from, &used, true);
		hold_adopt(&to, &used, true);
		act(&from, &to);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
	return status != 0;
}

static uint32_t begin, end;

static void put_from(struct hold *from, struct hold *to)
{
	(void)to;
	for (uint32_t i = begin; i < end; i++)
		if (!put(from, i))
			_exit(3);
}

static void put_to(struct hold *from, struct hold *to)
{
	put_from(to, from);
}

static void test_appended(void **state)
{
	(void)state;
	static const unsigned nth[] = { 1, 2, 57, 300 }; // over several chunks
	char plan[40];
	for (unsigned i = 0; i < 4; i++)
		for (unsigned kept = 0; kept < 2; kept++) {
			int fd = file();
			begin = 0;
			end = 400;
			snprintf(plan, sizeof(plan), "0:hold_%s:%u", kept ? "kept" : "written", nth[i]);
			assert_true(life(fd, plan, put_from));
			struct seen *s = found(fd, FROM);
			assert_int_equal(s->n, nth[i] - !kept);
			for (unsigned k = 0; k < s->n; k++)
				assert_int_equal(s->no[k], k);
			begin = s->n; // and the next one goes on behind them
			assert_false(life(fd, NULL, put_from));
			s = found(fd, FROM);
			assert_int_equal(s->n, 400);
			for (unsigned k = 0; k < s->n; k++)
				assert_int_equal(s->no[k], k);
			assert_int_equal(found(fd, TO)->n, 0);
			close(fd);
		}
}

static uint32_t pops, settled;

static void pop_some(struct hold *from, struct hold *to)
{
	(void)to;
	for (uint32_t i = 0; i < pops; i++) {
		uint32_t no;
		struct hold_rec *r = hold_first(from);
		if (!r || !is_whole(r, &no) || no != i)
			_exit(4);
		hold_pop(from, &used);
		if (i + 1 == settled)
			hold_settle(from);
	}
	raise(SIGKILL);
}

// What was taken out and not settled is still there: its receiver may not have seen it.
static void test_popped(void **state)
{
	(void)state;
	static const uint32_t rows[][2] = { { 10, 0 }, { 10, 10 }, { 200, 150 }, { 400, 1 }, { 400, 399 }, { 400, 400 } };
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = file();
		begin = 0;
		end = 400;
		assert_false(life(fd, NULL, put_from));
		pops = rows[i][0];
		settled = rows[i][1];
		assert_true(life(fd, NULL, pop_some));
		struct seen *s = found(fd, FROM);
		assert_int_equal(s->n, 400 - settled);
		for (unsigned k = 0; k < s->n; k++)
			assert_int_equal(s->no[k], settled + k);
		close(fd);
	}
}

static void splice(struct hold *from, struct hold *to)
{
	hold_splice(from, to);
}

// A move that died in the middle is made again: each frame is in one of the two all the time, and in the end all are in
// order.
static void test_moved(void **state)
{
	(void)state;
	for (unsigned nth = 1; nth < 12; nth++) {
		int fd = file();
		char plan[40];
		snprintf(plan, sizeof(plan), "0:hold_moving:%u", nth);
		begin = 0;
		end = 500;
		assert_false(life(fd, NULL, put_from));
		begin = 500;
		end = 600; // newer
		assert_false(life(fd, NULL, put_to));
		bool died = life(fd, plan, splice);
		struct seen *a = found(fd, FROM), *b = found(fd, TO);
		assert_int_equal(a->n + b->n, 600);
		assert_true(!died || b->n > 100);
		for (unsigned k = 0; k < a->n; k++)
			assert_int_equal(a->no[k], k);
		for (unsigned k = 0; k < b->n; k++)
			assert_int_equal(b->no[k], a->n + k);
		assert_false(life(fd, NULL, splice));
		assert_int_equal(found(fd, FROM)->n, 0);
		b = found(fd, TO);
		assert_int_equal(b->n, 600);
		for (unsigned k = 0; k < b->n; k++)
			assert_int_equal(b->no[k], k);
		close(fd);
		if (!died)
			return; // that many chunks there were
		assert_true(nth < 11);
	}
}

// Some of them, in front of what is newer, as dp_hold_move_mac does.
static struct hold *moved, *source;

static void move_even(void *arg, struct hold_rec *r)
{
	uint32_t no;
	(void)arg;
	memcpy(&no, hold_bytes(r), 4);
	if (no % 2)
		return;
	if (!put(moved, no))
		_exit(5);
	hold_take_out(source, r, &used);
}

static void move_some(struct hold *from, struct hold *to)
{
	static struct hold m;
	hold_init_before(&m, to);
	moved = &m;
	source = from;
	hold_each(from, move_even, NULL);
	hold_splice(&m, to);
}

static void test_some_moved(void **state)
{
	(void)state;
	static const char *const plans[] = { NULL, "0:hold_written:100", "0:hold_kept:1", "0:hold_kept:150", "0:hold_moving:1" };
	for (unsigned i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		int fd = file();
		begin = 0;
		end = 400;
		assert_false(life(fd, NULL, put_from));
		begin = 400;
		end = 450;
		assert_false(life(fd, NULL, put_to));
		assert_int_equal(life(fd, plans[i], move_some), plans[i] != NULL);
		bool in[450] = { false };
		struct seen *a = found(fd, FROM), *b = found(fd, TO);
		assert_true(a->n + b->n >= 450 && a->n + b->n <= 451); // one may be in both
		for (unsigned k = 0; k < a->n; k++)
			in[a->no[k]] = true;
		for (unsigned k = 0; k < b->n; k++) {
			in[b->no[k]] = true;
			assert_true(k == 0 || b->no[k] > b->no[k - 1]);
		}
		for (unsigned k = 0; k < 450; k++)
			assert_true(in[k]);
		close(fd);
	}
}

// What is found is checked: the first frame that makes no sense ends its chunk.
static void test_nonsense(void **state)
{
	(void)state;
	static const struct {
		unsigned field; // of the fourth frame: 0 its length; of its chunk: 1 read, 2 write
		uint32_t value, want;
	} rows[] = {
		{ 0, 0, 3 }, { 0, 13, 3 }, { 0, UINT32_MAX, 3 }, { 0, 70000, 3 }, { 0, 65000, 3 },
		{ 1, 12, 0 }, { 1, HOLD_CHUNK, 0 }, { 2, HOLD_CHUNK + 8, 0 }, { 2, UINT32_MAX, 0 },
	};
	struct why why;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = file();
		struct held *m;
		struct hold h;
		assert_int_equal(held_open(&m, fd, 0, &why), OK);
		hold_init(&h, m, FROM);
		uint32_t at = 0;
		for (uint32_t k = 0; k < 10; k++) {
			assert_true(put(&h, k));
			at += k < 3 ? hold_rec_size(length(k)) : 0;
		}
		struct hold_meta *meta = held_meta(m, h.head);
		struct hold_rec *r = (struct hold_rec *)(void *)(held_bytes(m, h.head) + at);
		if (rows[i].field == 0)
			r->len = rows[i].value;
		else
			atomic_store(rows[i].field == 1 ? &meta->read : &meta->write, rows[i].value);
		held_close(m);
		assert_int_equal(found(fd, FROM)->n, rows[i].want);
		close(fd);
	}
	struct held *m;
	int fd = memfd_create("other", 0);
	assert_int_equal(held_open(&m, fd, 0, &why), REFUSED);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(held_open(&m, fd, 0, &why), REFUSED);
	close(fd);
}

static uint64_t taken(int fd) // bytes of memory
{
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

// Memory comes and goes; who asks for it gets what nobody has asked for; not kept is gone.
static void test_memory(void **state)
{
	(void)state;
	struct why why;
	struct held *m;
	struct hold h;
	int fd = file();
	uint64_t before = taken(fd);
	used = 0;
	assert_true(before < 65536);
	begin = 0;
	end = 500;
	assert_false(life(fd, NULL, put_from));
	assert_true(taken(fd) > 500 * 2000);
	assert_int_equal(held_open(&m, fd, 0, &why), OK);
	hold_init(&h, m, TO);
	uint32_t n = 0;
	while (put(&h, n)) // more than TOTAL here, where the caller sets no limit: until there is none
		n++;
	assert_true(used > TOTAL);
	hold_fini(&h, &used, false);
	held_close(m);
	assert_int_equal(found(fd, FROM)->n, 0);
	begin = 0;
	assert_false(life(fd, NULL, put_from));
	assert_int_equal(held_open(&m, fd, 0, &why), OK);
	hold_init(&h, m, FROM);
	hold_adopt(&h, &used, false);
	assert_int_equal(used, 0);
	assert_null(hold_first(&h));
	hold_fini(&h, &used, false);
	held_close(m);
	assert_int_equal(found(fd, FROM)->n, 0);
	assert_true(taken(fd) < before + 65536);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_appended),   cmocka_unit_test(test_popped),   cmocka_unit_test(test_moved),
		cmocka_unit_test(test_some_moved), cmocka_unit_test(test_nonsense), cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
