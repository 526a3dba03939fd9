// A guest's transmit header and frame. Input: the header (12 bytes), one byte (bit 0: checksum offload negotiated), the
// frame.
#include "fuzz.h"

#include <string.h>

#include "net/vnet.h"

static uint16_t slow_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

static void check_complete(struct vnet_hdr *h, const uint8_t *was, uint32_t len)
{
	uint32_t start = h->csum_start, offset = h->csum_offset, at = start + offset;
	uint8_t *frame = malloc(len + (len == 0));
	if (!frame)
		return;
	memcpy(frame, was, len);
	bool asked = h->flags & VNET_F_NEEDS_CSUM;
	vnet_csum_complete(h, frame, len);
	FUZZ_CHECK(h->flags == 0 && h->csum_start == 0 && h->csum_offset == 0);
	if (asked) {
		uint16_t want = (uint16_t)~slow_sum(was + start, len - start);
		if (want == 0 && offset == 6)
			want = 0xffff;
		FUZZ_CHECK((frame[at] << 8 | frame[at + 1]) == want);
		FUZZ_CHECK(memcmp(frame, was, at) == 0 && memcmp(frame + at + 2, was + at + 2, len - at - 2) == 0);
	} else {
		FUZZ_CHECK(memcmp(frame, was, len) == 0);
	}
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnet_hdr h, again;
	const char *why = NULL;
	if (size < sizeof(h) + 1)
		return 0;
	memcpy(&h, data, sizeof(h));
	bool csum_ok = data[sizeof(h)] & 1;
	const uint8_t *frame = data + sizeof(h) + 1;
	uint32_t len = (uint32_t)(size - sizeof(h) - 1);
	if (!vnet_tx_sane(&h, len, csum_ok, &why)) {
		FUZZ_CHECK(why != NULL);
		return 0;
	}
	FUZZ_CHECK(h.gso_type == VNET_GSO_NONE && (h.flags & ~VNET_F_NEEDS_CSUM) == 0);
	if (h.flags)
		FUZZ_CHECK(csum_ok && h.csum_start >= 34 && (uint32_t)h.csum_start + h.csum_offset + 2 <= len);
	else
		FUZZ_CHECK(h.csum_start == 0 && h.csum_offset == 0);
	again = h;
	FUZZ_CHECK(vnet_tx_sane(&again, len, csum_ok, &why) && memcmp(&again, &h, sizeof(h)) == 0);
	check_complete(&h, frame, len);
	return 0;
}
