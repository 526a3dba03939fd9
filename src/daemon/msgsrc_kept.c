// Messages that the keeper passes on. Order: the message is committed and applied, then "done" goes to the keeper, which then answers. A
// worker that dies before leaves it to the next one.
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "base/fd.h"
#include "daemon/msgsrc.h"
#include "flight/flight.h"
#include "loop/loop.h"

struct kept_src {
	struct msgsrc base;
	struct kept *kept;
	struct kept_conn *conn; // NULL: the keeper has closed it
	struct kp_ref told[KP_MAX_KEPT]; // what the keeper keeps
	unsigned n_told;
	struct timer *late;
};

static void release(struct msgsrc *m)
{
	struct kept_src *s = (struct kept_src *)m;
	timer_free(s->late);
	if (s->conn)
		kept_close(s->kept, s->conn);
	free(s);
}

static unsigned refs_of(const struct snap *snap, struct kp_ref out[KP_MAX_KEPT])
{
	struct snap_name name[SNAP_MAX_NAMES];
	unsigned n = snap_names(snap, name);
	memset(out, 0, n * sizeof(out[0]));
	for (unsigned i = 0; i < n; i++) {
		out[i].seq = name[i].seq;
		out[i].place = name[i].place;
	}
	return n;
}

static_assert(SNAP_MAX_NAMES <= KP_MAX_KEPT, "all that a snapshot names can be kept");

static void done(struct kept_src *s, const struct dev_msg *msg, const struct dev_reply *reply, bool brought)
{
	const struct snap *snap = s->base.user->snap(s->base.arg);
	struct kp_ref ref[KP_MAX_KEPT];
	struct kp_done d;
	memset(&d, 0, sizeof(d));
	unsigned n = refs_of(snap, ref);
	bool differs = brought || n != s->n_told || memcmp(ref, s->told, n * sizeof(ref[0])) != 0;
	d.reply_len = reply->len;
	memcpy(d.reply, reply->bytes, reply->len);
	d.n_keep = differs ? n : 0;
	if (snap->has_log) {
		d.log_from = snap->log_from;
		d.log_offset = snap->log_offset;
		d.log_bytes = snap->log_size;
	}
	memcpy(s->told, ref, n * sizeof(ref[0]));
	s->n_told = n;
	uint8_t flags = (uint8_t)((reply->close ? KP_HANG_UP : 0) | (differs ? KP_KEEP : 0) | (reply->unstored ? KP_BEHIND : 0));
	kept_done(s->kept, s->conn, msg->seq, flags, &d, ref);
}

static void on_message(void *arg, struct kp_packet *p)
{
	struct kept_src *s = arg;
	struct dev_msg msg = { .seq = p->head.seq, .payload = p->body + sizeof(msg.hdr), .fds_truncated = p->fds_lost };
	struct dev_reply reply;
	memcpy(&msg.hdr, p->body, sizeof(msg.hdr));
	for (unsigned i = 0; i < VU_MAX_FDS; i++) {
		msg.fds[i] = fd_take(&p->fds[i]);
		msg.n_fds += msg.fds[i] >= 0;
	}
	bool brought = msg.n_fds > 0;
	s->base.inside = true;
	flight_take(FLIGHT_MESSAGE, s->conn->id, msg.seq, s->conn->about.port);
	s->base.user->message(s->base.arg, &msg, &reply);
	if (!s->base.dead) {
		done(s, &msg, &reply, brought);
		crash_here(CRASH_msg_done);
		if (reply.close) { // the keeper closes it when the reply is out
			kept_forget(s->kept, s->conn);
			s->conn = NULL;
			s->base.user->end(s->base.arg, false, "refused, see above");
		}
	}
	flight_done();
	s->base.inside = false;
	if (s->base.dead)
		release(&s->base);
}

static void on_gone(void *arg, bool clean, const char *reason)
{
	struct kept_src *s = arg;
	s->conn = NULL;
	s->base.user->end(s->base.arg, clean, reason);
}

static const struct kept_sink sink = { on_message, on_gone };

// The message that an earlier worker left undone: not before everything else is taken over.
static void on_late(void *arg)
{
	struct kept_src *s = arg;
	struct kp_packet *p = s->conn->pending;
	s->conn->pending = NULL;
	s->base.waits = false;
	on_message(s, p);
	kp_drop(p);
	free(p);
}

struct msgsrc *msgsrc_kept_new(struct loop *loop, struct kept *k, struct kept_conn *c, const struct msgsrc_user *user, void *arg)
{
	struct kept_src *s = calloc(1, sizeof(*s));
	if (!s || (c->pending && !(s->late = timer_new(loop, on_late, s)))) {
		free(s);
		return NULL;
	}
	s->base = (struct msgsrc){ .free = release, .user = user, .arg = arg, .waits = c->pending != NULL };
	s->kept = k;
	s->conn = c;
	s->n_told = KP_MAX_KEPT + 1; // an earlier worker may have died between its commit and its word: said anew with the first message
	kept_attach(k, c, &sink, s);
	if (s->late)
		timer_arm(s->late, 0);
	return &s->base;
}
