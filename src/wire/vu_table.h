// The message table (vu_msgs.h) as data: a row by id, and the words for what stands in it.
#ifndef WIRE_VU_TABLE_H
#define WIRE_VU_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/vu_msgs.h"
#include "wire/vu_spec.h"

#define VU_N_MESSAGES 44

#define VU_ID(id, name, ...) VU_##name = (id),
enum vu_id { VU_MESSAGES(VU_ID) };
#undef VU_ID

enum vu_payload { VU_P_NONE, VU_P_U64, VU_P_STATE, VU_P_ADDR, VU_P_MEMORY, VU_P_LOG, VU_P_OTHER };
enum vu_len_kind { VU_LEN_EXACT, VU_LEN_COUNTED, VU_LEN_RANGE };
enum vu_fds { VU_FDS_NONE, VU_FDS_ONE, VU_FDS_BY_NOFD, VU_FDS_COUNTED, VU_FDS_MAYBE };
enum vu_gate_kind { VU_GATE_ALWAYS, VU_GATE_F30, VU_GATE_OFFERED, VU_GATE_PF, VU_GATE_FEATURE };
enum vu_queue { VU_Q_NO, VU_Q_STATE, VU_Q_ADDR, VU_Q_LOW_BYTE };
enum vu_effect { VU_READ, VU_NEGOTIATE, VU_MEMORY, VU_QUEUE, VU_RUN };
enum vu_reply_kind { VU_R_ACK, VU_R_U64, VU_R_STATE, VU_R_LOG, VU_R_OTHER };
enum vu_refusal { VU_NACK_CLOSE, VU_NACK_GO_ON, VU_NACK_LOG, VU_NACK, VU_CLOSE, VU_ANSWER };

// Phases, as a set.
#define VU_IN_NEW 1u // no SET_OWNER yet
#define VU_IN_OWNED 2u
#define VU_IN_ANY (VU_IN_NEW | VU_IN_OWNED)
#define VU_RING_IDLE 4u // the ring has no position of its own: it never ran since it was set up or stopped
#define VU_RING_RUNS 8u
#define VU_RING_ANY (VU_RING_IDLE | VU_RING_RUNS)

struct vu_len {
	enum vu_len_kind kind;
	uint32_t min; // EXACT: the length; COUNTED: the head
	uint32_t max; // EXACT: the length; COUNTED: the greatest count
	uint32_t element; // COUNTED: bytes each
};

struct vu_gate {
	enum vu_gate_kind kind;
	unsigned bit;
};

struct vu_row {
	uint32_t id;
	const char *name;
	enum vu_payload payload;
	struct vu_len len;
	enum vu_fds fds;
	struct vu_gate gate;
	unsigned when; // VU_IN_ and VU_RING_ bits
	enum vu_queue queue;
	enum vu_effect effect;
	enum vu_reply_kind reply;
	enum vu_refusal refusal;
	bool works; // false: declined
	const char *handler;
	const char *note;
};

// The row of an id, NULL for 0 and what is over VU_N_MESSAGES.
const struct vu_row *vu_row(uint32_t id);
// Its name, or "message 99" in a static buffer of the calling thread's.
const char *vu_name(uint32_t id);
// Write the table as Markdown (docs/messages.md is this) through put; arg is handed on.
void vu_table_print(void (*put)(void *arg, const char *text), void *arg);

#endif
