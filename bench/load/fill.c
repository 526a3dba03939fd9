// What is in the frames: numbered ones, laid into the transmit buffers once, and looked at when they arrive. With GSO a
// numbered frame is the payload of a long TCP segment that whoever receives it may be asked to cut.
#include <string.h>

#include "driver/net.h"
#include "load/inner.h"

#define MAC_STEP 0x10000u // side s has the MACs from s * MAC_STEP on, one per flow
#define NOBODY 7 // a side whose addresses nobody has

#define IP_AT 14u
#define TCP_AT (IP_AT + 20)
#define TCP_CSUM 16u // its offset
#define MSS 1448u

static const struct net_hdr gso_header = { .flags = 1, // NEEDS_CSUM
					   .gso_type = 1, // TCPV4
					   .hdr_len = LOAD_GSO_LEAD,
					   .gso_size = MSS,
					   .csum_start = TCP_AT,
					   .csum_offset = TCP_CSUM };

static uint32_t sum16(const uint8_t *p, unsigned n, uint32_t sum)
{
	for (unsigned i = 0; i < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// Headers of a segment of len bytes in all; the TCP checksum field has the sum of the pseudo header, as NEEDS_CSUM wants it.
static void put_segment_headers(uint8_t *f, uint32_t len, const uint8_t dst[6], const uint8_t src[6], unsigned s, uint32_t flow)
{
	uint8_t *ip = f + IP_AT, *tcp = f + TCP_AT;
	memset(f, 0, LOAD_GSO_LEAD);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	f[12] = 0x08; // IPv4
	ip[0] = 0x45;
	put16(ip + 2, len - IP_AT);
	ip[6] = 0x40; // don't fragment
	ip[8] = 64;
	ip[9] = 6; // TCP
	const uint8_t from[4] = { 10, (uint8_t)s, (uint8_t)(flow >> 8), (uint8_t)flow }, to[4] = { 10, (uint8_t)(1 - s), from[2], from[3] };
	memcpy(ip + 12, from, 4);
	memcpy(ip + 16, to, 4);
	put16(ip + 10, ~folded(sum16(ip, 20, 0)));
	put16(tcp, 5001);
	put16(tcp + 2, 5201);
	tcp[12] = (LOAD_GSO_LEAD - TCP_AT) / 4 << 4;
	tcp[13] = 0x10; // ACK
	put16(tcp + 14, 0xffff);
	memset(tcp + 20, 1, LOAD_GSO_LEAD - TCP_AT - 20); // options: no operation
	put16(tcp + TCP_CSUM, folded(sum16(ip + 12, 8, 6 + len - TCP_AT)));
}

void load_fill(struct load *l, unsigned s, struct lane *tx)
{
	const struct load_conf *c = &l->conf;
	uint32_t total = 0, to = c->kind == LOAD_SINK ? NOBODY : c->kind == LOAD_LOOP ? s : 1 - s;
	uint64_t mix = c->seed * 2654435761u + 1;
	for (unsigned i = 0; i < c->n_sizes; i++)
		total += c->size[i].weight;
	for (uint32_t b = 0; b < tx->n_bufs; b++) {
		uint8_t src[6], dst[6], *frame = lane_frame(tx, b);
		uint32_t flow = b % c->flows, pick, i = 0;
		mix = mix * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		for (pick = (uint32_t)(mix >> 33) % total; pick >= c->size[i].weight; i++)
			pick -= c->size[i].weight;
		uint32_t len = c->size[i].bytes;
		frame_mac(src, (s + 1) * MAC_STEP + flow);
		frame_mac(dst, (to + 1) * MAC_STEP + flow);
		lane_fill(tx, b, len);
		frame_fill(frame + tx->lead, len - tx->lead, dst, src, flow, 0, false);
		if (!c->gso)
			continue;
		put_segment_headers(frame, len, dst, src, s, flow);
		memcpy(lane_header(tx, b), &gso_header, tx->hdr_len);
	}
}

// hdr_len is a hint that a switch may leave out; the rest says how the segment is to be cut and summed.
static bool header_intact(const uint8_t *header)
{
	struct net_hdr h;
	memcpy(&h, header, 10);
	return (h.flags & gso_header.flags) && h.gso_type == gso_header.gso_type && h.gso_size == gso_header.gso_size &&
	       h.csum_start == gso_header.csum_start && h.csum_offset == gso_header.csum_offset;
}

void load_check_frame(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len)
{
	struct load *l = arg;
	struct frame_id id;
	if (l->conf.gso) {
		if (len < LOAD_GSO_LEAD || frame[12] != 0x08 || frame[13] != 0) {
			l->foreign++;
			return;
		}
		l->odd_headers += !header_intact(header);
		frame += LOAD_GSO_LEAD;
		len -= LOAD_GSO_LEAD;
	}
	const char *wrong = frame_check(frame, len, &id);
	if (wrong == frame_foreign && !l->conf.gso)
		l->foreign++;
	else if (wrong)
		l->corrupt++;
}
