// Packed rings: negotiation, sizes and places over the wire, rings that a hostile guest wrote.
#include <string.h>

#include "hostile.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static enum fe_res state(struct fe *fe, uint32_t id, unsigned q, uint32_t num)
{
	struct vu_state st = {.index = q, .num = num};
	return fe_ack(fe, id, &st, sizeof(st), NULL, 0);
}

// Offered where packed=on says so, and nowhere else.
static void run_offer(struct bed *b)
{
	static const struct {
		const char *port;
		bool offered;
	} row[] = {{"a", true}, {"one", false}};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
		if (!bed_case_begin(b, "port %s %s packed rings", row[i].port, row[i].offered ? "offers" : "does not offer"))
			continue;
		struct fe *fe = bed_front_end(b, row[i].port, BED_OWNED, NULL, -1);
		if (fe != NULL) {
			uint64_t with = fe->features | BIT64(VIRTIO_F_RING_PACKED);
			if (bits_has(fe->offered, VIRTIO_F_RING_PACKED) != row[i].offered)
				bed_fail(b, "offered: 0x%llx", (unsigned long long)fe->offered);
			enum fe_res res = fe_ack(fe, VU_SET_FEATURES, &with, 8, NULL, 0);
			if (res != (row[i].offered ? FE_OK : FE_NACK))
				bed_fail(b, "SET_FEATURES: %s", fe_res_name(res));
			res = state(fe, VU_SET_VRING_NUM, 0, 100);
			if (res != (row[i].offered ? FE_OK : FE_NACK))
				bed_fail(b, "a size of 100: %s", fe_res_name(res));
		}
		fe_free(fe);
		bed_case_end(b);
	}
}

static void run_bases(struct bed *b)
{
	static const struct {
		uint32_t base;
		enum fe_res want;
	} row[] = {
		{0x80008000, FE_OK},   {0x80638063, FE_OK},   {0x00000000, FE_OK},   {0x00630063, FE_OK},
		{0x80058063, FE_OK},   {0x00008005, FE_OK},   {0x80008064, FE_NACK}, {0x80648000, FE_NACK},
		{0x7fff7fff, FE_NACK}, {0xffffffff, FE_NACK},
	};
	struct fe_conf fc = {.packed = true, .ring_size = 100};
	if (!bed_case_begin(b, "bases: both halves, in range, given back"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, &fc, -1);
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(row); i++) {
		uint32_t got = 0;
		if (i == 0 && (fe_send_features(fe) != FE_OK || state(fe, VU_SET_VRING_NUM, 0, 100) != FE_OK))
			bed_fail(b, "%s", fe->err_text);
		enum fe_res res = state(fe, VU_SET_VRING_BASE, 0, row[i].base);
		if (res != row[i].want)
			bed_fail(b, "base 0x%x: %s", row[i].base, fe_res_name(res));
		if (res == FE_OK && (fe_get_base(fe, 0, &got) != FE_OK || got != row[i].base))
			bed_fail(b, "base 0x%x comes back as 0x%x", row[i].base, got);
	}
	fe_free(fe);
	bed_case_end(b);
}

// Starts at every place and in both laps of a small ring, with frames over its end.
static void run_places(struct bed *b)
{
	enum { SIZE = 7 };
	struct fe_conf fc = {.packed = true, .ring_size = SIZE, .mem = {.region_bytes = 1 << 20}};
	const struct fe_conf *fcs[] = {&fc, NULL};
	for (uint16_t base = 0; base < 2 * SIZE; base++) {
		struct lan l;
		if (!bed_case_begin(b, "start at place %u", base))
			continue;
		if (lan_open(&l, b, 2, fcs, NULL, base))
			for (unsigned i = 0; i < 2 && b->failed[0] == 0; i++) {
				lan_both(&l, SIZE - 2);
				if (fe_stop(l.fe[0]) != FE_OK)
					bed_fail(b, "stop: %s", l.fe[0]->err_text);
				for (unsigned q = 0; q < 2; q++)
					if (l.fe[0]->ring[q].base != vq_base(&l.fe[0]->ring[q].vq))
						bed_fail(b, "ring %u: base 0x%x, in memory 0x%x", q, l.fe[0]->ring[q].base,
							 vq_base(&l.fe[0]->ring[q].vq));
				lan_start(&l, 0);
			}
		lan_close(&l);
		bed_case_end(b);
	}
}

// A front end that lost the daemon gives the place of its last stop, as QEMU does: the ring's flags say where it is.
static void run_stale_base(struct bed *b)
{
	struct fe_conf fc = {.packed = true, .ring_size = 100, .mem = {.region_bytes = 8 << 20}};
	const struct fe_conf *fcs[] = {&fc, NULL};
	struct lan l;
	if (!bed_case_begin(b, "a new connection gives bases of long ago"))
		return;
	if (lan_open(&l, b, 2, fcs, NULL, 0))
		for (unsigned round = 0; round < 12 && b->failed[0] == 0; round++) {
			uint32_t stale[2] = {l.fe[0]->ring[0].base, l.fe[0]->ring[1].base};
			lan_both(&l, 5 + 37 * round);
			fe_disconnect(l.fe[0]);
			l.fe[0]->ring[0].base = stale[0];
			l.fe[0]->ring[1].base = stale[1];
			if (!fe_connect(l.fe[0], daemon_path(&b->d, "a")) || fe_negotiate(l.fe[0]) != FE_OK)
				bed_fail(b, "connecting again: %s", l.fe[0]->err_text);
			else if (lan_start(&l, 0))
				lan_both(&l, 20);
		}
	lan_close(&l);
	bed_case_end(b);
}

static void run_tx(struct bed *b)
{
	hostile_run_tx(b, hostile_packed_tx, true);
}

static void run_rx(struct bed *b)
{
	hostile_run_rx(b, hostile_packed_rx, true);
}

static void spoil(struct hostile *h)
{
	for (unsigned i = 0; i < HOSTILE_RING; i++)
		vq_packed_raw(h->q, (struct vq_pdesc){h->data, 10, 0, VQ_NEXT});
}

static void mend(struct hostile *h)
{
	vq_packed_raw(h->q, (struct vq_pdesc){h->data, 12 + HOSTILE_FRAME, 0, 0});
}

static void run_repair(struct bed *b)
{
	hostile_run_repair(b, true, spoil, mend);
}

const struct bed_row rows_packed[] = {
	{"offer", run_offer},
	{"bases", run_bases},
	{"places", run_places},
	{"stale base", run_stale_base},
	{"packed transmit ring", run_tx},
	{"packed receive ring", run_rx},
	{"packed repair", run_repair},
	{NULL, NULL},
};
