// Framing on a non-blocking stream socket: whole messages out of any split of bytes, whole replies into a socket that takes
// parts. One object per connection. The socket stays the caller's.
//
// It never reads beyond the message in hand, so what is not taken yet stays in the kernel for whoever reads next. File
// descriptors are taken only from the recvmsg that reads byte 0 of the header (the specification attaches them there); the
// kernel closes those that come with later bytes, as nobody asks for them there.
#ifndef WIRE_VU_FRAME_H
#define WIRE_VU_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/vu_reply.h"
#include "wire/vu_spec.h"

// Ready after vu_frame_init; for whoever keeps many in a table and allocates none. Its fields are vu_frame.c's business, and of whoever writes them down (custody/image.c).
struct vu_frame {
	union {
		struct vu_hdr hdr;
		uint8_t bytes[sizeof(struct vu_hdr)];
	} head;
	uint32_t have; // bytes of header and payload received so far
	bool eof;
	int fds[VU_MAX_FDS];
	unsigned n_fds;
	uint8_t out[VU_REPLY_MAX];
	uint32_t out_len, out_at; // pending: [out_at, out_len)
	uint8_t payload[VU_MAX_PAYLOAD];
};

struct vu_in {
	struct vu_hdr hdr;
	const uint8_t *payload; // hdr.size bytes, inside the frame object: valid until the next vu_frame_recv
	int fds[VU_MAX_FDS]; // owned by whoever got this; -1 beyond n_fds
	unsigned n_fds;
};

void vu_frame_init(struct vu_frame *f); // of any contents; holds no descriptor yet
void vu_frame_drop(struct vu_frame *f); // closes the descriptors of a message half received; to be initialised before another use
struct vu_frame *vu_frame_new(void); // allocated and initialised; NULL: out of memory
void vu_frame_free(struct vu_frame *f); // closes the descriptors of a message half received; NULL is fine

// Read on. OK: *in is a whole message; its version and flags are unchecked (vu_admit does that). AGAIN: wait until fd is
// readable. DESYNC: close the connection: the peer closed it (vu_frame_eof tells a clean end from one inside a message), the
// payload is over VU_MAX_PAYLOAD, or descriptors were lost (more than VU_MAX_FDS, or our limit of open files; those that did
// come are closed). OURS: the socket failed. After DESYNC or OURS only vu_frame_free may follow.
// While vu_frame_pending, do not call it: a peer that does not read its replies gets no more done.
enum err vu_frame_recv(struct vu_frame *f, int fd, struct vu_in *in, struct why *why);
bool vu_frame_eof(const struct vu_frame *f);

// Send a reply of at most VU_REPLY_MAX bytes, without SIGPIPE. OK: gone. AGAIN: the rest is kept, call vu_frame_flush
// when fd is writable. DESYNC: the peer is gone. One reply at a time: OURS while another one is pending.
enum err vu_frame_send(struct vu_frame *f, int fd, const uint8_t *bytes, uint32_t len, struct why *why);
enum err vu_frame_flush(struct vu_frame *f, int fd, struct why *why);
bool vu_frame_pending(const struct vu_frame *f);

#endif
