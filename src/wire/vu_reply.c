#include "wire/vu_reply.h"

#include <string.h>

#include "wire/vu_spec.h"

uint32_t vu_reply_build(uint8_t out[VU_REPLY_MAX], uint32_t request, const void *payload, uint32_t len)
{
	struct vu_hdr hdr = { .request = request, .flags = VU_REPLY_FLAGS, .size = len };
	if (len > VU_REPLY_MAX - sizeof(hdr))
		return 0;
	memcpy(out, &hdr, sizeof(hdr));
	if (len)
		memcpy(out + sizeof(hdr), payload, len);
	return (uint32_t)sizeof(hdr) + len;
}

uint32_t vu_reply_u64(uint8_t out[VU_REPLY_MAX], uint32_t request, uint64_t value)
{
	return vu_reply_build(out, request, &value, sizeof(value));
}
