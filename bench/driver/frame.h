// Test frames: Ethernet, then who sent it, its number, and a pattern, so that a frame that was lost, repeated, cut,
// mixed with another or changed in any byte is seen. A plain frame's pattern depends on the flow only: fill a buffer once,
// then stamp each number (the benchmark). A dense frame's pattern depends on the number, too (the tests).
#ifndef DRIVER_FRAME_H
#define DRIVER_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_MIN 60u
#define FRAME_MAX 65535u
#define FRAME_ETHERTYPE 0x88b5u // for experiments

struct frame_id {
	uint32_t flow;
	uint64_t seq;
};

// A locally administered unicast address made of n.
void frame_mac(uint8_t mac[6], uint32_t n);
extern const uint8_t frame_broadcast[6];

// Write a whole frame of len bytes (FRAME_MIN..FRAME_MAX).
void frame_fill(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6], uint32_t flow, uint64_t seq,
		bool dense);
// Give a plain frame another number.
void frame_stamp(uint8_t *frame, uint32_t len, uint64_t seq);
// Is it one of ours, whole? NULL: yes, *id is filled; else a static text that says what is wrong. A frame of another kind
// (announcements of the switch) is "foreign".
const char *frame_check(const uint8_t *frame, uint32_t len, struct frame_id *id);
extern const char frame_foreign[];

#endif
