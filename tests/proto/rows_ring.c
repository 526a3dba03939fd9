// Rings that a hostile guest wrote. Whatever it wrote, the work is bounded, nobody else suffers, GET_VRING_BASE answers, and
// odd but lawful chains are served.
#include <string.h>
#include <unistd.h>

#include "hostile.h"
#include "proto/rows.h"

bool hostile_open(struct hostile *h, struct bed *b, unsigned ring, bool packed)
{
	const struct fe_conf conf = {.packed = packed,
				     .ring_size = HOSTILE_RING,
				     .timeout_ms = 3000,
				     .mem = {.regions = 2, .region_bytes = 1 << 20, .file_offset = 4096}};
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
	frame_fill(gmem_at(h->mem, h->data) + 12, HOSTILE_FRAME, frame_broadcast, h->lan.mac[0], h->lan.flow, 1, true);
	return lan_start(&h->lan, 0);
}

void hostile_bounded(struct hostile *h)
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
		else if (!h->q->packed && base != vq_used_idx(&h->lan.fe[0]->ring[q].vq))
			bed_fail(b, "ring %u: base %u, used.idx %u", q, base, vq_used_idx(&h->lan.fe[0]->ring[q].vq));
		else if (h->q->packed && ((base & 0xffff) != base >> 16 || (base & 0x7fff) >= HOSTILE_RING))
			bed_fail(b, "ring %u: base 0x%x", q, base);
	}
}

static void run_tx(struct bed *b)
{
	for (const struct hostile_case *c = hostile_tx; c->name != NULL; c++) {
		struct hostile h;
		if (!bed_case_begin(b, "transmit: %s", c->name))
			continue;
		if (hostile_open(&h, b, 1, false)) {
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
	return vq_used_idx(h->q) != 0 && frame_check(frame, sizeof(frame), &id) == NULL && id.flow == h->lan.flow + 1;
}

static void run_rx(struct bed *b)
{
	for (const struct hostile_case *c = hostile_rx; c->name != NULL; c++) {
		struct hostile h;
		if (!bed_case_begin(b, "receive: %s", c->name))
			continue;
		if (hostile_open(&h, b, 0, false)) {
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
	if (hostile_open(&h, b, 1, false)) {
		vq_offer_raw(h.q, 999);
		vq_publish(h.q, true);
		daemon_nap(30);
		if (read(h.lan.fe[0]->ring[1].err, &n, sizeof(n)) != (ssize_t)sizeof(n))
			bed_fail(b, "the err descriptor was not signalled");
		if (fe_stop(h.lan.fe[0]) != FE_OK)
			bed_fail(b, "stop: %s", h.lan.fe[0]->err_text);
		fe_driver_reset(h.lan.fe[0], 100);
		hostile_put(&h, 0, h.data, 12 + HOSTILE_FRAME, 0, 0);
		vq_offer_raw(h.q, 0);
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
