// Admission: for each row of the table, one good request is admitted, and each single fault in it is refused. And the table
// itself: no row contradicts another column of its own, and docs/messages.md is what it prints.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "wire/vu_admit.h"

static struct why why;
static const struct vu_row *got_row;
static uint32_t got_queue;
static union vu_body got_body;

static struct vu_session open_session(void)
{
	return (struct vu_session){
		.features_offered = UINT64_MAX, .features_acked = UINT64_MAX, .protocol_offered = UINT64_MAX,
		.protocol_acked = UINT64_MAX, .owned = true, .n_rings = 4,
	};
}

struct good {
	struct vu_request req;
	uint8_t payload[VU_MAX_PAYLOAD + 64];
};

static void make_good(struct good *g, const struct vu_row *row)
{
	memset(g, 0, sizeof(*g));
	g->req.hdr = (struct vu_hdr){ .request = row->id, .flags = VU_VERSION, .size = row->len.min };
	g->req.payload = g->payload;
	if (row->fds == VU_FDS_ONE || row->fds == VU_FDS_BY_NOFD)
		g->req.n_fds = 1;
	if (row->len.kind == VU_LEN_COUNTED) {
		uint32_t n = 2;
		memcpy(g->payload, &n, sizeof(n));
		g->req.hdr.size = row->len.min + n * row->len.element;
		g->req.n_fds = n;
	}
}

static enum err admit(const struct vu_session *s, const struct good *g)
{
	why.text[0] = '\0';
	return vu_admit(s, &g->req, &got_row, &got_body, &got_queue, &why);
}

// A declined row is refused in the end with its reason; a fault before that has another text.
static void expect_good(const struct vu_session *s, const struct good *g, const struct vu_row *row)
{
	enum err e = admit(s, g);
	if (row->works) {
		assert_int_equal(e, OK);
	} else {
		assert_int_equal(e, REFUSED);
		assert_memory_equal(why.text, "declined: ", 10);
	}
	assert_ptr_equal(got_row, row);
}

static void expect_refused(const struct vu_session *s, const struct good *g, const struct vu_row *row)
{
	assert_int_equal(admit(s, g), REFUSED);
	assert_true(memcmp(why.text, "declined: ", 10) != 0);
	assert_ptr_equal(got_row, row);
}

static void each_row_alone(void **state)
{
	(void)state;
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *row = vu_row(id);
		struct vu_session s = open_session();
		struct good g;
		assert_non_null(row);
		assert_int_equal(row->id, id);
		make_good(&g, row);
		expect_good(&s, &g, row);
		for (uint32_t extra = 1; extra <= 8; extra++) { // long and short payloads
			if (row->len.kind == VU_LEN_RANGE)
				continue;
			g.req.hdr.size += extra;
			expect_refused(&s, &g, row);
			g.req.hdr.size -= extra;
			if (g.req.hdr.size >= extra) {
				g.req.hdr.size -= extra;
				expect_refused(&s, &g, row);
				g.req.hdr.size += extra;
			}
		}
		for (unsigned n = 0; n <= VU_MAX_FDS; n++) { // missing and extra descriptors
			unsigned keep = g.req.n_fds;
			if (n == keep || (row->fds == VU_FDS_MAYBE && n <= 1))
				continue;
			g.req.n_fds = n;
			expect_refused(&s, &g, row);
			g.req.n_fds = keep;
		}
		expect_good(&s, &g, row);
	}
}

static void gates_and_phases(void **state)
{
	(void)state;
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *row = vu_row(id);
		struct good g;
		make_good(&g, row);
		struct vu_session s = open_session();
		switch (row->gate.kind) {
		case VU_GATE_ALWAYS:
			break;
		case VU_GATE_F30:
			s.features_offered = bits_without(s.features_offered, row->gate.bit);
			break;
		case VU_GATE_OFFERED:
			s.protocol_offered = bits_without(s.protocol_offered, row->gate.bit);
			break;
		case VU_GATE_PF:
			s.protocol_acked = bits_without(s.protocol_acked, row->gate.bit);
			break;
		case VU_GATE_FEATURE:
			s.features_acked = bits_without(s.features_acked, row->gate.bit);
			break;
		}
		if (row->gate.kind != VU_GATE_ALWAYS)
			expect_refused(&s, &g, row);
		s = open_session();
		s.owned = false;
		if (row->when & VU_IN_NEW)
			expect_good(&s, &g, row);
		else
			expect_refused(&s, &g, row);
		s = open_session();
		s.ring_runs = 1; // ring 0, which the good request is about
		if (row->queue == VU_Q_NO || (row->when & VU_RING_RUNS))
			expect_good(&s, &g, row);
		else
			expect_refused(&s, &g, row);
	}
}

static void ring_indices(void **state)
{
	(void)state;
	static const uint32_t index[] = { 0, 3, 4, 255, 256, 0xffff, 0x10000, 0xffffffff };
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *row = vu_row(id);
		if (row->queue == VU_Q_NO)
			continue;
		struct vu_session s = open_session();
		for (unsigned i = 0; i < ARRAY_LEN(index); i++) {
			struct good g;
			make_good(&g, row);
			memcpy(g.payload, &index[i], sizeof(index[i]));
			bool nofd = row->fds == VU_FDS_BY_NOFD && (index[i] & VU_RING_NOFD);
			if (nofd)
				g.req.n_fds = 0;
			bool ok = index[i] < 4 || (nofd && index[i] == 256); // 256: bit 8 and ring 0
			if (ok) {
				expect_good(&s, &g, row);
				assert_int_equal(got_queue, index[i] & 0xff);
			} else {
				expect_refused(&s, &g, row);
			}
		}
		if (row->queue == VU_Q_LOW_BYTE) { // the upper half of the u64 counts, too
			struct good g;
			make_good(&g, row);
			g.payload[4] = 1;
			expect_refused(&s, &g, row);
		}
	}
}

static void headers(void **state)
{
	(void)state;
	struct vu_session s = open_session();
	struct good g;
	make_good(&g, vu_row(VU_GET_FEATURES));
	g.req.hdr.flags = VU_VERSION | VU_FLAG_NEED_REPLY;
	assert_int_equal(admit(&s, &g), OK);
	static const uint32_t bad[] = { 0, 2, 3, VU_FLAG_NEED_REPLY, VU_REPLY_FLAGS, 0x11, 0x80000001 };
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		g.req.hdr.flags = bad[i];
		assert_int_equal(admit(&s, &g), DESYNC);
		assert_null(got_row);
	}
	g.req.hdr.flags = VU_VERSION;
	g.req.fds_truncated = true;
	assert_int_equal(admit(&s, &g), DESYNC);
	g.req.fds_truncated = false;
	g.req.hdr.size = VU_MAX_PAYLOAD + 1;
	assert_int_equal(admit(&s, &g), DESYNC);
	static const uint32_t unknown[] = { 0, 45, 63, 64, 0x7fffffff, 0xffffffff };
	for (unsigned i = 0; i < ARRAY_LEN(unknown); i++) {
		make_good(&g, vu_row(1));
		g.req.hdr.request = unknown[i];
		assert_int_equal(admit(&s, &g), REFUSED);
		assert_null(got_row);
		assert_null(vu_row(unknown[i]));
	}
}

static void memory_counts(void **state)
{
	(void)state;
	const struct vu_row *row = vu_row(VU_SET_MEM_TABLE);
	struct vu_session s = open_session();
	static const uint32_t counts[] = { 0, 1, 8, 9, 255, 256, 0xffff, 0x10000, 0x07ffffff, 0x08000000, 0xffffffff };
	for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
		struct good g;
		make_good(&g, row);
		memcpy(g.payload, &counts[i], sizeof(counts[i]));
		g.req.n_fds = counts[i] < 8 ? counts[i] : 8;
		g.req.hdr.size = counts[i] <= 100 ? 8 + 32 * counts[i] : 8 + 32 * 8;
		if (counts[i] <= 8)
			expect_good(&s, &g, row);
		else
			expect_refused(&s, &g, row);
		g.req.hdr.size = 8 + counts[i] * 32; // the same, as a wrapping product would have it
		if (counts[i] > 8 && g.req.hdr.size <= VU_MAX_PAYLOAD)
			expect_refused(&s, &g, row);
	}
}

// A row whose columns contradict each other would be admitted wrongly or not be answerable.
static void rows_make_sense(void **state)
{
	(void)state;
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *row = vu_row(id);
		assert_int_equal(row->works, id <= 20);
		assert_int_equal(row->works, strcmp(row->handler, "DECLINED") != 0);
		assert_true(row->note[0] != '\0');
		assert_true((row->when & VU_IN_OWNED) != 0);
		assert_int_equal(row->queue != VU_Q_NO, (row->when & VU_RING_ANY) != 0);
		if (row->reply != VU_R_ACK) // can't be replaced by a nack, unless it is a u64 with an error form
			assert_true(row->refusal == VU_CLOSE || row->refusal == VU_ANSWER ||
				    (row->refusal == VU_NACK && row->reply == VU_R_U64));
		else
			assert_true(row->refusal == VU_NACK_CLOSE || row->refusal == VU_NACK_GO_ON ||
				    row->refusal == VU_NACK_LOG);
		if (row->payload == VU_P_U64)
			assert_int_equal(row->len.min, 8);
		if (row->payload == VU_P_STATE)
			assert_int_equal(row->len.min, sizeof(struct vu_state));
		if (row->payload == VU_P_ADDR)
			assert_int_equal(row->len.min, sizeof(struct vu_addr));
		if (row->payload == VU_P_LOG)
			assert_int_equal(row->len.min, sizeof(struct vu_log));
	}
	assert_string_equal(vu_name(11), "GET_VRING_BASE");
	assert_string_equal(vu_name(99), "message 99");
}

static char page[65536];
static size_t page_len;

static void put(void *arg, const char *text)
{
	(void)arg;
	size_t n = strlen(text);
	assert_true(page_len + n < sizeof(page));
	memcpy(page + page_len, text, n);
	page_len += n;
}

static void page_is_fresh(void **state)
{
	(void)state;
	static char file[sizeof(page)];
	page_len = 0;
	vu_table_print(put, NULL);
	if (getenv("VRINGD_UPDATE")) {
		FILE *w = fopen(VRINGD_SOURCE_DIR "/docs/messages.md", "w");
		assert_non_null(w);
		fwrite(page, 1, page_len, w);
		fclose(w);
	}
	FILE *f = fopen(VRINGD_SOURCE_DIR "/docs/messages.md", "r");
	assert_non_null(f);
	size_t n = fread(file, 1, sizeof(file), f);
	fclose(f);
	if (n != page_len || memcmp(file, page, n) != 0)
		fail_msg("docs/messages.md differs from src/wire/vu_msgs.h: run this test with VRINGD_UPDATE=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row_alone), cmocka_unit_test(gates_and_phases), cmocka_unit_test(ring_indices),
		cmocka_unit_test(headers), cmocka_unit_test(memory_counts), cmocka_unit_test(rows_make_sense),
		cmocka_unit_test(page_is_fresh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
