// The plain-data image of one front-end connection (session): everything about it that must be durable before it is
// acknowledged. No pointers, no fds. dev produces it, store keeps it; neither knows the other. Read back from the store it
// is hostile input: snap_check before use.
#ifndef SNAP_SNAP_H
#define SNAP_SNAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define SNAP_MAX_RINGS 32
#define SNAP_MAX_REGIONS 8
#define SNAP_PORT_MAX 33 // id of 32 characters and its NUL

// How a kick, call or err descriptor was given.
enum snap_fd {
	SNAP_FD_UNSET = 0,
	SNAP_FD_GIVEN = 1,
	SNAP_FD_POLL = 2, // bit 8 of the message: no descriptor, on purpose
};

// A descriptor's name is the number (seq, within the connection) of the message that brought it, and its place among that message's
// descriptors: what a row needs to say which descriptor it means, and what makes a message that only replaces one a transition
// like any other. 0: none was brought.
struct snap_ring {
	uint32_t num; // ring size, 0: not set
	uint32_t base; // last SET_VRING_BASE, or what GET_VRING_BASE answered; of a packed ring both halves
	bool base_given; // base came from the front end or from a stop
	bool has_addr;
	bool started; // kick given and not stopped since
	bool enabled;
	bool ever_disabled; // an explicit SET_VRING_ENABLE 0 came last: TX is discarded, not parked
	bool ran; // it was given to the datapath since it started: guest memory knows its position, base is history
	uint8_t kick, call, err; // enum snap_fd
	uint64_t kick_from, call_from, err_from; // names; each the only descriptor of its message
	uint32_t addr_flags; // VU_VRING_F_LOG
	uint64_t desc, used, avail, log; // as in SET_VRING_ADDR
};

struct snap_region {
	uint64_t guest_addr, size, user_addr, mmap_offset;
	uint64_t from; // name of its file: the message,
	uint32_t from_n; // and the place in it
};

struct snap {
	char port[SNAP_PORT_MAX];
	uint64_t epoch; // of the connection: unique in one state directory
	uint64_t features_offered;
	bool has_features; // SET_FEATURES seen
	uint64_t features_acked;
	bool has_protocol;
	uint64_t protocol_features;
	bool owned; // SET_OWNER seen
	uint16_t mtu; // 0: not told
	bool has_log;
	uint64_t log_size, log_offset;
	uint64_t log_from; // name of the log's file
	uint64_t bell_from; // name of the eventfd of SET_LOG_FD
	uint32_t n_regions;
	struct snap_region region[SNAP_MAX_REGIONS];
	struct snap_ring ring[SNAP_MAX_RINGS];
};

// Which parts of a snap a transition changed: the rows that must be written.
#define SNAP_CONN UINT64_C(1) // features, protocol features, owner, mtu, log
#define SNAP_MEM UINT64_C(2) // the region table
#define SNAP_CLAIM UINT64_C(4) // no row of the snapshot: an announcement is owed for an address (SEND_RARP)
#define SNAP_RING(i) (UINT64_C(1) << (8 + (i)))
#define SNAP_ALL_RINGS (UINT64_C(0xffffffff) << 8)

// What differs between a and b, as SNAP_ bits; 0 if they are equal (port and epoch are not compared).
uint64_t snap_diff(const struct snap *a, const struct snap *b);
// Is this image one that dev could have produced? (counts in range, sizes powers of two, no overflow, flags known)
enum err snap_check(const struct snap *s, struct why *why);
const char *snap_fd_name(uint8_t kind); // "unset", "given", "poll"

// The name of a descriptor: the message that brought it, and its place among that message's descriptors.
struct snap_name {
	uint64_t seq; // never 0
	uint32_t place;
};
#define SNAP_MAX_NAMES (SNAP_MAX_REGIONS + 2 + 3 * SNAP_MAX_RINGS)
// Every descriptor that the snapshot refers to, in out: what must be kept for whoever goes on with this connection; all others
// that came with its messages can be closed. Returns how many; each is there once if dev made the snapshot.
unsigned snap_names(const struct snap *s, struct snap_name out[SNAP_MAX_NAMES]);

#endif
