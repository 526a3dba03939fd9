// The socket of a front end: whole messages out with any bytes and any descriptors, also wrong ones; whole messages in,
// with a deadline. Nothing here knows what a message means. Errors are return values: a driver under test must be able to
// see a closed socket, a wrong reply and silence apart.
#ifndef DRIVER_CONN_H
#define DRIVER_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/vu_spec.h"

#define CONN_MAX_FDS 253 // what the kernel takes in one message

struct conn_msg {
	struct vu_hdr hdr;
	uint8_t payload[VU_MAX_PAYLOAD];
	int fds[VU_MAX_FDS]; // the caller's, to be closed
	unsigned n_fds;
};

enum conn_got {
	CONN_MSG,     // a whole message
	CONN_CLOSED,  // end of file or reset, at any byte
	CONN_TIMEOUT, // nothing, or not all of a message, in time
	CONN_JUNK,    // a payload longer than VU_MAX_PAYLOAD
};

// Connect to a listening path, retrying until timeout_ms (a daemon that is about to listen). -1 with errno.
int conn_connect(const char *path, unsigned timeout_ms);
// Listen on path (an old socket file is removed), and take one connection. -1 with errno.
int conn_listen(const char *path);
int conn_accept(int listener, unsigned timeout_ms);
// Send n bytes, descriptors with the first of them (n_fds <= CONN_MAX_FDS). False with errno: EPIPE, ECONNRESET if closed.
bool conn_send(int sock, const void *bytes, size_t n, const int *fds, unsigned n_fds);
// Header and payload in one send; size is what the header says and what is sent.
bool conn_send_msg(int sock, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds,
		   unsigned n_fds);
// One message. msg is filled only with CONN_MSG; its descriptors then belong to the caller.
enum conn_got conn_recv(int sock, struct conn_msg *msg, unsigned timeout_ms);
void conn_msg_close_fds(struct conn_msg *msg);
const char *conn_got_name(enum conn_got got);

#endif
