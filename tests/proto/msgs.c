#include "proto/msgs.h"

#include <string.h>

static void msg_bytes(struct msg *m, const void *payload, uint32_t size)
{
	memcpy(m->payload, payload, size);
	m->size = size;
}

static void msg_addr(struct msg *m, const struct fe *fe, unsigned q)
{
	const struct vq *v = &fe->ring[q % fe->rings].vq;
	struct vu_addr a = {
		.index = q,
		.desc = gmem_uaddr(fe->mem, v->desc_gpa),
		.used = gmem_uaddr(fe->mem, v->used_gpa),
		.avail = gmem_uaddr(fe->mem, v->avail_gpa),
		.log = v->used_gpa,
	};
	msg_bytes(m, &a, sizeof(a));
}

static void msg_typed(struct msg *m, const struct fe *fe, const struct vu_row *row, unsigned q)
{
	uint64_t u64 = 0;
	struct vu_state st = {.index = q};
	switch (row->id) {
	case VU_SET_FEATURES:
		u64 = fe->features;
		break;
	case VU_SET_PROTOCOL_FEATURES:
		u64 = fe->protocol;
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		u64 = q;
		break;
	case VU_SEND_RARP:
		memcpy(&u64, (const uint8_t[]){2, 0x56, 0, 0, 0, 9}, 6);
		break;
	case VU_NET_SET_MTU:
		u64 = 1500;
		break;
	case VU_SET_VRING_NUM:
		st.num = 64;
		break;
	default:
		break;
	}
	if (row->payload == VU_P_U64)
		msg_bytes(m, &u64, sizeof(u64));
	else if (row->payload == VU_P_STATE)
		msg_bytes(m, &st, sizeof(st));
	else if (row->payload == VU_P_ADDR)
		msg_addr(m, fe, q);
	else if (row->payload == VU_P_OTHER)
		m->size = row->len.min; // zeros: nobody reads what is declined
}

void msg_good(struct msg *m, const struct fe *fe, uint32_t id, unsigned q, int fd)
{
	const struct vu_row *row = vu_row(id);
	memset(m, 0, sizeof(*m));
	m->id = id;
	for (unsigned i = 0; i < CONN_MAX_FDS; i++)
		m->fds[i] = fd;
	if (row == NULL)
		return;
	msg_typed(m, fe, row, q);
	if (row->fds == VU_FDS_ONE || row->fds == VU_FDS_BY_NOFD)
		m->n_fds = 1;
	if (id == VU_SET_MEM_TABLE) {
		struct vu_memory table;
		m->size = gmem_table(fe->mem, &table, m->fds);
		memcpy(m->payload, &table, m->size);
		m->n_fds = table.n;
	}
	if (id == VU_SET_LOG_BASE) {
		struct vu_log log = {.size = 4096};
		msg_bytes(m, &log, sizeof(log));
	}
}

enum msg_expect msg_refusal(const struct vu_row *row, bool asked, bool logging)
{
	if (row == NULL)
		return asked ? EX_NACK : EX_CLOSE;
	switch (row->refusal) {
	case VU_NACK_CLOSE:
		return asked ? EX_NACK : EX_CLOSE;
	case VU_NACK_GO_ON:
		return asked ? EX_NACK : EX_QUIET;
	case VU_NACK_LOG:
		return asked && !logging ? EX_NACK : EX_CLOSE;
	case VU_NACK:
		return EX_NACK;
	case VU_CLOSE:
	case VU_ANSWER:
		return EX_CLOSE;
	}
	return EX_CLOSE;
}

void msg_put(struct fe *fe, const struct msg *m, bool need_reply, struct bed_outcome *out)
{
	uint8_t bytes[sizeof(struct vu_hdr) + VU_MAX_PAYLOAD + 1];
	struct vu_hdr h = {.request = m->id, .flags = VU_VERSION | (need_reply ? VU_FLAG_NEED_REPLY : 0), .size = m->size};
	memset(bytes, 0, sizeof(bytes)); // a size of one too many is followed by its byte
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), m->payload, m->size <= VU_MAX_PAYLOAD ? m->size : VU_MAX_PAYLOAD);
	bool ok = conn_send(fe->sock, bytes, sizeof(h) + m->size, m->fds, m->n_fds);
	bed_outcome(fe, m->id, ok, out);
}

const char *msg_expect_name(enum msg_expect e)
{
	static const char *const names[] = {[EX_ACK] = "an acknowledgement",
					    [EX_QUIET] = "silence",
					    [EX_OWN] = "the message's own reply",
					    [EX_NACK] = "a refusal",
					    [EX_CLOSE] = "a closed connection"};
	return names[e];
}

void msg_check(struct bed *b, uint32_t id, const struct bed_outcome *o, enum msg_expect want, uint32_t own_size)
{
	uint64_t value = 0;
	bool has_reply = want == EX_ACK || want == EX_OWN || want == EX_NACK, right;
	memcpy(&value, o->reply.payload, sizeof(value));
	right = !o->lost && o->closed == (want == EX_CLOSE) && o->replies == (has_reply ? 1 : 0);
	if (right && has_reply) {
		right = o->reply.hdr.request == id && o->reply.hdr.flags == VU_REPLY_FLAGS &&
			o->reply.hdr.size == (want == EX_OWN ? own_size : 8);
		if (want != EX_OWN)
			right = right && (value != 0) == (want == EX_NACK);
	}
	b->checks++;
	if (!right)
		bed_fail(b, "%s instead of %s", bed_outcome_text(o), msg_expect_name(want));
}
