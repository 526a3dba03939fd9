// The smallest back end that the driver can be tested against: one thread on one end of a socket pair, which answers the
// messages and echoes each transmitted frame into the receive ring of its pair, split or packed. It trusts everything. It
// can be told to do one thing wrong, to prove that the driver sees it.
#ifndef TOY_H
#define TOY_H

#include <stdint.h>

enum toy_fault {
	TOY_NONE,
	// one kind of write is not logged
	TOY_LOG_PAYLOAD,
	TOY_LOG_HEADER,
	TOY_LOG_NUMBUF,
	TOY_LOG_ELEM,
	TOY_LOG_IDX,
	TOY_LOG_EVENT,
	TOY_LOG_EARLY, // the bit before the data
	TOY_LOG_ADDR,  // packed: descriptors are logged from SET_VRING_ADDR's log address on, wherever that is
	// frames
	TOY_CORRUPT, // one byte changed in every tenth
	TOY_DROP,    // every tenth
	TOY_REPEAT,  // every tenth
	// rings and replies
	TOY_USED_ID,     // an id that is not out
	TOY_NUM_BUFFERS, // one too many
	TOY_TX_LEN,      // a length in a transmit completion
	TOY_REPLY_FLAGS, // need_reply left in a reply
	TOY_NO_REPLY,    // GET_VRING_BASE is not answered
	TOY_NACK,        // SET_MEM_TABLE is refused
	TOY_NO_PACKED,   // packed rings are not offered
};

struct toy;
struct toy *toy_start(int sock, enum toy_fault fault); // sock becomes the toy's
void toy_stop(struct toy *t);                          // after the front end has disconnected

#endif
