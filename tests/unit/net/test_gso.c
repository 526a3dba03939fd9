// Segmentation: what is cut against frames built from their fields, and headers that lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/eth.h"
#include "net/gso.h"
#include "tcpframe.h"

static uint8_t whole[TCPFRAME_MAX], part[TCPFRAME_MAX], want[TCPFRAME_MAX];

struct case_ {
	struct tcpframe t;
	uint16_t size;
};

static const struct case_ cases[] = {
	{ { .payload = 2896, .flags = 0x10, .seq = 1000, .id = 7 }, 1448 },
	{ { .payload = 2897, .flags = 0x18, .seq = 1000, .id = 7, .tcp_options = 3 }, 1448 },
	{ { .payload = 65535 - 40, .flags = 0x19, .seq = 0xffffff00, .id = 0xfff0 }, 1460 }, // sequence and id go over their end
	{ { .payload = 65535 - 120, .flags = 0x99, .ip_options = 10, .tcp_options = 10 }, 1400 },
	{ { .payload = 5000, .flags = 0xd8, .tagged = true, .tcp_options = 3 }, 1448 },
	{ { .payload = 2048, .flags = 0x10 }, 1 },
	{ { .payload = 2, .flags = 0x19 }, 1 },
	{ { .payload = 1001, .flags = 0x10 }, 500 },
	{ { .payload = 60000, .flags = 0x18, .v6 = true, .tcp_options = 3 }, 1428 },
	{ { .payload = 65515, .flags = 0x18, .v6 = true }, 1440 },
	{ { .payload = 65495, .flags = 0x98, .v6 = true, .tagged = true, .tcp_options = 5 }, 8940 },
	{ { .payload = 9001, .flags = 0x18, .v6 = true, .ext = 1 }, 1000 },
	{ { .payload = 9001, .flags = 0x99, .v6 = true, .ext = 2, .tagged = true }, 1001 },
};

// The header that a sender with TSO puts in front, hdr_len being only a hint.
static struct vnet_hdr wish(const struct case_ *c, uint32_t l4, uint32_t hdr)
{
	return (struct vnet_hdr){ .flags = VNET_F_NEEDS_CSUM,
				  .gso_type = (uint8_t)((c->t.v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4) |
							(c->t.flags & 0x80 ? VNET_GSO_ECN : 0)),
				  .hdr_len = (uint16_t)hdr, .gso_size = c->size, .csum_start = (uint16_t)l4, .csum_offset = 16 };
}

// In a block of its own, so that ASan sees one byte too much.
static bool parse(struct vnet_hdr *h, const uint8_t *frame, uint32_t len, unsigned may, struct gso *g, const char **why)
{
	uint32_t have = len < GSO_HEAD_MAX ? len : GSO_HEAD_MAX;
	uint8_t *head = malloc(have + (have == 0));
	assert_non_null(head);
	memcpy(head, frame, have);
	*why = NULL;
	bool ok = gso_parse(h, head, len, may, g, why);
	free(head);
	assert_int_equal(ok, *why == NULL);
	return ok;
}

static uint32_t cut(const struct gso *g, unsigned i)
{
	struct vnet_hdr h;
	uint32_t len;
	uint8_t *out = malloc(g->hdr_len), *head = malloc(g->hdr_len);
	assert_non_null(out);
	assert_non_null(head);
	memcpy(head, whole, g->hdr_len);
	gso_head(g, head, i, out, &h, &len);
	memcpy(part, out, g->hdr_len);
	memcpy(part + g->hdr_len, whole + g->hdr_len + (size_t)i * g->size, len);
	free(out);
	free(head);
	assert_int_equal(h.gso_type, VNET_GSO_NONE);
	assert_int_equal(h.flags, VNET_F_NEEDS_CSUM);
	const char *why = NULL;
	assert_true(vnet_tx_sane(&h, g->hdr_len + len, true, &why));
	vnet_csum_complete(&h, part, g->hdr_len + len);
	return g->hdr_len + len;
}

static void test_cut(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
		struct case_ c = cases[k];
		uint32_t l4, hdr;
		c.t.partial = true;
		uint32_t len = tcpframe_build(&c.t, whole, &l4, &hdr);
		assert_true(len <= ETH_MAX);
		struct vnet_hdr h = wish(&c, l4, hdr), given = h;
		struct gso g;
		const char *why;
		if (!parse(&h, whole, len, GSO_ALL, &g, &why))
			fail_msg("case %zu: %s", k, why);
		assert_memory_equal(&h, &given, sizeof(h)); // an honest header goes on as it came
		assert_int_equal(g.hdr_len, hdr);
		assert_int_equal(g.payload, c.t.payload);
		assert_int_equal(g.n, c.t.payload / c.size + (c.t.payload % c.size != 0));
		for (unsigned i = 0; i < g.n; i++) {
			struct tcpframe p = tcpframe_part(&c.t, c.size, i);
			uint32_t l4_part, hdr_part, want_len = tcpframe_build(&p, want, &l4_part, &hdr_part);
			assert_int_equal(cut(&g, i), want_len);
			if (memcmp(part, want, want_len) != 0)
				print_error("case %zu, frame %u of %u\n", k, i, g.n);
			assert_memory_equal(part, want, want_len);
		}
	}
}

// All of gso_size, at one frame: the stream comes back whole from what is cut.
static void test_every_size(void **state)
{
	(void)state;
	struct case_ c = { { .payload = 3001, .flags = 0x18, .partial = true, .seq = 5 }, 0 };
	uint32_t l4, hdr, len = tcpframe_build(&c.t, whole, &l4, &hdr);
	for (uint32_t size = 0; size <= 0xffff; size++) {
		c.size = (uint16_t)size;
		struct vnet_hdr h = wish(&c, l4, hdr);
		struct gso g = { .n = 0 };
		const char *why;
		bool ok = parse(&h, whole, len, GSO_TSO4, &g, &why);
		if (size < 2) { // 0, and 3001 frames
			assert_false(ok);
			continue;
		}
		assert_true(ok);
		if (size >= c.t.payload) {
			assert_int_equal(h.gso_type, VNET_GSO_NONE);
			assert_int_equal(h.gso_size, 0);
			assert_int_equal(h.hdr_len, 0);
			assert_int_equal(h.flags, VNET_F_NEEDS_CSUM);
			assert_int_equal(g.n, 0);
			continue;
		}
		uint32_t at = 0;
		for (unsigned i = 0; i < g.n; i++) {
			uint32_t got = cut(&g, i) - hdr;
			assert_true(got > 0 && got <= size);
			for (uint32_t b = 0; b < got; b++)
				if (part[hdr + b] != tcpframe_byte(at + b))
					fail_msg("size %u, frame %u: byte %u", size, i, b);
			at += got;
		}
		assert_int_equal(at, c.t.payload);
	}
}

// -- what is refused -----------------------------------------------------------------------------------------------------------

struct lie {
	const char *name;
	struct tcpframe t;
	unsigned may;
	struct vnet_hdr h; // fields that are not 0 replace the honest ones; 0xfff: 0
	int at; // byte of the frame, from 14, that is overwritten; -1: none
	uint8_t byte;
	int longer; // the frame is that many bytes longer (or shorter) than its headers say
};

#define PLAIN4 { .payload = 5000, .flags = 0x18 }
#define PLAIN6 { .payload = 5000, .flags = 0x18, .v6 = true }
#define ZERO 0xfff
#define EXT(n) { .payload = 5000, .flags = 0x18, .v6 = true, .ext = (n) }

static const struct lie lies[] = {
	{ "not negotiated, v4", PLAIN4, GSO_TSO6 | GSO_ECN, { 0 }, -1, 0, 0 },
	{ "not negotiated, v6", PLAIN6, GSO_TSO4 | GSO_ECN, { 0 }, -1, 0, 0 },
	{ "not negotiated, ECN", { .payload = 5000, .flags = 0x98 }, GSO_TSO4 | GSO_TSO6, { 0 }, -1, 0, 0 },
	{ "v6 in a v4 frame", PLAIN4, GSO_ALL, { .gso_type = 4 }, -1, 0, 0 },
	{ "v4 in a v6 frame", PLAIN6, GSO_ALL, { .gso_type = 1 }, -1, 0, 0 },
	{ "UFO", PLAIN4, GSO_ALL, { .gso_type = 3 }, -1, 0, 0 },
	{ "USO", PLAIN4, GSO_ALL, { .gso_type = 5 }, -1, 0, 0 },
	{ "tunnel", PLAIN4, GSO_ALL, { .gso_type = 0x21 }, -1, 0, 0 },
	{ "ECN alone", PLAIN4, GSO_ALL, { .gso_type = 0x80 }, -1, 0, 0 },
	{ "size 0", PLAIN4, GSO_ALL, { .gso_size = ZERO }, -1, 0, 0 },
	{ "too many", PLAIN4, GSO_ALL, { .gso_size = 2 }, -1, 0, 0 },
	{ "no checksum asked for", PLAIN4, GSO_ALL, { .flags = 2 }, -1, 0, 0 },
	{ "checksum elsewhere", PLAIN4, GSO_ALL, { .csum_start = 35 }, -1, 0, 0 },
	{ "checksum at 65535", PLAIN4, GSO_ALL, { .csum_start = 0xffff }, -1, 0, 0 },
	{ "checksum of UDP", PLAIN4, GSO_ALL, { .csum_offset = 6 }, -1, 0, 0 },
	{ "another protocol's frame", PLAIN4, GSO_ALL, { 0 }, -2, 6, 0 },
	{ "version 6 in an IPv4 header", PLAIN4, GSO_ALL, { 0 }, 0, 0x65, 0 },
	{ "IPv4 header of 16 bytes", PLAIN4, GSO_ALL, { 0 }, 0, 0x44, 0 },
	{ "IPv4 header of 0 bytes", PLAIN4, GSO_ALL, { 0 }, 0, 0x40, 0 },
	{ "IPv4 header longer than it is", PLAIN4, GSO_ALL, { 0 }, 0, 0x4f, 0 },
	{ "UDP over IPv4", PLAIN4, GSO_ALL, { 0 }, 9, 17, 0 },
	{ "more fragments", PLAIN4, GSO_ALL, { 0 }, 6, 0x20, 0 },
	{ "a later fragment", PLAIN4, GSO_ALL, { 0 }, 7, 1, 0 },
	{ "IPv4 length", PLAIN4, GSO_ALL, { 0 }, 3, 1, 0 },
	{ "IPv4 frame with a tail", PLAIN4, GSO_ALL, { 0 }, -1, 0, 4 },
	{ "IPv4 frame cut short", PLAIN4, GSO_ALL, { 0 }, -1, 0, -4 },
	{ "TCP header of 16 bytes", PLAIN4, GSO_ALL, { 0 }, 32, 0x40, 0 },
	{ "TCP header of 0 bytes", PLAIN4, GSO_ALL, { 0 }, 32, 0, 0 },
	{ "TCP header longer than the frame", { .payload = 20, .flags = 0x18 }, GSO_ALL, { .gso_size = 5 }, 32, 0xf0, 0 },
	{ "version 4 in an IPv6 header", PLAIN6, GSO_ALL, { 0 }, 0, 0x45, 0 },
	{ "UDP over IPv6", PLAIN6, GSO_ALL, { 0 }, 6, 17, 0 },
	{ "IPv6 fragment", PLAIN6, GSO_ALL, { 0 }, 6, 44, 0 },
	{ "IPv6 authentication header", PLAIN6, GSO_ALL, { 0 }, 6, 51, 0 },
	{ "IPv6 length", PLAIN6, GSO_ALL, { 0 }, 5, 1, 0 },
	{ "IPv6 frame with a tail", PLAIN6, GSO_ALL, { 0 }, -1, 0, 1 },
	{ "extension header longer than the head", EXT(1), GSO_ALL, { 0 }, 41, 255, 0 },
	{ "extension header ends at the head's end", EXT(1), GSO_ALL, { 0 }, 41, 24, 0 },
	{ "hop-by-hop in the second place", EXT(3), GSO_ALL, { 0 }, -1, 0, 0 },
	{ "unfinished routing header", EXT(2), GSO_ALL, { 0 }, 67, 1, 0 },
};

static void over(uint16_t *to, uint16_t v)
{
	if (v)
		*to = v == ZERO ? 0 : v;
}

static void test_lies(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(lies); k++) {
		const struct lie *l = &lies[k];
		struct case_ c = { l->t, 1448 };
		uint32_t l4, hdr;
		c.t.partial = true;
		uint32_t len = tcpframe_build(&c.t, whole, &l4, &hdr);
		struct vnet_hdr h = wish(&c, l4, hdr), honest = h;
		struct gso g;
		const char *why;
		if (l->may == GSO_ALL && l->t.ext < 3)
			assert_true(parse(&honest, whole, len, GSO_ALL, &g, &why)); // it is the lie that is refused
		if (l->h.flags)
			h.flags = l->h.flags;
		if (l->h.gso_type)
			h.gso_type = l->h.gso_type;
		over(&h.gso_size, l->h.gso_size);
		over(&h.csum_start, l->h.csum_start);
		over(&h.csum_offset, l->h.csum_offset);
		if (l->at != -1)
			whole[14 + l->at] = l->byte;
		if (parse(&h, whole, (uint32_t)((int)len + l->longer), l->may, &g, &why))
			fail_msg("%s: taken", l->name);
	}
}

static bool takes(const struct case_ *c, uint32_t len, uint32_t l4)
{
	struct vnet_hdr h = wish(c, l4, 0);
	struct gso g;
	const char *why;
	return parse(&h, whole, len, GSO_ALL, &g, &why);
}

// Lies that agree with each other.
static void test_limits(void **state)
{
	(void)state;
	struct case_ c = { { .payload = 5000, .flags = 0x18, .partial = true }, 1448 };
	uint32_t l4, hdr, len = tcpframe_build(&c.t, whole, &l4, &hdr);
	whole[14] = 0x44; // IPv4 header of 16 bytes, and TCP behind it
	whole[14 + 16 + 12] = 0x50;
	assert_false(takes(&c, len, 14 + 16));

	c.t.v6 = true;
	c.t.ext = 1;
	len = tcpframe_build(&c.t, whole, &l4, &hdr);
	whole[14 + 41] = 17; // TCP begins at 198
	whole[198 + 12] = 0xf0;
	assert_false(takes(&c, len, 198)); // and ends behind what is looked at
	whole[198 + 12] = 0xe0;
	assert_true(takes(&c, len, 198));

	for (unsigned n = 1; n <= 10; n++) { // that many destination options
		c.t.ext = (uint8_t)(n == 1 ? 1 : n + 1);
		len = tcpframe_build(&c.t, whole, &l4, &hdr);
		whole[14 + 6] = 60;
		for (unsigned i = 0; i + 1 < n; i++)
			whole[14 + 40 + 8 * i] = 60;
		assert_int_equal(takes(&c, len, l4), n <= 8);
	}
}

// hdr_len is a hint that lies without effect.
static void test_hints(void **state)
{
	(void)state;
	static const uint16_t hint[] = { 0, 1, 53, 55, 1500, 0xffff };
	struct case_ c = { { .payload = 5000, .flags = 0x18, .partial = true }, 1448 };
	uint32_t l4, hdr, len = tcpframe_build(&c.t, whole, &l4, &hdr);
	for (size_t i = 0; i < ARRAY_LEN(hint); i++) {
		struct vnet_hdr h = wish(&c, l4, hint[i]);
		struct gso g;
		const char *why;
		h.flags = 0xff;
		assert_true(parse(&h, whole, len, GSO_ALL, &g, &why));
		assert_int_equal(h.hdr_len, hdr);
		assert_int_equal(h.flags, VNET_F_NEEDS_CSUM);
	}
}

// Every prefix of a frame, and every byte of its head changed: refused, or cut within what is there.
static void test_short_and_bent(void **state)
{
	(void)state;
	static const struct tcpframe shapes[] = {
		{ .payload = 300, .flags = 0x18, .ip_options = 2, .tcp_options = 3 },
		{ .payload = 300, .flags = 0x18, .v6 = true, .tagged = true, .ext = 2 },
	};
	for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
		struct case_ c = { shapes[s], 100 };
		uint32_t l4, hdr, taken = 0;
		c.t.partial = true;
		uint32_t len = tcpframe_build(&c.t, whole, &l4, &hdr);
		for (uint32_t short_len = 0; short_len < len; short_len++) {
			struct vnet_hdr h = wish(&c, l4, hdr);
			struct gso g;
			const char *why;
			assert_false(parse(&h, whole, short_len, GSO_ALL, &g, &why));
		}
		for (uint32_t at = 0; at < hdr; at++)
			for (unsigned v = 0; v < 256; v++) {
				uint8_t was = whole[at];
				struct vnet_hdr h = wish(&c, l4, hdr);
				struct gso g = { .n = 0 };
				const char *why;
				whole[at] = (uint8_t)v;
				if (parse(&h, whole, len, GSO_ALL, &g, &why)) {
					uint32_t total = 0;
					taken++;
					assert_true(g.hdr_len <= len && g.hdr_len <= GSO_HEAD_MAX);
					for (unsigned i = 0; i < g.n; i++)
						total += cut(&g, i) - g.hdr_len;
					assert_true(g.n == 0 || total + g.hdr_len == len);
				}
				whole[at] = was;
			}
		assert_true(taken > 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),   cmocka_unit_test(test_every_size),     cmocka_unit_test(test_lies),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_hints), cmocka_unit_test(test_short_and_bent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
