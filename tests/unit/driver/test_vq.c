// The driver's side of a ring against the rig: a random walk over every format, with a record of what must come out, and the
// faults that each side must see in the other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "rig.h"

#define OUT_MAX 512u

struct form {
	bool packed, event_idx, in_order;
	uint16_t size, base;
};

struct out { // a chain that was added
	uint32_t token;
	struct vq_buf buf[RIG_SEGS];
	unsigned n;
	bool indirect;
	struct rig_chain chain; // as the rig fetched it
};

struct table {
	struct gmem *mem;
	struct vq q;
	struct rig rig;
	uint64_t tables; // indirect ones, by token
	uint64_t rng;
	uint32_t token;
	// In order of add; head: oldest that is not fetched; those that are fetched are in `in_hand`, in order of fetch.
	struct out added[OUT_MAX], in_hand[OUT_MAX];
	unsigned n_added, n_in_hand;
	struct {
		uint32_t token, len;
	} done[OUT_MAX]; // completed and not taken
	unsigned n_done;
	uint64_t total, wraps;
};

static unsigned pick(struct table *t, unsigned below)
{
	t->rng = t->rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(t->rng >> 33) % below;
}

static void table_open(struct table *t, const struct form *f)
{
	static const struct gmem_conf conf = {.region_bytes = 8 << 20};
	memset(t, 0, sizeof(*t));
	t->mem = gmem_new(&conf);
	assert_non_null(t->mem);
	assert_true((f->packed ? vq_init_packed : vq_init)(&t->q, t->mem, 0, f->size, false));
	t->q.in_order = f->in_order;
	vq_reset(&t->q, f->base, f->event_idx);
	t->q.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->tables = gmem_area(t->mem, 0, GMEM_DRIVER, 1024 * RIG_SEGS * 16, 0);
	rig_init(&t->rig, &t->q, t->mem, vq_base(&t->q));
	t->rng = f->size * 977u + f->base;
}

static void table_close(struct table *t)
{
	close(t->q.kick);
	vq_fini(&t->q);
	gmem_free(t->mem);
}

// Add a random chain if there is room; the places that it takes, 0 if it had none.
static unsigned add_some(struct table *t)
{
	struct out *o = &t->added[t->n_added];
	memset(o, 0, sizeof(*o));
	o->token = t->token;
	o->n = 1 + pick(t, 4);
	o->indirect = pick(t, 3) == 0;
	unsigned readable = pick(t, o->n + 1);
	for (unsigned i = 0; i < o->n; i++)
		o->buf[i] = (struct vq_buf){
			.gpa = (uint64_t)pick(t, 1u << 30) << 4, .len = 1 + pick(t, 9000), .write = i >= readable};
	uint64_t at = t->tables + t->token % 1024 * RIG_SEGS * 16;
	uint16_t before = t->q.n_free;
	bool fits = (o->indirect ? 1 : o->n) <= before;
	struct vq_desc *table = (struct vq_desc *)(void *)gmem_at(t->mem, at);
	bool ok = o->indirect ? vq_add_indirect(&t->q, table, at, o->buf, o->n, o->token)
			      : vq_add(&t->q, o->buf, o->n, o->token);
	assert_int_equal(ok, fits);
	if (!ok)
		return 0;
	t->n_added++;
	t->token++;
	return before - t->q.n_free;
}

// Add and show some; kicks come exactly when the rig asked for them.
static void walk_offer(struct table *t)
{
	struct rig_chain none;
	unsigned descs = 0, chains = 0;
	int ahead = (int)pick(t, 9) - 3;
	enum rig_ask ask = pick(t, 3);
	if (ask == RIG_AT && !t->q.event_idx)
		ask = RIG_ALWAYS;
	if (!t->q.packed && t->q.event_idx && ask == RIG_ALWAYS) // there is no such wish
		ask = RIG_AT;
	assert_int_equal(t->n_added, 0); // all fetched: the rig's place is the driver's
	rig_ask(&t->rig, ask, ahead);
	for (unsigned i = pick(t, 6); i > 0 && t->n_in_hand + t->n_done + t->n_added < OUT_MAX - 8; i--) {
		unsigned more = add_some(t);
		descs += more;
		chains += more != 0;
	}
	assert_false(rig_fetch(&t->rig, &none)); // nothing is visible yet
	assert_null(t->rig.wrong);
	uint64_t kicks = t->q.kicks;
	vq_publish(&t->q, false);
	int places = (int)(t->q.packed ? descs : chains);
	bool kick = places > 0 && (ask == RIG_ALWAYS || (ask == RIG_AT && ahead >= 0 && ahead < places));
	assert_int_equal(t->q.kicks - kicks, kick);
}

static void walk_fetch(struct table *t)
{
	for (unsigned i = 0; i < t->n_added; i++) {
		struct out *o = &t->added[i];
		if (!rig_fetch(&t->rig, &o->chain))
			fail_msg("chain %u: %s", o->token, t->rig.wrong != NULL ? t->rig.wrong : "not visible");
		assert_int_equal(o->chain.n, o->n);
		assert_int_equal(o->chain.descs, o->indirect ? 1 : o->n);
		for (unsigned s = 0; s < o->n; s++) {
			assert_int_equal(o->chain.seg[s].gpa, o->buf[s].gpa);
			assert_int_equal(o->chain.seg[s].len, o->buf[s].len);
			assert_int_equal(o->chain.seg[s].write, o->buf[s].write);
		}
		t->in_hand[t->n_in_hand++] = *o;
	}
	t->n_added = 0;
}

static uint32_t room(const struct out *o)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < o->n; i++)
		n += o->buf[i].write ? o->buf[i].len : 0;
	return n;
}

// Complete some: any of them, or the oldest, by batches if in order.
static void walk_complete(struct table *t, unsigned *chains, unsigned *descs)
{
	*chains = *descs = 0;
	for (unsigned i = pick(t, 6); i > 0 && t->n_in_hand > 0; i--) {
		unsigned batch = t->q.in_order ? 1 + pick(t, t->n_in_hand < 4 ? t->n_in_hand : 4) : 1, places = 0;
		unsigned first = t->q.in_order ? 0 : pick(t, t->n_in_hand);
		struct out *last = &t->in_hand[first + batch - 1];
		for (unsigned b = 0; b < batch; b++) {
			struct out *o = &t->in_hand[first + b];
			t->done[t->n_done].token = o->token;
			t->done[t->n_done].len = room(o) > 0 && o == last ? pick(t, room(o)) : room(o);
			places += o->chain.descs;
			t->n_done++;
		}
		uint16_t before = t->rig.used;
		rig_used(&t->rig, &last->chain, t->done[t->n_done - 1].len, batch, places);
		t->wraps += t->rig.used < before;
		memmove(&t->in_hand[first], &t->in_hand[first + batch],
			(t->n_in_hand - first - batch) * sizeof(t->in_hand[0]));
		t->n_in_hand -= batch;
		*chains += batch;
		*descs += places;
	}
}

static void walk_take(struct table *t, unsigned most)
{
	uint32_t token, len;
	unsigned i = 0;
	for (; i < t->n_done && i < most; i++) {
		if (!vq_take(&t->q, &token, &len))
			fail_msg("chain %u: %s", t->done[i].token, t->q.broken != NULL ? t->q.broken : "nothing");
		assert_int_equal(token, t->done[i].token);
		assert_int_equal(len, t->done[i].len);
		t->total++;
	}
	t->n_done -= i;
	memmove(&t->done[0], &t->done[i], t->n_done * sizeof(t->done[0]));
	if (t->n_done == 0)
		assert_false(vq_take(&t->q, &token, &len));
	assert_null(t->q.broken);
}

static void walk(const struct form *f)
{
	struct table *t = malloc(sizeof(*t));
	unsigned chains, descs;
	table_open(t, f);
	for (unsigned step = 0; step < 1500; step++) {
		walk_offer(t);
		walk_fetch(t);
		enum { ARM, DISARM, LEAVE } wish = pick(t, 3);
		if (wish == ARM)
			assert_int_equal(vq_arm(&t->q), t->n_done > 0);
		else if (wish == DISARM)
			vq_disarm(&t->q);
		bool due = t->n_done > 0;
		walk_complete(t, &chains, &descs);
		// A call that was asked for over nothing done comes with the first completion; one that was not never does.
		if (wish == ARM && !due && chains > 0)
			assert_true(rig_must_call(&t->rig, chains, descs));
		if (wish == DISARM)
			assert_false(rig_must_call(&t->rig, chains, descs));
		assert_int_equal((uint16_t)(vq_used_idx(&t->q) - t->q.last_used), t->n_done);
		uint32_t base = vq_base(&t->q);
		assert_int_equal(base >> (f->packed ? 16 : 0) & 0x7fff, t->rig.used & 0x7fff);
		if (f->packed)
			assert_int_equal(base >> 31, t->rig.used_wrap);
		assert_int_equal(vq_out(&t->q), t->n_in_hand + t->n_done);
		walk_take(t, pick(t, 4) == 0 ? pick(t, 3) : OUT_MAX);
	}
	while (t->n_in_hand > 0)
		walk_complete(t, &chains, &descs);
	walk_take(t, OUT_MAX);
	assert_int_equal(t->q.n_free, f->size);
	assert_true(t->total > 1000);
	assert_true(t->wraps > 3 || (!f->packed && (t->wraps > 0 || f->base < 60000)));
	table_close(t);
	free(t);
}

static void test_walk_split(void **state)
{
	(void)state;
	static const uint16_t sizes[] = {4, 8, 64, 256}, bases[] = {0, 5, 65000, 65535};
	for (unsigned s = 0; s < ARRAY_LEN(sizes); s++)
		for (unsigned m = 0; m < 4; m++)
			walk(&(struct form){.size = sizes[s], .base = bases[s], .event_idx = m & 1, .in_order = m & 2});
}

static void test_walk_packed(void **state)
{
	(void)state;
	static const uint16_t sizes[] = {4, 5, 17, 64, 255, 256}, bases[] = {0, 5, 18, 65535, 254, 300};
	for (unsigned s = 0; s < ARRAY_LEN(sizes); s++)
		for (unsigned m = 0; m < 4; m++)
			walk(&(struct form){.packed = true,
					    .size = sizes[s],
					    .base = bases[s],
					    .event_idx = m & 1,
					    .in_order = m & 2});
}

static void test_base_form(void **state)
{
	(void)state;
	static const struct {
		uint16_t size, base;
		uint32_t packed;
	} rows[] = {{256, 0, 0x80008000},
		    {256, 5, 0x80058005},
		    {256, 256, 0},
		    {256, 300, 0x002c002c},
		    {100, 250, 0x80328032}};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct table *t = malloc(sizeof(*t));
		table_open(t, &(struct form){.packed = true, .size = rows[i].size, .base = rows[i].base});
		assert_int_equal(vq_base(&t->q), rows[i].packed);
		// Nothing is there for a device over a whole lap, and what lies behind it is used.
		for (unsigned n = 0, slot = rows[i].packed & 0x7fff, wrap = rows[i].packed >> 31; n < rows[i].size; n++) {
			assert_int_equal(t->q.p.desc[slot].flags, wrap ? 0 : VQ_AVAIL | VQ_USED);
			slot = (slot + 1) % rows[i].size;
			wrap ^= slot == 0;
		}
		table_close(t);
		table_open(t, &(struct form){.size = 256, .base = rows[i].base});
		assert_int_equal(vq_base(&t->q), rows[i].base);
		table_close(t);
		free(t);
	}
}

// -- what each side must see in the other ------------------------------------------------------------------------------
// Three chains of two buffers each, shown and fetched.
static void three(struct table *t, const struct form *f, struct rig_chain c[3])
{
	static const struct vq_buf b[2] = {{0x100000, 10, false}, {0x200000, 20, true}};
	table_open(t, f);
	for (unsigned i = 0; i < 3; i++)
		assert_true(vq_add(&t->q, b, 2, 100 + i));
	vq_publish(&t->q, false);
	for (unsigned i = 0; c != NULL && i < 3; i++)
		assert_true(rig_fetch(&t->rig, &c[i]));
}

// Complete as kind says, take all; what the driver says is broken.
static const char *broken(struct table *t, const struct form *f, unsigned kind)
{
	struct rig_chain c[3];
	uint32_t token, len;
	three(t, f, c);
	switch (kind) {
	case 1: // never out
		c[0].id = 15;
		break;
	case 2:
		c[0].id = f->size;
		break;
	case 3: // twice
		rig_used(&t->rig, &c[0], 7, 1, 2);
		break;
	case 4: // in order: a batch of three, told as one
		c[0].id = c[2].id;
		break;
	default:
		break;
	}
	rig_used(&t->rig, &c[0], 7, 1, 2);
	while (vq_take(&t->q, &token, &len))
		;
	const char *what = t->q.broken;
	table_close(t);
	return what;
}

static void test_device_faults(void **state)
{
	(void)state;
	struct table *t = malloc(sizeof(*t));
	for (unsigned m = 0; m < 4; m++) {
		struct form f = {.packed = m & 1, .in_order = m & 2, .size = 16};
		assert_null(broken(t, &f, 0));
		assert_string_equal(broken(t, &f, 1), "used id that is not out");
		assert_string_equal(broken(t, &f, 2), "used id beyond the ring");
		assert_string_equal(broken(t, &f, 3), "used id that is not out");
	}
	assert_string_equal(broken(t, &(struct form){.in_order = true, .size = 16}, 4), "a batch beyond used.idx");
	free(t);
}

// A driver that starts anew in the middle of a batch knows nothing of it.
static void test_reset_forgets(void **state)
{
	(void)state;
	struct table *t = malloc(sizeof(*t));
	static const struct vq_buf b = {0x100000, 10, true};
	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig_chain c[3];
		uint32_t token, len;
		three(t, &(struct form){.packed = packed, .in_order = true, .size = 16}, c);
		rig_used(&t->rig, &c[2], 7, 3, 6);
		assert_true(vq_take(&t->q, &token, &len));
		assert_int_equal(token, 100);
		vq_reset(&t->q, 0, false);
		assert_false(vq_take(&t->q, &token, &len));
		assert_null(t->q.broken);
		assert_int_equal(t->q.n_free, 16);
		rig_init(&t->rig, &t->q, t->mem, vq_base(&t->q));
		assert_true(vq_add(&t->q, &b, 1, 5));
		vq_publish(&t->q, false);
		assert_true(rig_fetch(&t->rig, &c[0]));
		rig_used(&t->rig, &c[0], 9, 1, 1);
		assert_true(vq_take(&t->q, &token, &len));
		assert_int_equal(token, 5);
		assert_int_equal(len, 9);
		table_close(t);
	}
	free(t);
}

static const char *fetched(struct table *t, unsigned n)
{
	struct rig_chain c;
	for (unsigned i = 0; i < n && rig_fetch(&t->rig, &c); i++)
		if (c.n != 2 || c.seg[0].gpa != 0x100000 || c.seg[0].len != 10 || c.seg[1].gpa != 0x200000 ||
		    c.seg[1].len != 20)
			return "another chain";
	return t->rig.wrong;
}

// The rig is no rubber stamp: one field changed behind the driver's back, and it says so.
static void test_rig_sees(void **state)
{
	(void)state;
	struct table *t = malloc(sizeof(*t));
	struct form packed = {.packed = true, .size = 6}, split = {.size = 16, .in_order = true};
	three(t, &packed, NULL);
	assert_null(fetched(t, 3));
	table_close(t);
	three(t, &packed, NULL);
	t->q.p.desc[1].flags ^= VQ_AVAIL | VQ_USED; // as if the wrap counter were wrong
	assert_string_equal(fetched(t, 3), "a chain's descriptor is not available");
	table_close(t);
	three(t, &packed, NULL);
	t->q.p.desc[1].len++;
	assert_string_equal(fetched(t, 3), "another chain");
	table_close(t);
	three(t, &packed, NULL);
	t->q.p.desc[0].flags |= VQ_WRITE;
	t->q.p.desc[1].flags &= (uint16_t)~VQ_WRITE;
	assert_string_equal(fetched(t, 3), "a readable buffer behind a writable one");
	table_close(t);
	three(t, &split, NULL);
	assert_null(fetched(t, 3));
	table_close(t);
	three(t, &split, NULL);
	t->q.avail[3] = 4;
	assert_string_equal(fetched(t, 3), "head out of the table's order");
	table_close(t);
	free(t);
}

// A device that asks for a place that is none, or in reserved words, gets its kicks.
static void test_odd_wishes(void **state)
{
	(void)state;
	struct table *t = malloc(sizeof(*t));
	static const struct vq_buf b = {0x100000, 10, false};
	static const uint32_t wishes[] = {3u << 16, 2u << 16 | 100, 2u << 16 | 0x7fff, 2u << 16 | 0xffff};
	for (unsigned i = 0; i < ARRAY_LEN(wishes); i++) {
		table_open(t, &(struct form){.packed = true, .size = 16, .event_idx = true});
		*t->q.p.device_event = wishes[i];
		assert_true(vq_add(&t->q, &b, 1, 1));
		vq_publish(&t->q, false);
		assert_int_equal(t->q.kicks, 1);
		*t->q.p.device_event = 1u << 16;
		assert_true(vq_add(&t->q, &b, 1, 1));
		vq_publish(&t->q, false);
		assert_int_equal(t->q.kicks, 1);
		vq_publish(&t->q, true);
		assert_int_equal(t->q.kicks, 2);
		table_close(t);
	}
	free(t);
}

// What a hostile test writes by hand arrives as it is.
static void test_raw(void **state)
{
	(void)state;
	struct table *t = malloc(sizeof(*t));
	struct rig_chain c;
	table_open(t, &(struct form){.packed = true, .size = 4, .base = 3});
	vq_packed_raw(&t->q, (struct vq_pdesc){0xdead000, 77, 9, VQ_NEXT});
	vq_packed_raw(&t->q, (struct vq_pdesc){0xbeef000, 78, 999, VQ_WRITE});
	assert_false(rig_fetch(&t->rig, &c));
	vq_publish(&t->q, false);
	assert_true(rig_fetch(&t->rig, &c));
	assert_int_equal(c.id, 999);
	assert_int_equal(c.n, 2);
	assert_int_equal(c.seg[1].gpa, 0xbeef000);
	table_close(t);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk_split),
		cmocka_unit_test(test_walk_packed),
		cmocka_unit_test(test_base_form),
		cmocka_unit_test(test_device_faults),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_rig_sees),
		cmocka_unit_test(test_odd_wishes),
		cmocka_unit_test(test_raw),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
