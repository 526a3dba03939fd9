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
	uint64_t cpu = UINT64_MAX;
	for (unsigned look = 0; look < 3 && cpu > 10000; look++) { // one that spins does so each time
		uint64_t before = daemon_cpu_us(&b->d);
		daemon_nap(40);
		cpu = daemon_cpu_us(&b->d) - before;
	}
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

void hostile_run_tx(struct bed *b, const struct hostile_case *cases, bool packed)
{
	for (const struct hostile_case *c = cases; c->name != NULL; c++) {
		struct hostile h;
		if (!bed_case_begin(b, "%stransmit: %s", packed ? "packed " : "", c->name))
			continue;
		if (hostile_open(&h, b, 1, packed)) {
			c->make(&h, c->arg);
			vq_publish(h.q, true);
			vq_kick(h.q);
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

// Where the driver's first buffer is; before the daemon sees it.
static uint64_t first_buffer(const struct hostile *h)
{
	if (h->q->packed)
		return h->q->p.desc[0].addr == h->data + 4096 ? h->data : h->q->p.desc[0].addr; // an indirect table lies there
	return h->q->desc[0].flags & VQ_INDIRECT ? h->data : h->q->desc[0].addr;
}

// What the first used element says was written, 0: nothing came back.
static uint32_t first_used(const struct hostile *h)
{
	if (!h->q->packed)
		return vq_used_idx(h->q) != 0 ? h->q->elem[0].len : 0;
	uint16_t flags = __atomic_load_n(&h->q->p.desc[0].flags, __ATOMIC_ACQUIRE);
	bool used = (flags & (VQ_AVAIL | VQ_USED)) == (VQ_AVAIL | VQ_USED);
	return used && (flags & VQ_WRITE) ? h->q->p.desc[0].len : 0;
}

// Did a frame of guest 1 arrive whole in the buffer at gpa?
static bool rx_arrived(const struct hostile *h, uint64_t gpa)
{
	uint8_t frame[200];
	struct frame_id id;
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = *gmem_at(h->mem, gpa + 12 + i);
	return frame_check(frame, sizeof(frame), &id) == NULL && id.flow == h->lan.flow + 1;
}

void hostile_run_rx(struct bed *b, const struct hostile_case *cases, bool packed)
{
	for (const struct hostile_case *c = cases; c->name != NULL; c++) {
		struct hostile h;
		if (!bed_case_begin(b, "%sreceive: %s", packed ? "packed " : "", c->name))
			continue;
		if (hostile_open(&h, b, 0, packed)) {
			c->make(&h, c->arg);
			uint64_t at = first_buffer(&h);
			vq_publish(h.q, true);
			for (unsigned k = 0; k < 3; k++)
				lan_put(&h.lan, 1, 0, frame_broadcast, 200);
			daemon_nap(20);
			uint32_t len = first_used(&h);
			if (c->deliver > 0 && !(len != 0 && rx_arrived(&h, at)))
				bed_fail(b, "the frame did not arrive (%u bytes)", len);
			if (c->deliver < 0 && len != 0)
				bed_fail(b, "a buffer came back with %u bytes", len);
			hostile_bounded(&h);
		}
		lan_close(&h.lan);
		bed_case_end(b);
	}
}

void hostile_run_repair(struct bed *b, bool packed, void (*spoil)(struct hostile *h), void (*mend)(struct hostile *h))
{
	struct hostile h;
	uint64_t n = 0;
	if (!bed_case_begin(b, "a broken%s ring is reported and can start anew", packed ? " packed" : ""))
		return;
	if (hostile_open(&h, b, 1, packed)) {
		spoil(&h);
		vq_publish(h.q, true);
		daemon_nap(30);
		if (read(h.lan.fe[0]->ring[1].err, &n, sizeof(n)) != (ssize_t)sizeof(n))
			bed_fail(b, "the err descriptor was not signalled");
		if (fe_stop(h.lan.fe[0]) != FE_OK)
			bed_fail(b, "stop: %s", h.lan.fe[0]->err_text);
		fe_driver_reset(h.lan.fe[0], 100);
		mend(&h);
		vq_publish(h.q, false);
		if (lan_start(&h.lan, 0))
			lan_get(&h.lan, 1, 0, 1, 2000);
	}
	lan_close(&h.lan);
	bed_case_end(b);
}

static void run_tx(struct bed *b)
{
	hostile_run_tx(b, hostile_tx, false);
}

static void run_rx(struct bed *b)
{
	hostile_run_rx(b, hostile_rx, false);
}

static void spoil(struct hostile *h)
{
	vq_offer_raw(h->q, 999);
}

static void mend(struct hostile *h)
{
	hostile_put(h, 0, h->data, 12 + HOSTILE_FRAME, 0, 0);
	vq_offer_raw(h->q, 0);
}

static void run_repair(struct bed *b)
{
	hostile_run_repair(b, false, spoil, mend);
}

const struct bed_row rows_ring[] = {
	{"transmit ring", run_tx},
	{"receive ring", run_rx},
	{"repair", run_repair},
	{NULL, NULL},
};
