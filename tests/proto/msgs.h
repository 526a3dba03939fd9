// What each message looks like when it is right, and what a wrong one must lead to: the model of the tests. The model reads
// the message table for lengths, descriptors and the way of a refusal; rows that spell out an expectation in full
// (rows_message.c) check the table itself.
#ifndef PROTO_MSGS_H
#define PROTO_MSGS_H

#include "proto/bed.h"
#include "wire/vu_table.h"

struct msg {
	uint32_t id, size;
	uint8_t payload[VU_MAX_PAYLOAD];
	int fds[CONN_MAX_FDS]; // borrowed
	unsigned n_fds;
};

enum msg_expect {
	EX_ACK,   // u64 0
	EX_QUIET, // nothing, and the session goes on
	EX_OWN,   // the message's own reply
	EX_NACK,  // u64, not 0
	EX_CLOSE,
};

// The right message id about ring q, for a front end at BED_PREPARED.
void msg_good(struct msg *m, const struct fe *fe, uint32_t id, unsigned q, int fd);
// What a refusal of it looks like. row NULL: an id that is not in the table.
enum msg_expect msg_refusal(const struct vu_row *row, bool asked, bool logging);
void msg_put(struct fe *fe, const struct msg *m, bool need_reply, struct bed_outcome *out);
// Sets failed if the outcome is another one; own_size: of the reply's payload, with EX_OWN.
void msg_check(struct bed *b, uint32_t id, const struct bed_outcome *o, enum msg_expect want, uint32_t own_size);
const char *msg_expect_name(enum msg_expect e);

#endif
