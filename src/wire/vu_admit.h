// Admission: is this request one that its row allows, in the state that the session is in? Pure: no I/O, nothing is kept.
#ifndef WIRE_VU_ADMIT_H
#define WIRE_VU_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/vu_spec.h"
#include "wire/vu_table.h"

// What admission must know of the session.
struct vu_session {
	uint64_t features_offered; // virtio
	uint64_t features_acked;
	uint64_t protocol_offered;
	uint64_t protocol_acked;
	bool owned; // SET_OWNER was seen
	unsigned n_rings;
	uint32_t ring_runs; // bit q: ring q runs, or was taken from the datapath for a pause only
};

#define VU_NO_RING UINT32_MAX

// A request as received. Nothing of it is trusted.
struct vu_request {
	struct vu_hdr hdr;
	const uint8_t *payload; // hdr.size bytes, any alignment
	unsigned n_fds;
	bool fds_truncated;
};

// The payload, aligned and typed by the row; zero beyond hdr.size.
union vu_body {
	uint64_t u64;
	uint8_t bytes[sizeof(struct vu_memory)];
	struct vu_state state;
	struct vu_addr addr;
	struct vu_memory memory;
	struct vu_log log;
};

// Check, in this order: version and flags, the row, length, fds, gate, phase, ring index, the ring's phase.
// OK: *row is the row, *body the payload, *queue the ring index (below n_rings) or VU_NO_RING.
// REFUSED: *row is the row, or NULL for an unknown id; a declined row is refused last of all.
// DESYNC: the header is none of a request, or descriptors were lost on the way: *row is NULL.
enum err vu_admit(const struct vu_session *s, const struct vu_request *req, const struct vu_row **row, union vu_body *body,
		  uint32_t *queue, struct why *why);

// Is an answer asked for that the message does not have by itself?
static inline bool vu_ack_asked(const struct vu_hdr *hdr, uint64_t protocol_acked)
{
	return (hdr->flags & VU_FLAG_NEED_REPLY) && ((protocol_acked >> VU_PF_REPLY_ACK) & 1u);
}

#endif
