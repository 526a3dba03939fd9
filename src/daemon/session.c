// One front end's connection: a device, a message source, and the rings that the device wants in the datapath. What the device
// asks for (dev_ops) becomes true here: rows in the store, rings at the port, events.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/crash.h"
#include "daemon/core.h"
#include "daemon/msgsrc.h"
#include "guest/ledger.h"
#include "guest/vring.h"
#include "wire/vu_table.h"

// -- what the device asks for --------------------------------------------------------------------------------------------

// What the front end may count on after a restart of ours is durable before it hears that it may.
static enum err pin(struct session *s, const struct snap *next, uint64_t what, struct why *why)
{
	if (!(what & SNAP_CONN) || !next->has_features)
		return OK;
	return features_pin(s->port, next, why);
}

static enum err op_commit(void *arg, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply, uint32_t len,
			  const uint8_t *claim, struct why *why)
{
	struct session *s = arg;
	struct store_owed owed;
	enum err e = pin(s, next, what, why);
	if (e == OK && claim)
		e = identity_may_claim(s->port, claim, why);
	if (e == REFUSED)
		return e;
	if (e == OK)
		e = store_commit_owed(s->port->vd->store, next, what, seq, reply, len,
				      claim && announcer_owes(s->port, claim, &owed) ? &owed : NULL, why);
	if (e == OK)
		vd_idle_soon(s->port->vd);
	else
		vd_store_failed(s->port->vd, s->port->spec.id, why);
	return e == OK ? OK : OURS;
}

static void op_sync(void *arg)
{
	struct session *s = arg;
	dp_sync(s->port->vd->dp);
}

static void ring_over(struct session *s, unsigned q)
{
	s->live &= ~(UINT32_C(1) << q);
	s->used &= ~(UINT32_C(1) << q);
}

static void op_retract(void *arg, unsigned q, bool last)
{
	struct session *s = arg;
	struct port *p = s->port;
	s->want[q].ring = NULL;
	if (last)
		ring_over(s, q);
	if (!(s->attached & UINT32_C(1) << q))
		return;
	s->attached &= ~(UINT32_C(1) << q);
	// said before the ring goes: a frame that comes meanwhile must find out what to do
	if (q % 2 == 0)
		dp_port_rx_state(p->dp, last ? DP_RX_STOPPED : DP_RX_PAUSED);
	dp_ring_retract(p->dp, q);
}

static void op_publish(void *arg, unsigned q, struct vring *ring, int kick_fd, enum dev_run how)
{
	struct session *s = arg;
	s->want[q] = (struct want){ ring, kick_fd, how };
	s->live |= UINT32_C(1) << q;
	if (how == DEV_RUN)
		s->used |= UINT32_C(1) << q;
	else
		s->used &= ~(UINT32_C(1) << q);
	session_attach(s);
}

static void op_rarp(void *arg, const uint8_t mac[6])
{
	struct session *s = arg;
	identity_claim(s->port, mac);
}

static void on_refused(struct session *s, const char *detail)
{
	struct port *p = s->port;
	s->refused = true;
	log_rated(&p->rate, LOG_LWARN, "port %s: %s", p->spec.id, detail);
	snprintf(p->last_refusal, sizeof(p->last_refusal), "%s", detail);
	if (log_rate_allows(&p->journal_rate))
		vd_event(p->vd, p->spec.id, "port.refused", "%s", detail);
}

static void on_ring_stop(struct session *s, unsigned q)
{
	struct port *p = s->port;
	p->device.last_base[q] = dev_snap(s->dev)->ring[q].base;
	p->device.last_base_set |= UINT32_C(1) << q;
	ring_over(s, q);
	if (s->in_use && !s->used) {
		s->in_use = false;
		identity_stopped(p, s);
		s->standing->stopped_us = p->stopped_us;
		s->standing->logged = p->was_logging;
		s->standing->taking = 0;
	}
	port_device_put(p); // with each ring: a kill between two of them must not lose the first one's base
	if (!s->live)
		port_next_session(p);
}

// The base that the last stop answered is only good for a front end that comes back after it; a ring that ran since has moved on,
// and a restart on the same connection is the guest's own (a reset begins at 0).
static void on_ring_start(struct session *s, unsigned q)
{
	struct port *p = s->port;
	uint32_t base = dev_snap(s->dev)->ring[q].base, last = p->device.last_base[q];
	bool known = p->has_device && (p->device.last_base_set >> q & 1), again = s->began >> q & 1;
	s->began |= UINT32_C(1) << q;
	p->device.last_base_set &= ~(UINT32_C(1) << q);
	if (known)
		port_device_put(p);
	if (!known || again || base == last)
		return;
	log_rated(&p->rate, base ? LOG_LWARN : LOG_LINFO, "port %s: ring %u: base %u is given, %u was the last", p->spec.id, q, base, last);
	port_event(p, "store.base_differs", "ring %u: given %u, last known %u", q, base, last);
}

static void op_event(void *arg, enum dev_event ev, unsigned q, const char *detail)
{
	struct session *s = arg;
	struct port *p = s->port;
	switch (ev) {
	case DEV_EV_REFUSED:
		on_refused(s, detail);
		break;
	case DEV_EV_NEGOTIATED:
		port_event(p, "port.negotiated", "%s", detail);
		break;
	case DEV_EV_LOG_START:
		port_event(p, "migration.log_on", "%s", detail);
		migration_log_on(s);
		break;
	case DEV_EV_LOG_STOP:
		port_event(p, "migration.log_off", "%s", detail);
		migration_log_off(s);
		break;
	case DEV_EV_RING_STOP:
		on_ring_stop(s, q);
		break;
	case DEV_EV_BASE_DIFFERS:
		log_rated(&p->rate, LOG_LWARN, "port %s: ring %u: %s", p->spec.id, q, detail);
		port_event(p, "store.base_differs", "ring %u: %s", q, detail);
		break;
	case DEV_EV_RING_START:
		on_ring_start(s, q);
		break;
	case DEV_EV_RESET:
		break;
	}
}

static const struct dev_ops ops = { op_commit, op_retract, op_publish, op_sync, op_rarp, op_event };

// -- rings and the port ---------------------------------------------------------------------------------------------------

void session_attach(struct session *s)
{
	struct port *p = s->port;
	if (!s->live || p->safe)
		return;
	if (p->active && p->active != s && p->active->live)
		return; // the other front end's rings run, or rest for a moment: these wait until they are stopped
	p->active = s;
	if (s->used && !s->in_use) // before its rings: older frames go in front, and the first moments are not missed
		identity_taken(p, s);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		struct want *w = &s->want[q];
		if (!w->ring || (s->attached >> q & 1) || (s->resuming && q % 2 == 1))
			continue;
		s->attached |= UINT32_C(1) << q;
		if (q % 2 == 0 && w->how == DEV_DISCARD)
			dp_port_rx_state(p->dp, DP_RX_OFF); // disabled on purpose: nothing is kept for it
		dp_ring_publish(p->dp, q, w->ring, w->kick_fd, w->how == DEV_DISCARD);
	}
}

// -- messages ----------------------------------------------------------------------------------------------------------------

static void on_message(void *arg, struct dev_msg *msg, struct dev_reply *reply)
{
	struct session *s = arg;
	s->messages++;
	crash_poison(s->attached ? "attached" : "detached", s->port->spec.id, msg->hdr.request);
	dev_handle(s->dev, msg, reply);
	s->fatal = reply->close;
	s->unstored = reply->unstored;
	if (dev_memory_broken(s->dev))
		reply->close = true;
	port_tell(s->port);
	blamed_tried(s);
}

void session_over(struct session *s, bool clean, const char *reason)
{
	struct port *p = s->port;
	snprintf(p->cut_for, sizeof(p->cut_for), "%s", clean ? "" : reason);
	if (!clean) {
		log_rated(&p->rate, LOG_LWARN, "port %s: connection of pid %d closed: %s", p->spec.id, (int)s->pid, reason);
		if (dev_logging(s->dev))
			dev_give_up(s->dev); // whatever was written and not logged: the front end takes it all
	}
	port_event(p, "port.disconnected", "pid %d: %s", (int)s->pid, reason);
	port_session_over(p, s);
}

static void on_end(void *arg, bool clean, const char *reason)
{
	session_over(arg, clean, reason);
}

static const struct snap *on_snap(void *arg)
{
	const struct session *s = arg;
	return dev_snap(s->dev);
}

static const struct msgsrc_user user = { on_message, on_snap, on_end };

// A device is made for it as adopt says: afresh, or from an earlier worker's rows.
static struct session *make(struct port *p, int fd, struct kept_conn *kept, const struct store_connection *row, struct why *why)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s) {
		ours(why, "no memory for a session");
		return NULL;
	}
	struct port_offer offer;
	features_offer(p, &offer);
	s->port = p;
	s->suspect = kept && kept->about.deaths >= BLAME_SAFE;
	s->since_us = kept ? kept->about.since_us : clock_boot_us();
	struct dev_conf conf = { .features = offer.features, .protocol_features = offer.protocol_features,
				 .pairs = p->spec.queues, .any_memory = p->spec.memory == SPEC_MEMORY_ANY, .max_mtu = p->spec.mtu };
	memcpy(conf.port, p->spec.id, sizeof(conf.port));
	enum err e = OK;
	if (kept)
		conf.epoch = kept->id;
	else
		e = store_next_epoch(p->vd->store, &conf.epoch, why);
	s->epoch = conf.epoch;
	if (e == OK && conf.features & BIT64(VIRTIO_F_RING_PACKED))
		conf.ledgers = ledgers_of(p->vd->ledgers, conf.epoch);
	s->standing = standings_of(p->vd->standings, conf.epoch);
	if (!s->standing)
		s->standing = &s->own; // as if a dead worker had come to all that it committed
	if (s->standing == &s->own && row)
		s->own.taking = p->device.generation;
	if (e == OK && row) {
		s->dev = adopt_device(s, &conf, &ops, kept, row, why);
	} else if (e == OK) {
		s->dev = dev_new(&conf, &ops, s);
		ours(why, "no memory for a session");
	}
	if (s->dev && kept)
		s->src = msgsrc_kept_new(p->vd->loop, p->vd->kept, kept, &user, s);
	else if (s->dev)
		s->src = msgsrc_new(p->vd->loop, fd, &user, s);
	if (!s->src) {
		dev_free(s->dev);
		ledgers_drop(p->vd->ledgers, s->epoch);
		standings_drop(p->vd->standings, s->epoch);
		free(s);
		return NULL;
	}
	return s;
}

struct session *session_new(struct port *p, int fd, struct kept_conn *kept, struct why *why)
{
	return make(p, fd, kept, NULL, why);
}

// What the last worker was to note beside its commits, and may not have come to.
static void adopt_bases(struct session *s, const struct store_connection *row)
{
	struct port *p = s->port;
	struct store_device was = p->device;
	struct vu_hdr hdr = { 0 };
	struct vu_state stop = { 0 };
	memcpy(&hdr, row->reply, sizeof(hdr));
	if (row->reply_len == sizeof(hdr) + sizeof(stop) && hdr.request == VU_GET_VRING_BASE) {
		memcpy(&stop, row->reply + sizeof(hdr), sizeof(stop));
		if (stop.index < SNAP_MAX_RINGS) {
			p->device.last_base_set |= UINT32_C(1) << stop.index;
			p->device.last_base[stop.index] = stop.num;
		}
	}
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		const struct snap_ring *r = &row->snap.ring[q];
		if (r->started)
			p->device.last_base_set &= ~(UINT32_C(1) << q);
	}
	if (memcmp(&was, &p->device, sizeof(was)) != 0)
		port_device_put(p);
}

struct session *session_adopt(struct port *p, struct kept_conn *kept, const struct store_connection *row, struct why *why)
{
	struct session *s = make(p, -1, kept, row, why);
	if (!s)
		return NULL;
	s->pid = kept->about.pid;
	s->uid = kept->about.uid;
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (row->snap.ring[q].started)
			s->began |= UINT32_C(1) << q;
	s->messages = kept->about.done;
	adopt_bases(s, row);
	return s;
}

// The guest saw nothing: it is where it was, nobody is told, nothing is counted as a start. Transmit rings are left for
// session_resume_tx: what a guest sends must find all its destinations.
void session_resume(struct session *s)
{
	s->resuming = true;
	dev_adopt_run(s->dev);
	s->had = s->used != 0;
}

void session_resume_tx(struct session *s)
{
	s->resuming = false;
	if (s->port->safe)
		return;
	session_attach(s);
	if (s->standing->ran && !s->live && !s->port->active)
		identity_resume_stopped(s->port, s);
	else if (!s->port->active)
		dp_port_rx_state(s->port->dp, DP_RX_OFF);
}

// While it was not, frames for the guest were held.
void session_trusted(struct session *s)
{
	flight_take(FLIGHT_ADOPTION, s->epoch, 0, s->port->spec.id);
	s->resuming = s->had;
	s->standing->ran |= s->had;
	session_attach(s);
	session_resume_tx(s);
	flight_done();
}

void session_free(struct session *s)
{
	struct port *p = s->port;
	struct why why;
	if (s->attached)
		dp_port_rx_state(p->dp, DP_RX_STOPPED);
	blamed_tried(s);
	migration_closed(s); // reads the device's counters
	dev_free(s->dev); // retracts its rings
	ledgers_drop(p->vd->ledgers, s->epoch);
	standings_drop(p->vd->standings, s->epoch);
	msgsrc_free(s->src); // before its rows: a connection without rows is taken for a young one
	if (store_connection_end(p->vd->store, p->spec.id, s->epoch, &why) != OK)
		vd_store_failed(p->vd, p->spec.id, &why);
	vd_idle_soon(p->vd);
	free(s);
}

void session_close(struct session *s, const char *reason)
{
	session_over(s, false, reason);
}

// -- looking at it -------------------------------------------------------------------------------------------------------------

void session_info(const struct session *s, struct session_info *out)
{
	const struct snap *snap = dev_snap(s->dev);
	memset(out, 0, sizeof(*out));
	out->active = s->port->active == s;
	out->waiting = s->live && s->port->active != s;
	out->pid = s->pid ? (int)s->pid : -1;
	out->uid = s->uid;
	out->epoch = s->epoch;
	out->since_us = s->since_us;
	out->messages = s->messages;
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q += 2)
		out->queues_used += snap->ring[q].started || snap->ring[q + 1].started;
	out->rings_running = (unsigned)__builtin_popcount(s->attached & s->used);
}

const struct dev *session_dev(const struct session *s)
{
	return s->dev;
}

bool session_ring_published(const struct session *s, unsigned q)
{
	return q < SNAP_MAX_RINGS && (s->attached >> q & 1);
}
