// The way of every message, whatever it is: admit -> prepare -> plan -> commit -> apply -> reply. Nothing here knows a single
// message; all that differs follows from its row. Not trusted: all of the message and its descriptors. Must never happen: an
// effect without a commit, an acknowledgement without both, a descriptor that stays open, a request that waits for ever.
#include <string.h>

#include "base/bits.h"
#include "base/crash.h"
#include "base/fd.h"
#include "dev/dev_int.h"
#include "wire/vu_reply.h"

static_assert(DEV_REPLY_MAX >= VU_REPLY_MAX, "a whole reply fits");

static dev_prepare_fn *const handlers[VU_N_MESSAGES + 1] = {
	[VU_GET_FEATURES] = dev_on_get_features,
	[VU_SET_FEATURES] = dev_on_set_features,
	[VU_SET_OWNER] = dev_on_set_owner,
	[VU_RESET_OWNER] = dev_on_reset_owner,
	[VU_SET_MEM_TABLE] = dev_on_set_mem_table,
	[VU_SET_LOG_BASE] = dev_on_set_log_base,
	[VU_SET_LOG_FD] = dev_on_set_log_fd,
	[VU_SET_VRING_NUM] = dev_on_set_vring_num,
	[VU_SET_VRING_ADDR] = dev_on_set_vring_addr,
	[VU_SET_VRING_BASE] = dev_on_set_vring_base,
	[VU_GET_VRING_BASE] = dev_on_get_vring_base,
	[VU_SET_VRING_KICK] = dev_on_set_vring_kick,
	[VU_SET_VRING_CALL] = dev_on_set_vring_call,
	[VU_SET_VRING_ERR] = dev_on_set_vring_err,
	[VU_GET_PROTOCOL_FEATURES] = dev_on_get_protocol_features,
	[VU_SET_PROTOCOL_FEATURES] = dev_on_set_protocol_features,
	[VU_GET_QUEUE_NUM] = dev_on_get_queue_num,
	[VU_SET_VRING_ENABLE] = dev_on_set_vring_enable,
	[VU_SEND_RARP] = dev_on_send_rarp,
	[VU_NET_SET_MTU] = dev_on_net_set_mtu,
};

static struct vu_session session_of(const struct dev *dev)
{
	struct vu_session s = {
		.features_offered = dev->conf.features,
		.features_acked = dev->snap.features_acked,
		.protocol_offered = dev->conf.protocol_features,
		.protocol_acked = dev->snap.has_protocol ? dev->snap.protocol_features : 0,
		.owned = dev->snap.owned,
		.n_rings = dev->n_rings,
	};
	for (unsigned q = 0; q < dev->n_rings; q++)
		s.ring_runs |= dev->snap.ring[q].ran ? UINT32_C(1) << q : 0;
	return s;
}

// Is a log in use, or is this the message that starts one? A nack would abort QEMU 7.2 then.
static bool about_logging(const struct dev *dev, const struct dev_req *req)
{
	if (dev->log || bits_has(dev->snap.features_acked, VHOST_F_LOG_ALL))
		return true;
	if (req->row && req->row->id == VU_SET_FEATURES)
		return bits_has(req->body->u64, VHOST_F_LOG_ALL);
	return req->row && req->row->id == VU_SET_VRING_ADDR && (req->body->addr.flags & VU_VRING_F_LOG);
}

static void close_session(struct dev *dev, struct dev_reply *reply)
{
	dev_give_up(dev);
	reply->len = 0;
	reply->close = true;
}

// Tell the peer, as the row spells it, that nothing was changed.
static void refuse_message(struct dev *dev, const struct dev_req *req, enum err e, struct dev_reply *reply,
			   const struct why *why)
{
	const struct vu_hdr *hdr = &req->msg->hdr;
	bool asked = vu_ack_asked(hdr, dev->snap.has_protocol ? dev->snap.protocol_features : 0);
	enum vu_refusal how = req->row ? req->row->refusal : VU_NACK_CLOSE;
	dev_event(dev, DEV_EV_REFUSED, 0, "%s: %s", vu_name(hdr->request), why->text);
	reply->len = 0;
	if (e == DESYNC || how == VU_CLOSE || how == VU_ANSWER || (how == VU_NACK_LOG && about_logging(dev, req))) {
		close_session(dev, reply);
		return;
	}
	if (how == VU_NACK || asked)
		reply->len = vu_reply_u64(reply->bytes, hdr->request, 1);
	else if (how != VU_NACK_GO_ON)
		close_session(dev, reply);
}

static void build_reply(const struct dev *dev, const struct dev_req *req, const struct dev_txn *txn, struct dev_reply *reply)
{
	uint32_t id = req->msg->hdr.request;
	switch (req->row->reply) {
	case VU_R_ACK:
		if (vu_ack_asked(&req->msg->hdr, txn->next.has_protocol ? dev->snap.protocol_features : 0))
			reply->len = vu_reply_u64(reply->bytes, id, 0);
		break;
	case VU_R_U64:
		reply->len = vu_reply_u64(reply->bytes, id, txn->answer);
		break;
	case VU_R_STATE:
		reply->len = vu_reply_build(reply->bytes, id, &txn->state, sizeof(txn->state));
		break;
	case VU_R_LOG:
		reply->len = vu_reply_build(reply->bytes, id, &txn->log_echo, sizeof(txn->log_echo));
		break;
	case VU_R_OTHER:
		break;
	}
}

// Make it durable. A message that changes nothing writes nothing.
static enum err commit(struct dev *dev, const struct dev_req *req, const struct dev_txn *txn, const struct dev_reply *reply,
		       struct why *why)
{
	uint64_t what = snap_diff(&dev->snap, &txn->next) | (txn->rarp ? SNAP_CLAIM : 0);
	const uint8_t *claim = txn->rarp ? txn->rarp_mac : NULL;
#ifdef VRINGD_MUTANT_ACK_BEFORE_COMMIT
	if (dev->late_what)
		dev->ops->commit(dev->arg, &dev->late, dev->late_what & ~SNAP_CLAIM, dev->late_seq, NULL, 0, NULL, why);
	dev->late = txn->next;
	dev->late_what = what;
	dev->late_seq = req->msg->seq;
	(void)reply;
	(void)claim;
	return OK;
#else
	if (what == 0 && dev->unstored == 0)
		return OK;
	enum err e = dev->ops->commit(dev->arg, &txn->next, what | dev->unstored, req->msg->seq, reply->bytes, reply->len, claim, why);
	if (e == OK)
		dev->unstored = 0;
	else if (req->row->refusal == VU_ANSWER)
		dev->unstored |= what;
	else if (what == 0)
		e = OK; // it was about what is owed; the next one tries again
	return e;
#endif
}

static void run(struct dev *dev, struct dev_req *req, struct dev_reply *reply)
{
	struct dev_txn txn = { .next = dev->snap, .fd = -1 };
	struct why why = { "" };
	enum err e = handlers[req->row->id](dev, req, &txn, &why);
	if (e == OK)
		e = dev_ring_plan(dev, &txn, &why);
	if (e == OK) {
		crash_here(CRASH_msg_planned);
		build_reply(dev, req, &txn, reply);
		e = commit(dev, req, &txn, reply, &why);
		if (e != OK && req->row->refusal == VU_ANSWER) { // the answer is owed whatever happens to us
			dev_event(dev, DEV_EV_REFUSED, 0, "%s: answered, but not stored: %s", req->row->name, why.text);
			e = OK;
		}
	}
	if (e != OK) {
		dev_txn_abort(&txn);
		refuse_message(dev, req, e, reply, &why);
		return;
	}
	crash_here(CRASH_msg_committed);
	dev_apply(dev, &txn);
	crash_here(CRASH_msg_applied);
}

#ifdef VRINGD_MUTANT_NO_STORED_REPLY // seeded bug: whatever comes again is done again
#define IS_APPLIED(dev, seq) false
#else
#define IS_APPLIED(dev, seq) ((seq) <= (dev)->applied)
#endif

// A message that the process before us committed, and whose reply may not have been sent: that reply, and nothing else.
static void answer_applied(struct dev *dev, const struct dev_msg *msg, struct dev_reply *reply)
{
	const struct vu_row *row = vu_row(msg->hdr.request);
	struct vu_hdr was = msg->hdr;
	if (dev->applied_len)
		memcpy(&was, dev->applied_reply, sizeof(was));
	if (msg->seq != dev->applied || was.request != msg->hdr.request || !row) { // whoever says so has mixed something up
		dev_event(dev, DEV_EV_REFUSED, 0, "%s: message %llu is not the one that was stored as %llu",
			  vu_name(msg->hdr.request), (unsigned long long)msg->seq, (unsigned long long)dev->applied);
		close_session(dev, reply);
		return;
	}
	reply->len = dev->applied_len;
	memcpy(reply->bytes, dev->applied_reply, dev->applied_len);
	// It may have died before it let go of rings or memory that this message moved elsewhere. What it wrote there
	// last can't be found from where they are now.
	if (dev_logging(dev) && (row->payload == VU_P_ADDR || row->payload == VU_P_MEMORY))
		dev_log_fill(dev);
}

static void handle(struct dev *dev, struct dev_msg *msg, struct dev_reply *reply)
{
	crash_here(CRASH_msg_taken);
	crash_poison("message", dev->conf.port, msg->hdr.request);
	struct vu_session s = session_of(dev);
	struct vu_request vr = { msg->hdr, msg->payload, msg->n_fds, msg->fds_truncated };
	union vu_body body;
	struct why why = { "" };
	struct dev_req req = { .body = &body, .msg = msg };
	enum err e = vu_admit(&s, &vr, &req.row, &body, &req.q, &why);
	if (e == OK)
		run(dev, &req, reply);
	else
		refuse_message(dev, &req, e, reply, &why);
}

void dev_handle(struct dev *dev, struct dev_msg *msg, struct dev_reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	if (IS_APPLIED(dev, msg->seq))
		answer_applied(dev, msg, reply);
	else
		handle(dev, msg, reply);
	reply->unstored = dev->unstored != 0;
	// what a handler kept it took out; everything else is closed, on every path
	fd_reset_all(msg->fds, msg->n_fds <= VU_MAX_FDS ? msg->n_fds : VU_MAX_FDS);
}
