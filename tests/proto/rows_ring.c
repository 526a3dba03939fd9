// Rings that a hostile guest wrote. Whatever it wrote, the work is bounded, nobody else suffers, GET_VRING_BASE answers, and
// odd but lawful chains are served.
#include <string.h>
#include <unistd.h>

#include "proto/lan.h"
#include "proto/rows.h"

#define SIZE 64u
#define FRAME 100u

struct hostile {
	struct lan lan; // guest 0 is hostile, guest 1 an ordinary one
	struct vq *q; // the ring in hand
	struct gmem *mem;
	uint64_t data; // 128 KiB of the driver's; at its start a header and a frame
	uint64_t edge; // where the second region begins, adjacent to the first
	uint64_t end; // of all memory
};

struct hostile_case {
	const char *name;
	void (*make)(struct hostile *h, unsigned arg);
	unsigned arg;
	int deliver; // 1: must arrive; -1: must not; 0: either
};

static void put(struct hostile *h, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	h->q->desc[i] = (struct vq_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static struct vq_desc *table(struct hostile *h, uint64_t at)
{
	return (struct vq_desc *)(void *)gmem_at(h->mem, at);
}

// -- transmit ----------------------------------------------------------------------------------------------------------

static void tx_plain(struct hostile *h, unsigned flags)
{
	put(h, 0, h->data, 12 + FRAME, (uint16_t)flags, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_next(struct hostile *h, unsigned next)
{
	put(h, 0, h->data, 12, VQ_NEXT, (uint16_t)next);
	put(h, 1, h->data + 12, FRAME, VQ_NEXT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_head(struct hostile *h, unsigned head)
{
	vq_offer_raw(h->q, (uint16_t)head);
}

static void tx_jump(struct hostile *h, unsigned by)
{
	put(h, 0, h->data, 12 + FRAME, 0, 0);
	h->q->next_avail = (uint16_t)(h->q->next_avail + by);
}

static void tx_zero_lengths(struct hostile *h, unsigned where)
{
	for (uint16_t i = 0; i < SIZE; i++)
		put(h, i, where ? UINT64_MAX - 5 : h->data, 0, i + 1u < SIZE ? VQ_NEXT : 0, (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_length(struct hostile *h, unsigned len)
{
	put(h, 0, h->data, len, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20, UINT64_C(1) << 63};
	put(h, 0, at[which], 12 + FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_sum_over_32_bits(struct hostile *h, unsigned n)
{
	for (uint16_t i = 0; i < n; i++)
		put(h, i, h->data, 0x80000000u, i + 1u < n ? VQ_NEXT : 0, (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_many_large(struct hostile *h, unsigned len) // inside memory, far longer than any frame
{
	for (uint16_t i = 0; i < SIZE; i++)
		put(h, i, h->data, len, i + 1u < SIZE ? VQ_NEXT : 0, (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void tx_bytes(struct hostile *h, unsigned each)
{
	uint32_t at = 0, total = 12 + FRAME;
	uint16_t i = 0;
	for (; at < total; i++) {
		uint32_t len = i + 1u == SIZE || total - at < each ? total - at : each;
		put(h, i, h->data + at, len, at + len < total ? VQ_NEXT : 0, (uint16_t)(i + 1));
		at += len;
	}
	vq_offer_raw(h->q, 0);
}

static void tx_zero_between(struct hostile *h, unsigned arg)
{
	(void)arg;
	put(h, 0, h->data, 12, VQ_NEXT, 1);
	put(h, 1, h->data + 12, 0, VQ_NEXT, 2);
	put(h, 2, h->data + 12, FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_straddle(struct hostile *h, unsigned before)
{
	uint64_t at = h->edge - before;
	for (unsigned i = 0; i < 12 + FRAME; i++) // the two regions are not adjacent in this process
		*gmem_at(h->mem, at + i) = *gmem_at(h->mem, h->data + i);
	put(h, 0, at, 12 + FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_length(struct hostile *h, unsigned len)
{
	struct vq_desc *t = table(h, h->data + 4096);
	memset(t, 0, 65536);
	t[0] = (struct vq_desc){h->data, 12 + FRAME, 0, 0};
	put(h, 0, h->data + 4096, len, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_flags(struct hostile *h, unsigned inner)
{
	struct vq_desc *t = table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data, 12 + FRAME, (uint16_t)(inner & 0xff), (uint16_t)(inner >> 8)};
	t[1] = t[0];
	put(h, 0, h->data + 4096, 32, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 8, UINT64_MAX - 15};
	put(h, 0, at[which], 16, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_and_next(struct hostile *h, unsigned arg)
{
	(void)arg;
	struct vq_desc *t = table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data, 12 + FRAME, 0, 0};
	put(h, 0, h->data + 4096, 16, VQ_INDIRECT | VQ_NEXT, 1);
	put(h, 1, h->data, 12 + FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_direct_then_indirect(struct hostile *h, unsigned arg)
{
	(void)arg;
	struct vq_desc *t = table(h, h->data + 4096);
	t[0] = (struct vq_desc){h->data + 12, FRAME, 0, 0};
	put(h, 0, h->data, 12, VQ_NEXT, 1);
	put(h, 1, h->data + 4096, 16, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_indirect_straddle(struct hostile *h, unsigned before)
{
	struct vq_desc t[2] = {{h->data, 12, VQ_NEXT, 1}, {h->data + 12, FRAME, 0, 0}};
	for (unsigned i = 0; i < sizeof(t); i++)
		*gmem_at(h->mem, h->edge - before + i) = ((const uint8_t *)t)[i];
	put(h, 0, h->edge - before, sizeof(t), VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static void tx_header(struct hostile *h, unsigned which)
{
	static const struct net_hdr hdr[] = {
		{.gso_type = 1, .gso_size = 10, .flags = 1, .csum_start = 34, .csum_offset = 16},
		{.flags = 1, .csum_start = 0xffff, .csum_offset = 0},
		{.flags = 1, .csum_start = FRAME - 1, .csum_offset = 0},
		{.flags = 1, .csum_start = 20, .csum_offset = 0xffff},
		{.gso_type = 0x80},
		{.flags = 0xf8},
		{.hdr_len = 0xffff, .num_buffers = 0xffff},
	};
	memcpy(gmem_at(h->mem, h->data), &hdr[which], 12);
	tx_plain(h, 0);
}

static const struct hostile_case tx_cases[] = {
	{"plain", tx_plain, 0, 1},
	{"device-writable", tx_plain, VQ_WRITE, -1},
	{"next at the ring's size", tx_next, SIZE, -1},
	{"next 65535", tx_next, 65535, -1},
	{"self loop", tx_next, 0, -1},
	{"cycle of two", tx_next, 1, -1},
	{"head at the ring's size", tx_head, SIZE, -1},
	{"head 65535", tx_head, 65535, -1},
	{"avail.idx jumps size + 1", tx_jump, SIZE + 1, 0},
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
};

// -- receive -----------------------------------------------------------------------------------------------------------

static void rx_length(struct hostile *h, unsigned len)
{
	for (uint16_t i = 0; i < 8; i++) {
		put(h, i, h->data + i * 4096u, len, VQ_WRITE, 0);
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
	put(h, 0, h->data, 2048, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_readable_last(struct hostile *h, unsigned arg)
{
	(void)arg;
	put(h, 0, h->data, 2048, VQ_WRITE | VQ_NEXT, 1);
	put(h, 1, h->data, 2048, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_next(struct hostile *h, unsigned next)
{
	put(h, 0, h->data, 12, VQ_WRITE | VQ_NEXT, (uint16_t)next);
	put(h, 1, h->data, 100, VQ_WRITE | VQ_NEXT, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_zero_lengths(struct hostile *h, unsigned where)
{
	for (uint16_t i = 0; i < SIZE; i++)
		put(h, i, where ? UINT64_MAX - 5 : h->data, 0, (uint16_t)(VQ_WRITE | (i + 1u < SIZE ? VQ_NEXT : 0)),
		    (uint16_t)(i + 1));
	vq_offer_raw(h->q, 0);
}

static void rx_place(struct hostile *h, unsigned which)
{
	const uint64_t at[] = {0, h->end, h->end - 20, UINT64_MAX - 20};
	put(h, 0, at[which], 2048, VQ_WRITE, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_jump(struct hostile *h, unsigned by)
{
	put(h, 0, h->data, 2048, VQ_WRITE, 0);
	h->q->next_avail = (uint16_t)(h->q->next_avail + by);
}

static void rx_same_head(struct hostile *h, unsigned n)
{
	put(h, 0, h->data, 2048, VQ_WRITE, 0);
	for (unsigned i = 0; i < n; i++)
		vq_offer_raw(h->q, 0);
}

static void rx_straddle(struct hostile *h, unsigned before)
{
	put(h, 0, h->edge - before, 2048, VQ_WRITE, 0);
	vq_offer_raw(h->q, 0);
}

static void rx_indirect(struct hostile *h, unsigned len)
{
	struct vq_desc *t = table(h, h->data + 65536);
	memset(t, 0, 65536);
	t[0] = (struct vq_desc){h->data, 2048, VQ_WRITE, 0};
	put(h, 0, h->data + 65536, len, VQ_INDIRECT, 0);
	vq_offer_raw(h->q, 0);
}

static const struct hostile_case rx_cases[] = {
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
	{"next at the ring's size", rx_next, SIZE, -1},
	{"self loop", rx_next, 0, -1},
	{"cycle of two", rx_next, 1, -1},
	{"head at the ring's size", tx_head, SIZE, -1},
	{"all lengths zero", rx_zero_lengths, 0, -1},
	{"all lengths zero, addresses nowhere", rx_zero_lengths, 1, -1},
	{"address 0", rx_place, 0, -1},
	{"address behind memory", rx_place, 1, -1},
	{"over the end of memory", rx_place, 2, -1},
	{"address wraps", rx_place, 3, -1},
	{"avail.idx jumps size + 1", rx_jump, SIZE + 1, 0},
	{"avail.idx jumps 0xffff", rx_jump, 0xffff, 0},
	{"one head 64 times", rx_same_head, 64, 0},
	{"header straddles two regions", rx_straddle, 5, 1},
	{"frame straddles two regions", rx_straddle, 100, 1},
	{"indirect, length 0", rx_indirect, 0, -1},
	{"indirect, length 24", rx_indirect, 24, -1},
	{"indirect, length 16", rx_indirect, 16, 1},
};

// -- the frame of a case -----------------------------------------------------------------------------------------------

static bool hostile_open(struct hostile *h, struct bed *b, unsigned ring)
{
	static const struct fe_conf conf = {
		.ring_size = SIZE, .timeout_ms = 3000, .mem = {.regions = 2, .region_bytes = 1 << 20, .file_offset = 4096}};
	memset(h, 0, sizeof(*h));
	h->lan.b = b;
	h->lan.n = 2;
	frame_mac(h->lan.mac[0], 0xa0);
	h->lan.fe[0] = bed_front_end(b, "a", BED_OWNED, &conf, -1);
	if (h->lan.fe[0] == NULL || !lan_prepare(&h->lan, b, 1, NULL, NULL, 0) || !lan_start(&h->lan, 1))
		return false;
	h->mem = h->lan.fe[0]->mem;
	fe_driver_reset(h->lan.fe[0], 0);
	h->q = &h->lan.fe[0]->ring[ring].vq;
	h->data = gmem_area(h->mem, 0, GMEM_DRIVER, 131072 + 12, 0);
	h->edge = h->mem->region[1].gpa;
	h->end = gmem_end(h->mem);
	memset(gmem_at(h->mem, h->data), 0, 12);
	frame_fill(gmem_at(h->mem, h->data) + 12, FRAME, frame_broadcast, h->lan.mac[0], 0, 1, true);
	return lan_start(&h->lan, 0);
}

static void hostile_bounded(struct hostile *h)
{
	struct bed *b = h->lan.b;
	uint64_t cpu = daemon_cpu_us(&b->d);
	daemon_nap(40);
	cpu = daemon_cpu_us(&b->d) - cpu;
	b->checks++;
	if (cpu > 10000)
		bed_fail(b, "the daemon spins: %llu us of 40 ms", (unsigned long long)cpu);
	// The rings stop as any others do.
	for (unsigned q = 0; q < 2; q++) {
		uint32_t base = 0;
		enum fe_res res = fe_get_base(h->lan.fe[0], q, &base);
		if (res != FE_OK)
			bed_fail(b, "GET_VRING_BASE of ring %u: %s", q, fe_res_name(res));
		else if (base != vq_used_idx(&h->lan.fe[0]->ring[q].vq))
			bed_fail(b, "ring %u: base %u, used.idx %u", q, base, vq_used_idx(&h->lan.fe[0]->ring[q].vq));
	}
}

static void run_tx(struct bed *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(tx_cases); i++) {
		const struct hostile_case *c = &tx_cases[i];
		struct hostile h;
		if (!bed_case_begin(b, "transmit: %s", c->name))
			continue;
		if (hostile_open(&h, b, 1)) {
			c->make(&h, c->arg);
			vq_publish(h.q, true);
			if (c->deliver > 0)
				lan_get(&h.lan, 1, 0, 1, 2000);
			else if (c->deliver < 0)
				lan_quiet(&h.lan, 1, 20);
			hostile_bounded(&h);
		}
		lan_close(&h.lan);
		bed_case_end(b);
	}
}

// Did a frame of guest 1 arrive whole in the buffer at gpa?
static bool rx_arrived(const struct hostile *h, uint64_t gpa)
{
	uint8_t frame[200];
	struct frame_id id;
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = *gmem_at(h->mem, gpa + 12 + i);
	return vq_used_idx(h->q) != 0 && frame_check(frame, sizeof(frame), &id) == NULL && id.flow == 1;
}

static void run_rx(struct bed *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(rx_cases); i++) {
		const struct hostile_case *c = &rx_cases[i];
		struct hostile h;
		if (!bed_case_begin(b, "receive: %s", c->name))
			continue;
		if (hostile_open(&h, b, 0)) {
			c->make(&h, c->arg);
			uint64_t at = h.q->desc[0].flags & VQ_INDIRECT ? h.data : h.q->desc[0].addr;
			vq_publish(h.q, true);
			for (unsigned k = 0; k < 3; k++)
				lan_put(&h.lan, 1, 0, frame_broadcast, 200);
			daemon_nap(20);
			if (c->deliver > 0 && !rx_arrived(&h, at))
				bed_fail(b, "the frame did not arrive (used.idx %u)", vq_used_idx(h.q));
			if (c->deliver < 0 && vq_used_idx(h.q) != 0 && h.q->elem[0].len > 0)
				bed_fail(b, "a buffer came back with %u bytes", h.q->elem[0].len);
			hostile_bounded(&h);
		}
		lan_close(&h.lan);
		bed_case_end(b);
	}
}

// A ring that broke is heard of by its err descriptor, and runs again once it was stopped and set up anew.
static void run_repair(struct bed *b)
{
	struct hostile h;
	uint64_t n = 0;
	if (!bed_case_begin(b, "a broken ring is reported and can start anew"))
		return;
	if (hostile_open(&h, b, 1)) {
		tx_head(&h, 999);
		vq_publish(h.q, true);
		daemon_nap(30);
		if (read(h.lan.fe[0]->ring[1].err, &n, sizeof(n)) != (ssize_t)sizeof(n))
			bed_fail(b, "the err descriptor was not signalled");
		if (fe_stop(h.lan.fe[0]) != FE_OK)
			bed_fail(b, "stop: %s", h.lan.fe[0]->err_text);
		fe_driver_reset(h.lan.fe[0], 100);
		tx_plain(&h, 0);
		vq_publish(h.q, false);
		if (lan_start(&h.lan, 0))
			lan_get(&h.lan, 1, 0, 1, 2000);
	}
	lan_close(&h.lan);
	bed_case_end(b);
}

const struct bed_row rows_ring[] = {
	{"transmit ring", run_tx},
	{"receive ring", run_rx},
	{"repair", run_repair},
	{NULL, NULL},
};
