// Transmit rings that a hostile guest wrote, and odd ones that are lawful.
#include "hostile.h"

#include <string.h>

static void tx_plain(struct hostile *h, unsigned flags)
{
	hostile_put(h, 0, h->data, 12 + HOSTILE_FRAME, (uint16_t)flags, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_next(struct hostile *h, unsigned next)
{
	hostile_put(h, 0, h->data, 12, VQ_NEXT, (uint16_t)next);
	hostile_put(h, 1, h->data + 12, HOSTILE_FRAME, VQ_NEXT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_head(struct hostile *h, unsigned head)
{
	vq_offer_raw(h->q, (uint16_t)head);
}

static void tx_jump(struct hostile *h, unsigned by)
{
	hostile_put(h, 0, h->data, 12 + HOSTILE_FRAME, 0, 0);
	h->q->next_avail = (uint16_t)(h->q->next_avail + by);
}

static void tx_zero_lengths(struct hostile *h, unsigned where)
{
	for (uint16_t i = 0; i < HOSTILE_RING; i++)
		hostile_put(h, i, where ? UINT64_MAX - 5 : h->data, 0, i + 1u < HOSTILE_RING ? VQ_NEXT : 0,
			    (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_length(struct hostile *h, unsigned len)
{
	hostile_put(h, 0, h->data, len, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20, UINT64_C(1) << 63};
	hostile_put(h, 0, at[which], 12 + HOSTILE_FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_sum_over_32_bits(struct hostile *h, unsigned n)
{
	for (uint16_t i = 0; i < n; i++)
		hostile_put(h, i, h->data, 0x80000000u, i + 1u < n ? VQ_NEXT : 0, (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_many_large(struct hostile *h, unsigned len) // inside memory, far longer than any frame
{
	for (uint16_t i = 0; i < HOSTILE_RING; i++)
		hostile_put(h, i, h->data, len, i + 1u < HOSTILE_RING ? VQ_NEXT : 0, (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_bytes(struct hostile *h, unsigned each)
{
	uint32_t at = 0, total = 12 + HOSTILE_FRAME;
	uint16_t i = 0;
	for (; at < total; i++) {
		uint32_t len = i + 1u == HOSTILE_RING || total - at < each ? total - at : each;
		hostile_put(h, i, h->data + at, len, at + len < total ? VQ_NEXT : 0, (uint16_t)(i + 1));
		at += len;
	}
	vq_offer_raw(h->q, 0);
}

static void tx_zero_between(struct hostile *h, unsigned arg)
{
	(void)arg;
	hostile_put(h, 0, h->data, 12, VQ_NEXT, 1);
	hostile_put(h, 1, h->data + 12, 0, VQ_NEXT, 2);
	hostile_put(h, 2, h->data + 12, HOSTILE_FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_straddle(struct hostile *h, unsigned before)
{
	uint64_t at = h->edge - before;
	for (unsigned i = 0; i < 12 + HOSTILE_FRAME; i++) // the two regions are not adjacent in this process
		*gmem_at(h->mem, at + i) = *gmem_at(h->mem, h->data + i);
	hostile_put(h, 0, at, 12 + HOSTILE_FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_length(struct hostile *h, unsigned len)
{
	struct vq_desc *t = hostile_table(h, h->data + 4096);
	memset(t, 0, 65536);
	t[0] = (struct vq_desc){h->data, 12 + HOSTILE_FRAME, 0, 0};
	hostile_put(h, 0, h->data + 4096, len, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_flags(struct hostile *h, unsigned inner)
{
	struct vq_desc *t = hostile_table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data, 12 + HOSTILE_FRAME, (uint16_t)(inner & 0xff), (uint16_t)(inner >> 8)};
	t[1] = t[0];
	hostile_put(h, 0, h->data + 4096, 32, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 8, UINT64_MAX - 15};
	hostile_put(h, 0, at[which], 16, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_and_next(struct hostile *h, unsigned arg)
{
	(void)arg;
	struct vq_desc *t = hostile_table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data, 12 + HOSTILE_FRAME, 0, 0};
	hostile_put(h, 0, h->data + 4096, 16, VQ_INDIRECT | VQ_NEXT, 1);
	hostile_put(h, 1, h->data, 12 + HOSTILE_FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_direct_then_indirect(struct hostile *h, unsigned arg)
{
	(void)arg;
	struct vq_desc *t = hostile_table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data + 12, HOSTILE_FRAME, 0, 0};
	hostile_put(h, 0, h->data, 12, VQ_NEXT, 1);
	hostile_put(h, 1, h->data + 4096, 16, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_straddle(struct hostile *h, unsigned before)
{
	struct vq_desc t[2] = {{h->data, 12, VQ_NEXT, 1}, {h->data + 12, HOSTILE_FRAME, 0, 0}};
	for (unsigned i = 0; i < sizeof(t); i++)
		*gmem_at(h->mem, h->edge - before + i) = ((const uint8_t *)t)[i];
	hostile_put(h, 0, h->edge - before, sizeof(t), VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_header(struct hostile *h, unsigned which)
{
	static const struct net_hdr hdr[] = {
		{.gso_type = 1, .gso_size = 10, .flags = 1, .csum_start = 34, .csum_offset = 16},
		{.flags = 1, .csum_start = 0xffff, .csum_offset = 0},
		{.flags = 1, .csum_start = HOSTILE_FRAME - 1, .csum_offset = 0},
		{.flags = 1, .csum_start = 20, .csum_offset = 0xffff},
		{.gso_type = 0x80},
		{.flags = 0xf8},
		{.hdr_len = 0xffff, .num_buffers = 0xffff},
	};
	memcpy(gmem_at(h->mem, h->data), &hdr[which], 12);
	tx_plain(h, 0);
}

const struct hostile_case hostile_tx[] = {
	{"plain", tx_plain, 0, 1},
	{"device-writable", tx_plain, VQ_WRITE, -1},
	{"next at the ring's size", tx_next, HOSTILE_RING, -1},
	{"next 65535", tx_next, 65535, -1},
	{"self loop", tx_next, 0, -1},
	{"cycle of two", tx_next, 1, -1},
	{"head at the ring's size", tx_head, HOSTILE_RING, -1},
	{"head 65535", tx_head, 65535, -1},
	{"avail.idx jumps size + 1", tx_jump, HOSTILE_RING + 1, 0},
	{"avail.idx jumps 0x8000", tx_jump, 0x8000, 0},
	{"avail.idx jumps 0xffff", tx_jump, 0xffff, 0},
	{"all lengths zero", tx_zero_lengths, 0, -1},
	{"all lengths zero, addresses nowhere", tx_zero_lengths, 1, -1},
	{"length 0", tx_length, 0, -1},
	{"header of 1 byte", tx_length, 1, -1},
	{"header of 11 bytes", tx_length, 11, -1},
	{"header only", tx_length, 12, -1},
	{"frame of 13 bytes", tx_length, 25, -1},
	{"length 70000", tx_length, 70000, -1},
	{"length 2^32 - 1", tx_length, 0xffffffffu, -1},
	{"address 0", tx_place, 0, -1},
	{"address behind memory", tx_place, 1, -1},
	{"over the end of memory", tx_place, 2, -1},
	{"address wraps", tx_place, 3, -1},
	{"address 2^63", tx_place, 4, -1},
	{"two lengths of 2^31", tx_sum_over_32_bits, 2, -1},
	{"64 lengths of 60000", tx_many_large, 60000, -1},
	{"64 descriptors of 2 bytes", tx_bytes, 2, 1},
	{"descriptors of 5 bytes", tx_bytes, 5, 1},
	{"a zero length between", tx_zero_between, 0, 0},
	{"header straddles two regions", tx_straddle, 5, 1},
	{"frame straddles two regions", tx_straddle, 60, 1},
	{"indirect, length 0", tx_indirect_length, 0, -1},
	{"indirect, length 15", tx_indirect_length, 15, -1},
	{"indirect, length 17", tx_indirect_length, 17, -1},
	{"indirect, length 16", tx_indirect_length, 16, 1},
	{"indirect, length 65536", tx_indirect_length, 65536, 0},
	{"indirect, length 2^32 - 16", tx_indirect_length, 0xfffffff0u, -1},
	{"indirect in indirect", tx_indirect_flags, VQ_INDIRECT, -1},
	{"indirect self loop", tx_indirect_flags, VQ_NEXT, -1},
	{"indirect cycle", tx_indirect_flags, VQ_NEXT | 1u << 8, -1},
	{"indirect next beyond its table", tx_indirect_flags, VQ_NEXT | 2u << 8, -1},
	{"indirect at 0", tx_indirect_place, 0, -1},
	{"indirect behind memory", tx_indirect_place, 1, -1},
	{"indirect over the end of memory", tx_indirect_place, 2, -1},
	{"indirect wraps", tx_indirect_place, 3, -1},
	{"indirect and next", tx_indirect_and_next, 0, 0},
	{"direct, then indirect", tx_direct_then_indirect, 0, 1},
	{"indirect table straddles two regions", tx_indirect_straddle, 16, 1},
	{"indirect entry straddles two regions", tx_indirect_straddle, 20, 1},
	{"header asks for segmentation", tx_header, 0, -1},
	{"checksum start 65535", tx_header, 1, -1},
	{"checksum start at the last byte", tx_header, 2, -1},
	{"checksum offset 65535", tx_header, 3, -1},
	{"ECN without a type", tx_header, 4, 0},
	{"unknown header flags", tx_header, 5, 1},
	{"hints that are nonsense", tx_header, 6, 1},
	{NULL, NULL, 0, 0},
};
