// A frame that its sender wants cut. Input: the virtio-net header (12 bytes), one byte (what was negotiated), the frame.
#include "fuzz.h"

#include <string.h>

#include "net/gso.h"

static uint32_t slow_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static uint32_t number(const uint8_t *p, unsigned n)
{
	uint32_t v = 0;
	while (n--)
		v = v << 8 | *p++;
	return v;
}

// What a receiver would check, of a frame whose checksum was completed.
static void check_part(const struct gso *g, const uint8_t *whole, unsigned i, const uint8_t *p, uint32_t len)
{
	const uint8_t *ip = p + g->l3, *tcp = p + g->l4, *was = whole + g->l4;
	uint32_t tcp_len = len - g->l4;
	if (g->v6) {
		FUZZ_CHECK(number(ip + 4, 2) == len - g->l3 - 40);
		if (g->l4 == g->l3 + 40)
			FUZZ_CHECK(slow_sum(slow_sum(6 + tcp_len, ip + 8, 32) % 0xffff, tcp, tcp_len) % 0xffff == 0);
	} else {
		FUZZ_CHECK(number(ip + 2, 2) == len - g->l3);
		FUZZ_CHECK(slow_sum(0, ip, g->l4 - g->l3) == 0xffff);
		FUZZ_CHECK((uint16_t)(number(ip + 4, 2) - number(whole + g->l3 + 4, 2)) == i);
		FUZZ_CHECK(slow_sum(slow_sum((6 + tcp_len) % 0xffff, ip + 12, 8), tcp, tcp_len) % 0xffff == 0);
	}
	FUZZ_CHECK(number(tcp + 4, 4) - number(was + 4, 4) == i * (uint32_t)g->size);
	FUZZ_CHECK(memcmp(tcp, was, 4) == 0 && memcmp(tcp + 8, was + 8, 5) == 0 && memcmp(tcp + 14, was + 14, 2) == 0);
	uint8_t gone = (uint8_t)((i + 1u < g->n ? 0x09 : 0) | (i ? 0x80 : 0));
	FUZZ_CHECK(tcp[13] == (was[13] & (uint8_t)~gone));
}

static void cut(const struct gso *g, const uint8_t *whole, uint32_t frame_len)
{
	uint32_t total = 0;
	for (unsigned i = 0; i < g->n; i++) {
		struct vnet_hdr h;
		uint32_t len;
		uint8_t *p = malloc(g->hdr_len + (size_t)g->size);
		if (!p)
			return;
		gso_head(g, whole, i, p, &h, &len);
		FUZZ_CHECK(len > 0 && len <= g->size && total + len <= g->payload && (len == g->size || i + 1u == g->n));
		memcpy(p + g->hdr_len, whole + g->hdr_len + total, len);
		total += len;
		vnet_csum_complete(&h, p, g->hdr_len + len);
		check_part(g, whole, i, p, g->hdr_len + len);
		free(p);
	}
	FUZZ_CHECK(total == g->payload && g->hdr_len + total == frame_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnet_hdr h, again;
	struct gso g = { .n = 0 }, same = { .n = 0 };
	const char *why = NULL;
	if (size < sizeof(h) + 1 || size > sizeof(h) + 1 + 65593)
		return 0;
	memcpy(&h, data, sizeof(h));
	unsigned may = data[sizeof(h)] & GSO_ALL;
	const uint8_t *frame = data + sizeof(h) + 1;
	uint32_t len = (uint32_t)(size - sizeof(h) - 1);
	if (!gso_parse(&h, frame, len, may, &g, &why)) {
		FUZZ_CHECK(why != NULL);
		return 0;
	}
	FUZZ_CHECK(h.flags == VNET_F_NEEDS_CSUM && h.csum_offset == 16 && h.csum_start >= 34);
	FUZZ_CHECK((uint32_t)h.csum_start + 20 <= len);
	if (h.gso_type == VNET_GSO_NONE) {
		FUZZ_CHECK(h.gso_size == 0 && h.hdr_len == 0 && vnet_tx_sane(&h, len, true, &why));
		return 0;
	}
	FUZZ_CHECK(g.n >= 2 && g.n <= GSO_MAX_FRAMES && g.hdr_len < len && g.hdr_len <= GSO_HEAD_MAX && h.hdr_len == g.hdr_len);
	FUZZ_CHECK((g.need & ~may) == 0 && g.need != 0 && h.gso_size == g.size);
	again = h;
	FUZZ_CHECK(gso_parse(&again, frame, len, may, &same, &why) && memcmp(&again, &h, sizeof(h)) == 0);
	FUZZ_CHECK(same.n == g.n && same.pseudo == g.pseudo && same.payload == g.payload);
	cut(&g, frame, len);
	return 0;
}
