#include "wire/vu_admit.h"

#include <string.h>

#include "base/bits.h"

static enum err check_header(const struct vu_request *req, struct why *why)
{
	if ((req->hdr.flags & VU_FLAG_VERSION_MASK) != VU_VERSION)
		return desync(why, "message version %u is not 1", (unsigned)(req->hdr.flags & VU_FLAG_VERSION_MASK));
	if (req->hdr.flags & ~(VU_FLAG_VERSION_MASK | VU_FLAG_NEED_REPLY))
		return desync(why, "flags 0x%x are not a request's", (unsigned)req->hdr.flags);
	if (req->hdr.size > VU_MAX_PAYLOAD)
		return desync(why, "payload of %u bytes is over %u", (unsigned)req->hdr.size, VU_MAX_PAYLOAD);
	if (req->fds_truncated)
		return desync(why, "file descriptors were lost on the way: over %u, or our limit of open files",
			      VU_MAX_FDS);
	return OK;
}

static enum err check_length(const struct vu_row *row, const struct vu_request *req, const union vu_body *body,
			     struct why *why)
{
	uint32_t size = req->hdr.size;
	const struct vu_len *len = &row->len;
	switch (len->kind) {
	case VU_LEN_EXACT:
		if (size != len->min)
			return refuse(why, "payload of %u bytes instead of %u", (unsigned)size, (unsigned)len->min);
		return OK;
	case VU_LEN_RANGE:
		if (size < len->min || size > len->max)
			return refuse(why, "payload of %u bytes instead of %u to %u", (unsigned)size, (unsigned)len->min,
				      (unsigned)len->max);
		return OK;
	case VU_LEN_COUNTED:
		break;
	}
	if (size < len->min)
		return refuse(why, "payload of %u bytes is shorter than its head of %u", (unsigned)size, (unsigned)len->min);
	uint32_t n = body->memory.n;
	if (n > len->max)
		return refuse(why, "%u elements, at most %u are allowed", (unsigned)n, (unsigned)len->max);
	if (size != len->min + n * len->element)
		return refuse(why, "payload of %u bytes does not hold %u elements", (unsigned)size, (unsigned)n);
	return OK;
}

static enum err check_fds(const struct vu_row *row, const struct vu_request *req, const union vu_body *body, struct why *why)
{
	unsigned want = 0;
	switch (row->fds) {
	case VU_FDS_NONE:
		break;
	case VU_FDS_ONE:
		want = 1;
		break;
	case VU_FDS_BY_NOFD:
		want = (body->u64 & VU_RING_NOFD) ? 0 : 1;
		break;
	case VU_FDS_COUNTED:
		want = body->memory.n;
		break;
	case VU_FDS_MAYBE:
		want = req->n_fds == 1 ? 1 : 0;
		break;
	}
	if (req->n_fds != want)
		return refuse(why, "%u file descriptors instead of %u", req->n_fds, want);
	return OK;
}

static enum err check_gate(const struct vu_row *row, const struct vu_session *s, struct why *why)
{
	unsigned bit = row->gate.bit;
	switch (row->gate.kind) {
	case VU_GATE_ALWAYS:
		return OK;
	case VU_GATE_F30:
		return bits_has(s->features_offered, bit) ? OK : refuse(why, "protocol features are not offered");
	case VU_GATE_OFFERED:
		return bits_has(s->protocol_offered, bit) ? OK : refuse(why, "protocol feature %u is not offered", bit);
	case VU_GATE_PF:
		return bits_has(s->protocol_acked, bit) ? OK : refuse(why, "protocol feature %u is not negotiated", bit);
	case VU_GATE_FEATURE:
		return bits_has(s->features_acked, bit) ? OK : refuse(why, "feature %u is not acknowledged", bit);
	}
	return OK;
}

static enum err locate_ring(const struct vu_row *row, const struct vu_session *s, const union vu_body *body, uint32_t *queue,
			    struct why *why)
{
	uint64_t index = 0;
	switch (row->queue) {
	case VU_Q_NO:
		return OK;
	case VU_Q_STATE:
		index = body->state.index;
		break;
	case VU_Q_ADDR:
		index = body->addr.index;
		break;
	case VU_Q_LOW_BYTE: // what is above bit 8 is reserved: a peer that sets it means something we do not know
		index = body->u64 & ~(uint64_t)VU_RING_NOFD;
		break;
	}
	if (index >= s->n_rings)
		return refuse(why, "ring %llu: there are %u", (unsigned long long)index, s->n_rings);
	*queue = (uint32_t)index;
	bool runs = (s->ring_runs >> index) & 1u;
	if (!(row->when & (runs ? VU_RING_RUNS : VU_RING_IDLE)))
		return refuse(why, "ring %u: not while it runs", (unsigned)index);
	return OK;
}

enum err vu_admit(const struct vu_session *s, const struct vu_request *req, const struct vu_row **row, union vu_body *body,
		  uint32_t *queue, struct why *why)
{
	*row = NULL;
	*queue = VU_NO_RING;
	memset(body, 0, sizeof(*body));
	enum err e = check_header(req, why);
	if (e != OK)
		return e;
	*row = vu_row(req->hdr.request);
	if (!*row)
		return refuse(why, "no such message in the specification");
	if (req->hdr.size) // a longer payload is refused below, or is a declined message's, whose content nobody reads
		memcpy(body, req->payload, req->hdr.size < sizeof(*body) ? req->hdr.size : sizeof(*body));
	if ((e = check_length(*row, req, body, why)) != OK || (e = check_fds(*row, req, body, why)) != OK ||
	    (e = check_gate(*row, s, why)) != OK)
		return e;
	if (!((*row)->when & (s->owned ? VU_IN_OWNED : VU_IN_NEW)))
		return refuse(why, "not before SET_OWNER");
	e = locate_ring(*row, s, body, queue, why);
	if (e != OK)
		return e;
	if (!(*row)->works)
		return refuse(why, "declined: %s", (*row)->note);
	return OK;
}
