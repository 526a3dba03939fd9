// What is kept for workers: things by name, and front ends' connections, each with the descriptors that its rows refer to, by the message that brought
// them, and the one message that is not done. Tables of a fixed size; nothing is allocated.
#ifndef CUSTODY_CUSTODY_H
#define CUSTODY_CUSTODY_H

#include <stdbool.h>
#include <stdint.h>

#include "kp/kp.h"
#include "wire/vu_frame.h"

#define CUSTODY_MAX_CONNS 640 // 256 ports of two, and those that are one too many for a moment
#define CUSTODY_MAX_NAMES 1024

enum conn_state {
	CONN_FREE,
	CONN_IDLE, // reading
	CONN_STORED, // a message is here, and not with the worker
	CONN_SENT, // and with it
	CONN_REPLYING, // done; the front end does not read its answer
	CONN_ENDING, // closed; the worker has not heard of it
};

struct kept {
	struct kp_ref ref;
	int fd;
};

struct conn {
	enum conn_state state;
	bool told; // the present worker knows it
	bool watched; // by the present keeper
	bool hang_up; // when the reply is out
	bool gone; // the front end is; what it sent before is done all the same, if there is a worker
	bool clean;
	bool behind; // see KP_BEHIND
	uint8_t deaths; // of workers by the present message, or when they took this over
	int fd;
	uint64_t id, seq; // of the message in hand, or the last one
	uint64_t since_us, sent_us;
	char port[KP_NAME_MAX];
	int32_t pid;
	uint32_t uid;
	struct vu_frame frame; // the message's bytes, and the reply that is going out
	struct vu_hdr hdr;
	int fds[VU_MAX_FDS]; // of the message in hand
	unsigned n_fds;
	struct kept kept[KP_MAX_KEPT];
	unsigned n_kept, kept_told; // the first ones, to the present worker
	const char *reason; // of its end, static
	uint64_t log_from, log_offset, log_bytes; // see kp_done
};

struct name {
	char text[KP_NAME_MAX];
	int fd;
	bool listens, told;
};

struct custody {
	struct name name[CUSTODY_MAX_NAMES];
	struct conn conn[CUSTODY_MAX_CONNS];
	unsigned top; // connections from here on were never used
};

void custody_init(struct custody *c); // of zeros
void custody_clear(struct custody *c); // all is let go of
// Keep fd, which is taken, in place of what had the name. NULL: there is no room, it is closed. The caller watches what listens, and has
// ended that watch before: other processes may have the same open file, and closing ours ends no watch.
struct name *custody_put(struct custody *c, const char *name, int fd, bool listens);
void custody_drop(struct custody *c, const char *name);
struct name *custody_named(struct custody *c, const char *name); // NULL: none
int custody_get(struct custody *c, const char *name); // borrowed; -1: none

struct conn *custody_conn(struct custody *c, uint64_t id); // NULL: none
struct conn *custody_new_conn(struct custody *c); // one that is free, with nothing in it; NULL: none is
// Of what conn keeps and what its message brought, those that are named stay.
void custody_keep_only(struct conn *c, const struct kp_ref *ref, unsigned n);
void custody_release(struct conn *c); // all of it, and the socket
// Fill its dirty log with ones, if one is in use: bytes that the front end did not see logged are all in there.
void custody_fill_log(const struct conn *c);

#endif
