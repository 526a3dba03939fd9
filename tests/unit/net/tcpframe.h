// TCP frames for tests of segmentation, built from their fields: the whole one that a sender with TSO leaves, and each of
// the frames that it stands for. Written byte by byte, without the code under test.
#ifndef NET_TCPFRAME_H
#define NET_TCPFRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TCPFRAME_MAX 66000u

struct tcpframe {
	bool v6, tagged;
	uint8_t ip_options; // words of IPv4 options, 0..10
	uint8_t tcp_options; // words of TCP options, 0..10
	uint8_t ext; // IPv6: 0; 1 hop-by-hop; 2 destination options and a finished routing header; from 3 on: ext - 1 of hop-by-hop
	uint8_t flags; // of TCP
	uint16_t id;
	uint32_t seq;
	uint32_t payload, from; // bytes, and which of the stream the first one is
	bool partial; // the checksum's place holds the pseudo header's sum
};

static inline uint16_t tcpframe_sum(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint8_t tcpframe_byte(uint32_t at) // of the stream
{
	return (uint8_t)(at * 167u + (at >> 8) * 13u + 5u);
}

static inline uint32_t tcpframe_put(uint8_t *out, uint32_t at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[at + i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	return at + bytes;
}

// Into out (TCPFRAME_MAX bytes); returns the frame's length. *l4 and *hdr: where TCP and the payload begin.
static inline uint32_t tcpframe_build(const struct tcpframe *t, uint8_t *out, uint32_t *l4, uint32_t *hdr)
{
	static const uint8_t mac[12] = { 0x52, 0x54, 0, 0, 0, 0xa1, 0x52, 0x54, 0, 0, 0, 0xa0 };
	uint32_t at = 12, ip, tcp_len = 20u + t->tcp_options * 4u + t->payload, sum;
	uint32_t hops = t->ext == 1 ? 1 : t->ext > 2 ? t->ext - 1u : 0;
	memcpy(out, mac, 12);
	if (t->tagged)
		at = tcpframe_put(out, at, 0x81002064, 4);
	at = ip = tcpframe_put(out, at, t->v6 ? 0x86dd : 0x0800, 2);
	if (t->v6) {
		uint32_t ext = t->ext == 2 ? 24 + 8 : hops * 8;
		at = tcpframe_put(out, at, 0x60012345, 4);
		at = tcpframe_put(out, at, ext + tcp_len, 2);
		at = tcpframe_put(out, at, t->ext == 0 ? 0x0640 : t->ext == 2 ? 0x3c40 : 0x0040, 2);
		for (uint32_t i = 0; i < 32; i++)
			out[at++] = (uint8_t)(i < 16 ? 0x20 + i : 0xf0 - i);
		sum = tcpframe_sum(6 + tcp_len, out + ip + 8, 32);
		for (uint32_t i = 0; i < hops; i++) {
			at = tcpframe_put(out, at, i + 1 < hops ? 0x00000104 : 0x06000104, 4);
			at = tcpframe_put(out, at, 0, 4);
		}
		if (t->ext == 2) {
			at = tcpframe_put(out, at, 0x2b020000, 4); // three words of eight bytes, then routing
			for (uint32_t i = 0; i < 20; i++)
				out[at++] = (uint8_t)(i + 1);
			at = tcpframe_put(out, at, 0x06000400, 4); // nothing left to do
			at = tcpframe_put(out, at, 0xdeadbeef, 4);
		}
	} else {
		uint32_t words = 5u + t->ip_options;
		at = tcpframe_put(out, at, 0x4500u | words << 8, 2);
		at = tcpframe_put(out, at, words * 4 + tcp_len, 2);
		at = tcpframe_put(out, at, (uint32_t)t->id << 16 | 0x4000, 4);
		at = tcpframe_put(out, at, 0x3f060000, 4);
		at = tcpframe_put(out, at, 0x0a000001, 4);
		at = tcpframe_put(out, at, 0xc0a8fffe, 4);
		for (uint32_t i = 0; i < t->ip_options * 4u; i++)
			out[at++] = 1;
		tcpframe_put(out, ip + 10, 0xffffu - tcpframe_sum(0, out + ip, words * 4), 2);
		sum = tcpframe_sum(6 + tcp_len, out + ip + 12, 8);
	}
	*l4 = at;
	at = tcpframe_put(out, at, 0x1388c350, 4);
	at = tcpframe_put(out, at, t->seq, 4);
	at = tcpframe_put(out, at, 0x01020304, 4);
	at = tcpframe_put(out, at, (5u + t->tcp_options) << 28 | (uint32_t)t->flags << 16 | 0xffff, 4);
	at = tcpframe_put(out, at, 0x00001234, 4); // no checksum yet; an urgent pointer, to be left alone
	for (uint32_t i = 0; i < t->tcp_options * 4u; i++)
		out[at++] = (uint8_t)(i + 1);
	*hdr = at;
	for (uint32_t i = 0; i < t->payload; i++)
		out[at++] = tcpframe_byte(t->from + i);
	if (!t->partial)
		sum = 0xffffu - tcpframe_sum(sum, out + *l4, tcp_len);
	tcpframe_put(out, *l4 + 16, sum, 2);
	return at;
}

// Frame i of those that t, cut by size, stands for.
static inline struct tcpframe tcpframe_part(const struct tcpframe *t, uint32_t size, uint32_t i)
{
	struct tcpframe p = *t;
	p.from = t->from + i * size;
	p.seq = t->seq + i * size;
	p.id = (uint16_t)(t->id + i);
	p.payload = t->payload - i * size < size ? t->payload - i * size : size;
	if ((i + 1) * size < t->payload)
		p.flags &= 0xf6; // neither FIN nor PSH
	if (i > 0)
		p.flags &= 0x7f; // no CWR
	p.partial = false;
	return p;
}

#endif
