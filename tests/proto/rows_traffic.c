// What an ordinary guest needs: frames in both directions with every ring layout, start and stop without losing the place,
// calls, several pairs, checksum offload, and messages that come while the rings run.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "driver/flog.h"
#include "proto/lan.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static void run_switch(struct bed *b)
{
	struct lan l;
	uint8_t nobody[6];
	if (!bed_case_begin(b, "learning, flooding, unicast"))
		return;
	frame_mac(nobody, 0xdead);
	if (lan_open(&l, b, 3, NULL, NULL, 0) && lan_both(&l, 30) && lan_quiet(&l, 2, 20)) {
		if (lan_put(&l, 0, 0, nobody, 100)) // unknown: to all others, not back
			(void)(lan_get(&l, 1, 0, l.seq, 2000) && lan_get(&l, 2, 0, l.seq, 2000) && lan_quiet(&l, 0, 20));
		uint8_t multicast[6] = {0x01, 0, 0x5e, 1, 2, 3};
		if (b->failed[0] == 0 && lan_put(&l, 1, 0, multicast, 100))
			(void)(lan_get(&l, 0, 1, l.seq, 2000) && lan_get(&l, 2, 1, l.seq, 2000) && lan_quiet(&l, 1, 20));
	}
	lan_close(&l);
	bed_case_end(b);
}

static void run_layouts(struct bed *b)
{
	static const uint64_t without[] = {0, BIT64(VIRTIO_F_EVENT_IDX), BIT64(VIRTIO_NET_F_MRG_RXBUF),
					   BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_F_VERSION_1)};
	static const uint16_t bases[] = {0, 65535, 65500};
	for (unsigned tx = NET_TX_ONE; tx <= NET_TX_INDIRECT; tx++)
		for (unsigned rx = NET_RX_ONE; rx <= NET_RX_SPREAD; rx++)
			for (unsigned w = 0; w < ARRAY_LEN(without); w++) {
				struct lan l;
				struct fe_conf fc = {
					.ring_size = 64,
					.features = FE_FEATURES & ~without[w],
					.spread = rx == NET_RX_SPREAD,
					.mem = {.region_bytes = 8 << 20, .file_offset = 8192, .regions = 1 + w % 2}};
				struct net_conf nc = {.tx = tx, .rx = rx};
				const struct fe_conf *fcs[] = {&fc, &fc};
				const struct net_conf *ncs[] = {&nc, &nc};
				if (!bed_case_begin(b, "layout tx %u rx %u without 0x%llx", tx, rx,
						    (unsigned long long)without[w]))
					continue;
				if (lan_open(&l, b, 2, fcs, ncs, bases[(tx + rx + w) % 3]))
					lan_both(&l, 80); // more than a ring's length
				if (l.net[0][0].odd_num_buffers + l.net[1][0].odd_num_buffers != 0)
					bed_fail(b, "num_buffers is not 1 without mergeable buffers");
				lan_close(&l);
				bed_case_end(b);
			}
}

static void run_mergeable(struct bed *b)
{
	static const uint32_t room[] = {52, 100, 200, 500, 1500, 1514};
	for (unsigned i = 0; i < ARRAY_LEN(room); i++) {
		struct lan l;
		struct net_conf nc = {.rx_bytes = room[i]};
		const struct net_conf *ncs[] = {NULL, &nc};
		if (!bed_case_begin(b, "receive buffers of %u bytes", room[i]))
			continue;
		if (lan_open(&l, b, 2, NULL, ncs, 65530))
			lan_both(&l, 60);
		lan_close(&l);
		bed_case_end(b);
	}
}

// A burst as long as the rings take it: nothing lost, order kept.
static void run_burst(struct bed *b)
{
	struct lan l;
	static const struct fe_conf fc = {.ring_size = 256, .mem = {.region_bytes = 8 << 20}};
	const struct fe_conf *fcs[] = {&fc, &fc};
	if (!bed_case_begin(b, "20000 frames, 100 in flight"))
		return;
	if (lan_open(&l, b, 2, fcs, NULL, 0)) {
		uint64_t first = l.seq + 1, got = first;
		while (got < first + 20000 && b->failed[0] == 0) {
			while (l.seq < first + 20000 && l.seq + 1 < got + 100)
				if (!lan_put(&l, 0, 0, l.mac[1], 60 + l.seq % 1400))
					break;
			if (lan_get(&l, 1, 0, got, 2000))
				got++;
		}
	}
	lan_close(&l);
	bed_case_end(b);
}

// Frames that stand in the transmit ring, and buffers in the receive ring, before the start: no kick ever comes.
static void run_start_scans(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "rings are scanned at the start"))
		return;
	memset(&l, 0, sizeof(l));
	if (lan_prepare(&l, b, 0, NULL, NULL, 0) && lan_prepare(&l, b, 1, NULL, NULL, 0) && lan_start(&l, 1)) {
		for (unsigned i = 0; i < 5; i++)
			lan_put(&l, 0, 0, frame_broadcast, 100); // no kick descriptor yet
		if (lan_start(&l, 0)) {
			for (unsigned i = 1; i <= 5; i++)
				lan_get(&l, 1, 0, i, 2000);
			if (l.net[0][0].tx->kicks + l.net[0][0].rx->kicks != 0)
				bed_fail(b, "the test kicked");
			lan_pass(&l, 1, 0, 100);
		}
	}
	lan_close(&l);
	bed_case_end(b);
}

static void run_calls(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "call is signalled at the start and for a new descriptor"))
		return;
	if (lan_open(&l, b, 1, NULL, NULL, 0)) {
		for (unsigned q = 0; q < 2; q++) {
			if (!fe_wait_call(l.fe[0], q, 1000))
				bed_fail(b, "ring %u: no call at the start", q);
			if (fe_ring_call(l.fe[0], q) != FE_OK || !fe_wait_call(l.fe[0], q, 1000))
				bed_fail(b, "ring %u: no call on a new descriptor", q);
		}
		if (fe_stop(l.fe[0]) != FE_OK || fe_start(l.fe[0]) != FE_OK || !fe_wait_call(l.fe[0], 0, 1000))
			bed_fail(b, "no call at a second start");
	}
	lan_close(&l);
	bed_case_end(b);
}

// Stop and start again and again, over the wrap of the index: base is used.idx, nothing is lost, nothing comes twice.
static void run_stops(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "stop and start over the wrap"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 65520))
		for (unsigned round = 0; round < 20 && b->failed[0] == 0; round++) {
			if (fe_stop(l.fe[1]) != FE_OK)
				bed_fail(b, "stop: %s", l.fe[1]->err_text);
			for (unsigned q = 0; q < 2; q++)
				if (l.fe[1]->ring[q].base != vq_base(&l.fe[1]->ring[q].vq))
					bed_fail(b, "ring %u: base 0x%x, in memory 0x%x", q, l.fe[1]->ring[q].base,
						 vq_base(&l.fe[1]->ring[q].vq));
			for (unsigned i = 0; i < 3; i++) // held until the guest is back
				lan_put(&l, 0, 0, l.mac[1], 100);
			if (lan_start(&l, 1))
				for (unsigned i = 0; i < 3; i++)
					lan_get(&l, 1, 0, l.seq - 2 + i, 2000);
			lan_both(&l, 2);
		}
	lan_close(&l);
	bed_case_end(b);
}

// The memory of a stopped device is left alone, whatever arrives for it.
static void run_stopped_is_silent(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "nothing is written after GET_VRING_BASE"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		struct flog *copy = flog_new(l.fe[1]->mem, 0);
		struct flog_diff diff;
		if (copy == NULL || fe_stop(l.fe[1]) != FE_OK)
			bed_fail(b, "stop: %s", l.fe[1]->err_text);
		if (copy != NULL) {
			flog_copy_all(copy);
			fe_take_calls(l.fe[1], 0);
			for (unsigned i = 0; i < 20; i++)
				lan_put(&l, 0, 0, i % 2 ? frame_broadcast : l.mac[1], 100);
			daemon_nap(50);
			if (!flog_equal(copy, &diff))
				bed_fail(b, "%llu pages changed, first at 0x%llx", (unsigned long long)diff.pages,
					 (unsigned long long)diff.gpa);
			if (fe_take_calls(l.fe[1], 0) != 0)
				bed_fail(b, "call was signalled");
		}
		flog_free(copy);
	}
	lan_close(&l);
	bed_case_end(b);
}

static void run_pairs(struct bed *b)
{
	static const unsigned counts[] = {2, 4, 16};
	for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
		struct lan l;
		struct fe_conf fc = {.pairs = counts[i], .ring_size = 64, .mem = {.region_bytes = 64 << 20}};
		const struct fe_conf *fcs[] = {&fc, NULL};
		if (!bed_case_begin(b, "%u pairs", counts[i]))
			continue;
		if (lan_open(&l, b, 2, fcs, NULL, 65533)) {
			for (unsigned p = 0; p < counts[i]; p++)
				(void)(lan_put(&l, 0, p, l.mac[1], 300) && lan_get(&l, 1, 0, l.seq, 2000) &&
				       lan_pass(&l, 1, 0, 300));
			if (fe_stop(l.fe[0]) != FE_OK || fe_start(l.fe[0]) != FE_OK)
				bed_fail(b, "stop and start: %s", l.fe[0]->err_text);
			for (unsigned p = 0; p < counts[i]; p++)
				(void)(lan_put(&l, 0, p, l.mac[1], 300) && lan_get(&l, 1, 0, l.seq, 2000));
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

static uint16_t ip_sum(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// A UDP datagram whose checksum field holds the pseudo-header sum, as a driver with checksum offload leaves it.
static uint32_t udp_partial(uint8_t *f, const uint8_t dst[6], const uint8_t src[6], uint32_t data)
{
	uint32_t udp = 8 + data, ip = 20 + udp;
	memset(f, 0, 42);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	const uint8_t head[] = {8,  0, 0x45, 0, (uint8_t)(ip >> 8), (uint8_t)ip, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1,
				10, 0, 0,    2};
	memcpy(f + 12, head, sizeof(head));
	uint16_t s = (uint16_t)~ip_sum(f + 14, 20, 0);
	f[24] = (uint8_t)(s >> 8);
	f[25] = (uint8_t)s;
	f[35] = 7;
	f[37] = 9;
	f[38] = (uint8_t)(udp >> 8);
	f[39] = (uint8_t)udp;
	for (uint32_t i = 0; i < data; i++)
		f[42 + i] = (uint8_t)(i * 7 + 1);
	s = ip_sum(f + 26, 8, 17 + udp); // not complemented
	f[40] = (uint8_t)(s >> 8);
	f[41] = (uint8_t)s;
	return 14 + ip;
}

static void run_checksum(struct bed *b)
{
	for (unsigned takes = 0; takes < 2; takes++)
		for (uint32_t data = 100; data < 104; data++) {
			struct lan l;
			struct fe_conf tx = {.ring_size = 64, .features = FE_FEATURES | BIT64(VIRTIO_NET_F_CSUM)};
			struct fe_conf rx = {.ring_size = 64,
					     .features = FE_FEATURES | (takes ? BIT64(VIRTIO_NET_F_GUEST_CSUM) : 0)};
			const struct fe_conf *fcs[] = {&tx, &rx};
			uint8_t f[400];
			struct net_frame got;
			struct net_hdr h = {.flags = 1, .csum_start = 34, .csum_offset = 6};
			if (!bed_case_begin(b, "checksum offload, receiver %s it, %u bytes",
					    takes ? "takes" : "does not take", data))
				continue;
			if (lan_open(&l, b, 2, fcs, NULL, 0)) {
				uint32_t len = udp_partial(f, l.mac[1], l.mac[0], data);
				bool came = net_send(&l.net[0][0], f, len, &h, 1000);
				do
					came = came && net_rx_wait(&l.net[1][0], &got, 2000);
				while (came && got.len != len && (net_rx_release(&l.net[1][0]), true));
				if (!came) {
					bed_fail(b, "the datagram did not come");
				} else if (takes && (got.hdr->flags & 1)) {
					if (got.hdr->csum_start != 34 || got.hdr->csum_offset != 6 ||
					    memcmp(got.data, f, len) != 0)
						bed_fail(b, "offload passed on with another header or frame");
				} else if (got.hdr->flags & 1) {
					bed_fail(b, "NEEDS_CSUM for a guest that does not take it");
				} else if (ip_sum(got.data + 34, 8 + data, ip_sum(got.data + 26, 8, 17 + 8 + data)) !=
					   0xffff) {
					bed_fail(b, "the checksum is wrong");
				}
			}
			lan_close(&l);
			bed_case_end(b);
		}
}

const struct bed_row rows_traffic[] = {
	{"switch", run_switch},
	{"ring layouts", run_layouts},
	{"mergeable buffers", run_mergeable},
	{"burst", run_burst},
	{"scan at start", run_start_scans},
	{"calls", run_calls},
	{"stop and start", run_stops},
	{"stopped is silent", run_stopped_is_silent},
	{"queue pairs", run_pairs},
	{"checksum", run_checksum},
	{NULL, NULL},
};
