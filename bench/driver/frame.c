#include "driver/frame.h"

#include <string.h>

#define FRAME_MAGIC 0x76726e67u // any number that does not occur by chance
#define FRAME_DENSE 1u
#define FRAME_HEAD 36u // Ethernet header and struct frame_head
#define FRAME_TAIL 8u
#define FRAME_SEQ_AT 28u
#define FRAME_TAIL_KEY UINT64_C(0x9e3779b97f4a7c15)

struct frame_head { // at offset 14, host byte order
	uint32_t magic;
	uint16_t len;
	uint16_t flags;
	uint16_t pad; // so that seq is at an offset that is easy to see in a dump
	uint32_t flow;
	uint64_t seq;
} __attribute__((packed));
_Static_assert(14 + sizeof(struct frame_head) == FRAME_HEAD, "head");

const uint8_t frame_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
const char frame_foreign[] = "foreign";

void frame_mac(uint8_t mac[6], uint32_t n)
{
	const uint8_t m[6] = {0x02, 0x56, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
	memcpy(mac, m, 6);
}

static uint64_t frame_word(uint64_t seed, uint32_t i)
{
	uint64_t x = seed + (i + 1) * FRAME_TAIL_KEY;
	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ (x >> 32);
}

static uint64_t frame_seed(uint32_t flow, uint64_t seq, bool dense)
{
	return ((uint64_t)flow << 32) ^ (dense ? seq * UINT64_C(0x94d049bb133111eb) : 0);
}

void frame_stamp(uint8_t *frame, uint32_t len, uint64_t seq)
{
	uint64_t tail = seq ^ FRAME_TAIL_KEY;
	memcpy(frame + FRAME_SEQ_AT, &seq, sizeof(seq));
	memcpy(frame + len - FRAME_TAIL, &tail, sizeof(tail));
}

void frame_fill(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6], uint32_t flow, uint64_t seq,
		bool dense)
{
	struct frame_head h = {
		.magic = FRAME_MAGIC, .len = (uint16_t)len, .flags = dense ? FRAME_DENSE : 0, .flow = flow, .seq = seq};
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	frame[12] = FRAME_ETHERTYPE >> 8;
	frame[13] = FRAME_ETHERTYPE & 0xff;
	memcpy(frame + 14, &h, sizeof(h));
	uint64_t seed = frame_seed(flow, seq, dense);
	uint32_t at = FRAME_HEAD, end = len - FRAME_TAIL;
	for (uint32_t i = 0; at < end; i++) {
		uint64_t w = frame_word(seed, i);
		uint32_t n = end - at < 8 ? end - at : 8;
		memcpy(frame + at, &w, n);
		at += n;
	}
	frame_stamp(frame, len, seq);
}

const char *frame_check(const uint8_t *frame, uint32_t len, struct frame_id *id)
{
	struct frame_head h;
	uint64_t tail;
	if (len < FRAME_MIN)
		return "shorter than a frame";
	if (frame[12] != FRAME_ETHERTYPE >> 8 || frame[13] != (FRAME_ETHERTYPE & 0xff))
		return frame_foreign;
	memcpy(&h, frame + 14, sizeof(h));
	if (h.magic != FRAME_MAGIC)
		return "head changed";
	if (h.len != len)
		return "length changed";
	memcpy(&tail, frame + len - FRAME_TAIL, sizeof(tail));
	if (tail != (h.seq ^ FRAME_TAIL_KEY))
		return "head and tail of different frames";
	uint64_t seed = frame_seed(h.flow, h.seq, h.flags & FRAME_DENSE);
	uint32_t at = FRAME_HEAD, end = len - FRAME_TAIL;
	for (uint32_t i = 0; at < end; i++) {
		uint64_t w = frame_word(seed, i);
		uint32_t n = end - at < 8 ? end - at : 8;
		if (memcmp(frame + at, &w, n) != 0)
			return "pattern changed";
		at += n;
	}
	*id = (struct frame_id){.flow = h.flow, .seq = h.seq};
	return NULL;
}
