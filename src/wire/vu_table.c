#include "wire/vu_table.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define LEN_EXACT(n) { VU_LEN_EXACT, (n), (n), 0 }
#define LEN_COUNTED(head, each, most) { VU_LEN_COUNTED, (head), (most), (each) }
#define LEN_RANGE(least, most) { VU_LEN_RANGE, (least), (most), 0 }
#define GATE_ALWAYS { VU_GATE_ALWAYS, 0 }
#define GATE_F30 { VU_GATE_F30, VHOST_USER_F_PROTOCOL_FEATURES }
#define GATE_OFFERED(b) { VU_GATE_OFFERED, (b) }
#define GATE_PF(b) { VU_GATE_PF, (b) }
#define GATE_FEATURE(b) { VU_GATE_FEATURE, (b) }
#define NAME_OF(h) #h

// whether a row has a handler, as a constant: no handler's name starts with a capital
#define WORKS(name) ((name)[0] != 'D')

#define ROW_AS_DATA(i, n, p, l, f, g, w, q, e, r, ref, h, text)                                                   \
	[i] = { .id = (i), .name = #n, .payload = p, .len = l, .fds = f, .gate = g, .when = (w), .queue = q,      \
		.effect = e, .reply = r, .refusal = ref, .works = WORKS(NAME_OF(h)), .handler = NAME_OF(h),       \
		.note = text },
static const struct vu_row rows[] = { VU_MESSAGES(ROW_AS_DATA) };

// no gap and no row twice: as many rows as the greatest id
#define ROW_COUNT(...) +1
static_assert((0 VU_MESSAGES(ROW_COUNT)) == VU_N_MESSAGES, "one row per message id");
static_assert(ARRAY_LEN(rows) == VU_N_MESSAGES + 1, "ids run from 1 to the number of rows");

const struct vu_row *vu_row(uint32_t id)
{
	return id >= 1 && id <= VU_N_MESSAGES && rows[id].name ? &rows[id] : NULL;
}

const char *vu_name(uint32_t id)
{
	static _Thread_local char unknown[32];
	const struct vu_row *row = vu_row(id);
	if (row)
		return row->name;
	snprintf(unknown, sizeof(unknown), "message %u", (unsigned)id);
	return unknown;
}

static const char *const payload_words[] = {
	[VU_P_NONE] = "-", [VU_P_U64] = "u64", [VU_P_STATE] = "state", [VU_P_ADDR] = "addr",
	[VU_P_MEMORY] = "memory", [VU_P_LOG] = "log", [VU_P_OTHER] = "other",
};
static const char *const fds_words[] = {
	[VU_FDS_NONE] = "0", [VU_FDS_ONE] = "1", [VU_FDS_BY_NOFD] = "1, or 0 with bit 8", [VU_FDS_COUNTED] = "as counted",
	[VU_FDS_MAYBE] = "0 or 1",
};
static const char *const effect_words[] = {
	[VU_READ] = "read", [VU_NEGOTIATE] = "negotiate", [VU_MEMORY] = "memory", [VU_QUEUE] = "queue", [VU_RUN] = "run",
};
static const char *const reply_words[] = {
	[VU_R_ACK] = "ack if asked", [VU_R_U64] = "u64", [VU_R_STATE] = "state", [VU_R_LOG] = "log",
	[VU_R_OTHER] = "its own",
};
static const char *const refusal_words[] = {
	[VU_NACK_CLOSE] = "nack if asked, else close", [VU_NACK_GO_ON] = "nack if asked, else carry on",
	[VU_NACK_LOG] = "nack if asked, else close; while logging: fill the log, close", [VU_NACK] = "nack",
	[VU_CLOSE] = "close", [VU_ANSWER] = "answered all the same; close if malformed",
};

static void word_len(char *buf, size_t size, const struct vu_len *len)
{
	switch (len->kind) {
	case VU_LEN_EXACT:
		snprintf(buf, size, "%u", (unsigned)len->min);
		return;
	case VU_LEN_COUNTED:
		snprintf(buf, size, "%u + %u n, n <= %u", (unsigned)len->min, (unsigned)len->element, (unsigned)len->max);
		return;
	case VU_LEN_RANGE:
		snprintf(buf, size, "%u to %u", (unsigned)len->min, (unsigned)len->max);
		return;
	}
}

static void word_gate(char *buf, size_t size, const struct vu_gate *gate)
{
	switch (gate->kind) {
	case VU_GATE_ALWAYS:
		snprintf(buf, size, "-");
		return;
	case VU_GATE_F30:
		snprintf(buf, size, "virtio bit 30 offered");
		return;
	case VU_GATE_OFFERED:
		snprintf(buf, size, "protocol bit %u offered", gate->bit);
		return;
	case VU_GATE_PF:
		snprintf(buf, size, "protocol bit %u negotiated", gate->bit);
		return;
	case VU_GATE_FEATURE:
		snprintf(buf, size, "virtio bit %u acknowledged", gate->bit);
		return;
	}
}

static const char *word_when(const struct vu_row *row)
{
	bool owned_only = !(row->when & VU_IN_NEW);
	if (row->queue != VU_Q_NO && !(row->when & VU_RING_RUNS))
		return owned_only ? "owned, ring not running" : "ring not running";
	return owned_only ? "owned" : "any time";
}

static void print_row(const struct vu_row *row, void (*put)(void *arg, const char *text), void *arg)
{
	char len[48], gate[48], line[640];
	word_len(len, sizeof(len), &row->len);
	word_gate(gate, sizeof(gate), &row->gate);
	snprintf(line, sizeof(line), "| %u | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s%s%s |\n", (unsigned)row->id,
		 row->name, payload_words[row->payload], len, fds_words[row->fds], gate, word_when(row),
		 effect_words[row->effect], reply_words[row->reply], refusal_words[row->refusal], row->works ? "" : "**declined**: ", row->note,
		 row->queue == VU_Q_NO ? "" : " (about one ring)");
	put(arg, line);
}

void vu_table_print(void (*put)(void *arg, const char *text), void *arg)
{
	put(arg, "# The message table\n\n"
		 "Printed from `src/wire/vu_msgs.h`; a test fails while this page differs from it. *Asked* means that the\n"
		 "request has need_reply set and REPLY_ACK is negotiated. A refused message changes nothing. An id\n"
		 "without a row is refused like a row with \"nack if asked, else close\". Whenever the socket is closed\n"
		 "on a front end that logs, the log is filled with ones first.\n\n"
		 "| id | name | payload | bytes | fds | gate | when | effect | reply | refusal | note |\n"
		 "|---|---|---|---|---|---|---|---|---|---|---|\n");
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++)
		print_row(&rows[id], put, arg);
}
