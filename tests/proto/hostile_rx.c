// Receive rings that a hostile guest wrote, and odd ones that are lawful.
#include "hostile.h"

#include <string.h>

static void rx_head(struct hostile *h, unsigned head)
{
	vq_offer_raw(h->q, (uint16_t)head);
}

static void rx_length(struct hostile *h, unsigned len)
{
	for (uint16_t i = 0; i < 8; i++) {
		hostile_put(h, i, h->data + i * 4096u, len, VQ_WRITE, 0);
		vq_offer_raw(h->q, i);
	}
}

static void rx_nothing(struct hostile *h, unsigned arg)
{
	(void)h;
	(void)arg;
}

static void rx_readable(struct hostile *h, unsigned arg)
{
	(void)arg;
	hostile_put(h, 0, h->data, 2048, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_readable_last(struct hostile *h, unsigned arg)
{
	(void)arg;
	hostile_put(h, 0, h->data, 2048, VQ_WRITE | VQ_NEXT, 1);
	hostile_put(h, 1, h->data, 2048, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_next(struct hostile *h, unsigned next)
{
	hostile_put(h, 0, h->data, 12, VQ_WRITE | VQ_NEXT, (uint16_t)next);
	hostile_put(h, 1, h->data, 100, VQ_WRITE | VQ_NEXT, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_zero_lengths(struct hostile *h, unsigned where)
{
	for (uint16_t i = 0; i < HOSTILE_RING; i++)
		hostile_put(h, i, where ? UINT64_MAX - 5 : h->data, 0,
			    (uint16_t)(VQ_WRITE | (i + 1u < HOSTILE_RING ? VQ_NEXT : 0)), (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void rx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20};
	hostile_put(h, 0, at[which], 2048, VQ_WRITE, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_jump(struct hostile *h, unsigned by)
{
	hostile_put(h, 0, h->data, 2048, VQ_WRITE, 0);
	h->q->next_avail = (uint16_t)(h->q->next_avail + by);
}

static void rx_same_head(struct hostile *h, unsigned n)
{
	hostile_put(h, 0, h->data, 2048, VQ_WRITE, 0);
	for (unsigned i = 0; i < n; i++)
		vq_offer_raw(h->q, 0);
}

static void rx_straddle(struct hostile *h, unsigned before)
{
	hostile_put(h, 0, h->edge - before, 2048, VQ_WRITE, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_indirect(struct hostile *h, unsigned len)
{
	struct vq_desc *t = hostile_table(h, h->data + 65536);
	memset(t, 0, 65536);
	t[0] = (struct vq_desc){h->data, 2048, VQ_WRITE, 0};
	hostile_put(h, 0, h->data + 65536, len, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

const struct hostile_case hostile_rx[] = {
	{"plain", rx_length, 2048, 1},
	{"no buffers", rx_nothing, 0, 0},
	{"length 0", rx_length, 0, 0},
	{"length 1", rx_length, 1, 0},
	{"length 11", rx_length, 11, 0},
	{"length 12", rx_length, 12, 0},
	{"length 13", rx_length, 13, 0},
	{"length 2^32 - 1", rx_length, 0xffffffffu, 0},
	{"readable", rx_readable, 0, -1},
	{"readable behind writable", rx_readable_last, 0, 0},
	{"next at the ring's size", rx_next, HOSTILE_RING, -1},
	{"self loop", rx_next, 0, -1},
	{"cycle of two", rx_next, 1, -1},
	{"head at the ring's size", rx_head, HOSTILE_RING, -1},
	{"all lengths zero", rx_zero_lengths, 0, -1},
	{"all lengths zero, addresses nowhere", rx_zero_lengths, 1, -1},
	{"address 0", rx_place, 0, -1},
	{"address behind memory", rx_place, 1, -1},
	{"over the end of memory", rx_place, 2, -1},
	{"address wraps", rx_place, 3, -1},
	{"avail.idx jumps size + 1", rx_jump, HOSTILE_RING + 1, 0},
	{"avail.idx jumps 0xffff", rx_jump, 0xffff, 0},
	{"one head 64 times", rx_same_head, 64, 0},
	{"header straddles two regions", rx_straddle, 5, 1},
	{"frame straddles two regions", rx_straddle, 100, 1},
	{"indirect, length 0", rx_indirect, 0, -1},
	{"indirect, length 24", rx_indirect, 24, -1},
	{"indirect, length 16", rx_indirect, 16, 1},
	{NULL, NULL, 0, 0},
};
