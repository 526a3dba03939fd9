// Packed rings that a hostile guest wrote, and odd ones that are lawful. Everything goes in by vq_packed_raw: no account.
#include "hostile.h"

#include <string.h>

#define WHOLE (12 + HOSTILE_FRAME)

static void put(struct hostile *h, uint64_t addr, uint32_t len, unsigned id, unsigned flags)
{
	vq_packed_raw(h->q, (struct vq_pdesc){addr, len, (uint16_t)id, (uint16_t)flags});
}

static struct vq_pdesc *table(struct hostile *h)
{
	struct vq_pdesc *t = (struct vq_pdesc *)(void *)gmem_at(h->mem, h->data + 4096);
	memset(t, 0, 65536);
	t[0] = (struct vq_pdesc){h->data, WHOLE, 0, 0};
	return t;
}

static void tx_plain(struct hostile *h, unsigned flags)
{
	put(h, h->data, WHOLE, 3, flags);
}

static void tx_id(struct hostile *h, unsigned id)
{
	put(h, h->data, WHOLE, id, 0);
	put(h, h->data, WHOLE, id, 0); // twice the same: the device cannot know
}

static void tx_length(struct hostile *h, unsigned len)
{
	put(h, h->data, len, 0, 0);
}

static void tx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20, UINT64_C(1) << 63};
	put(h, at[which], WHOLE, 0, 0);
}

static void tx_no_end(struct hostile *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(h, h->data, 10, i, VQ_NEXT);
}

static void tx_zero_lengths(struct hostile *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(h, UINT64_MAX - 5, 0, i, i + 1 < n ? VQ_NEXT : 0);
}

static void tx_bytes(struct hostile *h, unsigned each)
{
	for (uint32_t at = 0; at < WHOLE; at += each)
		put(h, h->data + at, WHOLE - at < each ? WHOLE - at : each, 5, at + each < WHOLE ? VQ_NEXT : 0);
}

static void tx_sum_over_32_bits(struct hostile *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(h, h->data, 0x80000000u, 0, i + 1 < n ? VQ_NEXT : 0);
}

static void tx_bad_then_good(struct hostile *h, unsigned arg)
{
	(void)arg;
	put(h, 0, 20, 1, VQ_NEXT);
	put(h, h->data, WHOLE, 1, 0);
	put(h, h->data, WHOLE, 2, 0);
}

static void tx_straddle(struct hostile *h, unsigned before)
{
	for (unsigned i = 0; i < WHOLE; i++)
		*gmem_at(h->mem, h->edge - before + i) = *gmem_at(h->mem, h->data + i);
	put(h, h->edge - before, WHOLE, 0, 0);
}

static void tx_indirect_length(struct hostile *h, unsigned len)
{
	table(h);
	put(h, h->data + 4096, len, 0, VQ_INDIRECT);
}

static void tx_indirect_flags(struct hostile *h, unsigned inner)
{
	table(h)[0].flags = (uint16_t)inner;
	put(h, h->data + 4096, 16, 0, VQ_INDIRECT);
}

static void tx_indirect_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 8, UINT64_MAX - 15};
	put(h, at[which], 16, 0, VQ_INDIRECT);
}

static void tx_indirect_and_next(struct hostile *h, unsigned arg)
{
	(void)arg;
	table(h);
	put(h, h->data + 4096, 16, 0, VQ_INDIRECT | VQ_NEXT);
	put(h, h->data, WHOLE, 0, 0);
}

static void tx_indirect_in_chain(struct hostile *h, unsigned arg)
{
	(void)arg;
	table(h);
	put(h, h->data, 12, 0, VQ_NEXT);
	put(h, h->data + 4096, 16, 0, VQ_INDIRECT);
}

// All flags say available, whatever the lap: the ring is as long as it is.
static void tx_all_flags(struct hostile *h, unsigned flags)
{
	for (unsigned i = 0; i < HOSTILE_RING; i++)
		h->q->p.desc[i] = (struct vq_pdesc){h->data, WHOLE, (uint16_t)i, (uint16_t)flags};
}

static void tx_events(struct hostile *h, unsigned event)
{
	tx_plain(h, 0);
	*h->q->p.driver_event = event;
}

const struct hostile_case hostile_packed_tx[] = {
	{"plain", tx_plain, 0, 1},
	{"unknown flags", tx_plain, 0x7f78, 1},
	{"device-writable", tx_plain, VQ_WRITE, -1},
	{"id 65535", tx_id, 0xffff, 1},
	{"id at the ring's size", tx_id, HOSTILE_RING, 1},
	{"length 0", tx_length, 0, -1},
	{"length 11", tx_length, 11, -1},
	{"length 13", tx_length, 13, -1},
	{"length 2^32 - 1", tx_length, 0xffffffffu, -1},
	{"address 0", tx_place, 0, -1},
	{"address behind memory", tx_place, 1, -1},
	{"over the end of memory", tx_place, 2, -1},
	{"address wraps", tx_place, 3, -1},
	{"address 2^63", tx_place, 4, -1},
	{"a chain without an end", tx_no_end, HOSTILE_RING, -1},
	{"a chain that ends behind what is shown", tx_no_end, 5, -1},
	{"all lengths zero, addresses nowhere", tx_zero_lengths, HOSTILE_RING, -1},
	{"descriptors of 2 bytes", tx_bytes, 2, 1},
	{"descriptors of 5 bytes", tx_bytes, 5, 1},
	{"two lengths of 2^31", tx_sum_over_32_bits, 2, -1},
	{"a bad chain, then a good one", tx_bad_then_good, 0, 1},
	{"header straddles two regions", tx_straddle, 5, 1},
	{"frame straddles two regions", tx_straddle, 60, 1},
	{"indirect, length 0", tx_indirect_length, 0, -1},
	{"indirect, length 15", tx_indirect_length, 15, -1},
	{"indirect, length 17", tx_indirect_length, 17, -1},
	{"indirect, length 16", tx_indirect_length, 16, 1},
	{"indirect, longer than the ring", tx_indirect_length, 16 * (HOSTILE_RING + 1), -1},
	{"indirect, length 2^32 - 16", tx_indirect_length, 0xfffffff0u, -1},
	{"indirect in indirect", tx_indirect_flags, VQ_INDIRECT, -1},
	{"indirect, writable", tx_indirect_flags, VQ_WRITE, -1},
	{"indirect, NEXT says nothing", tx_indirect_flags, VQ_NEXT, 1},
	{"indirect at 0", tx_indirect_place, 0, -1},
	{"indirect behind memory", tx_indirect_place, 1, -1},
	{"indirect over the end of memory", tx_indirect_place, 2, -1},
	{"indirect wraps", tx_indirect_place, 3, -1},
	{"indirect and next", tx_indirect_and_next, 0, 0},
	{"indirect in a chain", tx_indirect_in_chain, 0, -1},
	{"all available", tx_all_flags, VQ_AVAIL, 1},
	{"all used", tx_all_flags, VQ_AVAIL | VQ_USED, -1},
	{"all of the next lap", tx_all_flags, VQ_USED, -1},
	{"event suppression of a kind that is none", tx_events, 3u << 16, 1},
	{"an event where the ring has no place", tx_events, 2u << 16 | 0x7fff, 1},
	{NULL, NULL, 0, 0},
};

static void rx_length(struct hostile *h, unsigned len)
{
	for (unsigned i = 0; i < 8; i++)
		put(h, h->data + i * 4096u, len, i, VQ_WRITE);
}

static void rx_nothing(struct hostile *h, unsigned arg)
{
	(void)h;
	(void)arg;
}

static void rx_readable(struct hostile *h, unsigned arg)
{
	(void)arg;
	put(h, h->data, 2048, 0, 0);
}

static void rx_readable_last(struct hostile *h, unsigned arg)
{
	(void)arg;
	put(h, h->data, 2048, 0, VQ_WRITE | VQ_NEXT);
	put(h, h->data, 2048, 0, 0);
}

static void rx_no_end(struct hostile *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(h, h->data, 100, 0, VQ_WRITE | VQ_NEXT);
}

static void rx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20};
	put(h, at[which], 2048, 0, VQ_WRITE);
}

static void rx_small_then_bad(struct hostile *h, unsigned arg)
{
	(void)arg;
	for (unsigned i = 0; i < 6; i++) // three buffers of a frame, then one that is none
		put(h, i % 4 == 3 ? 0 : h->data + i * 64u, 64, i, VQ_WRITE);
}

static void rx_straddle(struct hostile *h, unsigned before)
{
	put(h, h->edge - before, 2048, 0, VQ_WRITE);
}

static void rx_indirect(struct hostile *h, unsigned len)
{
	table(h)[0] = (struct vq_pdesc){h->data, 2048, 0, VQ_WRITE};
	put(h, h->data + 4096, len, 0, VQ_INDIRECT);
}

const struct hostile_case hostile_packed_rx[] = {
	{"plain", rx_length, 2048, 1},
	{"no buffers", rx_nothing, 0, -1},
	{"length 0", rx_length, 0, -1},
	{"length 1", rx_length, 1, 0},
	{"length 12", rx_length, 12, 0},
	{"length 2^32 - 1", rx_length, 0xffffffffu, -1},
	{"readable", rx_readable, 0, -1},
	{"readable behind writable", rx_readable_last, 0, -1},
	{"a chain without an end", rx_no_end, HOSTILE_RING, -1},
	{"address 0", rx_place, 0, -1},
	{"address behind memory", rx_place, 1, -1},
	{"over the end of memory", rx_place, 2, -1},
	{"address wraps", rx_place, 3, -1},
	{"three small ones and a bad one", rx_small_then_bad, 0, 0},
	{"header straddles two regions", rx_straddle, 5, 1},
	{"frame straddles two regions", rx_straddle, 100, 1},
	{"indirect, length 0", rx_indirect, 0, -1},
	{"indirect, length 24", rx_indirect, 24, -1},
	{"indirect, length 16", rx_indirect, 16, 1},
	{NULL, NULL, 0, 0},
};
