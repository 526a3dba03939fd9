// Replies as bytes: header (flags exactly 5: QEMU takes nothing else) and payload.
#ifndef WIRE_VU_REPLY_H
#define WIRE_VU_REPLY_H

#include <stdint.h>

#define VU_REPLY_MAX 64

// Write a reply to request with len bytes of payload (at most VU_REPLY_MAX - 12) into out; returns the bytes to send.
uint32_t vu_reply_build(uint8_t out[VU_REPLY_MAX], uint32_t request, const void *payload, uint32_t len);
uint32_t vu_reply_u64(uint8_t out[VU_REPLY_MAX], uint32_t request, uint64_t value);

#endif
