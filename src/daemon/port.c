// A configured port: its place in the datapath, its socket, its sessions, its state.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "daemon/msgsrc.h"

static void on_hold_timer(void *arg)
{
	struct port *p = arg;
	dp_hold_expire(p->dp, clock_boot_us());
	if (dp_hold_level(p->dp).held == 0 && p->active == NULL)
		dp_port_rx_state(p->dp, DP_RX_OFF); // nobody came for it: from here on nothing is kept
	port_arm_hold(p);
}

void port_arm_hold(struct port *p)
{
	migration_hold_looked(p);
	uint64_t due = dp_hold_due(p->dp), now = clock_boot_us();
	if (due == 0)
		timer_cancel(p->hold_timer);
	else
		timer_arm(p->hold_timer, due > now ? due - now + 1000 : 1000);
}

void port_dp_conf(const struct port_spec *s, struct dp_port_conf *out)
{
	static const enum dp_kind kinds[] = { [SPEC_VHOST_USER] = DP_VHOST, [SPEC_TAP] = DP_TAP, [SPEC_NULL] = DP_NULL };
	memset(out, 0, sizeof(*out));
	memcpy(out->id, s->id, sizeof(out->id));
	memcpy(out->net, s->net, sizeof(out->net));
	memcpy(out->group, s->group, sizeof(out->group));
	memcpy(out->guest, s->guest, sizeof(out->guest));
	out->kind = kinds[s->kind];
	out->max_macs = s->max_macs;
	out->filter_mac = s->filter == SPEC_FILTER_MAC;
	memcpy(out->macs, s->macs, sizeof(out->macs));
	out->n_macs = s->n_macs;
	out->hold_ms = s->hold_ms;
	out->hold_bytes = s->hold_bytes;
	out->rate_in = s->rate_in;
	out->rate_out = s->rate_out;
	out->tap_fd = -1;
}

// Takes the descriptor; spec.fd stays as it was given, to be compared with.
static enum err open_tap(struct port *p, struct why *why)
{
	struct dp_port_conf conf;
	struct dp_port *dp;
	struct port *other = tap_owner(p);
	if (other)
		return refuse(why, "tap %s: port '%s' has it already", p->spec.ifname, other->spec.id);
	port_dp_conf(&p->spec, &conf);
	conf.tap_fd = p->spec.fd >= 0 ? p->spec.fd : tap_kept(p, why);
	if (conf.tap_fd < 0 || (p->spec.fd >= 0 && tap_check(p->spec.fd, why) != OK))
		return REFUSED;
	enum err e = dp_port_add(p->vd->dp, &conf, &dp, why);
	if (e != OK && p->spec.fd < 0)
		fd_reset(&conf.tap_fd);
	if (e != OK)
		return e;
	if (p->dp) { // it stood for a tap that was missing, or its tap is gone
		dp_port_del(p->vd->dp, p->dp);
		free(p->known);
		p->known = NULL;
		p->n_known = 0;
		macs_changed(p->vd);
	}
	p->dp = dp;
	return OK;
}

// A place in the datapath without a way in or out, for a tap that is not there.
static enum err hold_place(struct port *p, struct why *why)
{
	struct dp_port_conf conf;
	port_dp_conf(&p->spec, &conf);
	if (conf.kind == DP_TAP)
		conf.kind = DP_VHOST;
	return p->dp ? OK : dp_port_add(p->vd->dp, &conf, &p->dp, why);
}

enum err port_open(struct port *p, struct why *why)
{
	if (p->spec.kind == SPEC_TAP && p->parked[0])
		return hold_place(p, why);
	if (p->spec.kind == SPEC_TAP)
		return open_tap(p, why);
	if (p->spec.kind != SPEC_VHOST_USER)
		return OK;
	port_close_socket(p); // what a try before left
	return port_open_socket(p, why);
}

static void on_reopen(void *arg)
{
	struct port *p = arg;
	struct why why;
	if (port_open(p, &why) == OK) {
		log_info("port %s: it could be opened now", p->spec.id);
		p->failed.text[0] = '\0';
		p->reopens = 0;
	} else {
		p->failed = why;
		p->reopens += p->reopens < 4;
		timer_arm(p->reopen, REOPEN_FIRST_US << p->reopens);
	}
	port_tell(p);
}

static bool keep_failed(struct port *p, const struct why *why)
{
	struct why ignored;
	if (!p->vd->keep_failed || hold_place(p, &ignored) != OK)
		return false;
	p->failed = *why;
	log_err("port %s: failed: %s", p->spec.id, why->text);
	return true;
}

void vd_keep_failed(struct vd *vd, bool on)
{
	vd->keep_failed = on;
}

struct port *port_new(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why)
{
	struct port *p = calloc(1, sizeof(*p));
	if (!p) {
		ours(why, "no memory for a port");
		return NULL;
	}
	p->vd = vd;
	p->spec = *spec;
	p->origin = origin;
	p->listen_fd = -1;
	p->told = (enum port_state)-1;
	p->ends_daemon = vd->end_with_port && strcmp(vd->end_with_port, spec->id) == 0;
	blamed_port_new(p);
	p->hold_timer = timer_new(vd->loop, on_hold_timer, p);
	p->reopen = timer_new(vd->loop, on_reopen, p);
	enum err e = p->hold_timer && p->reopen ? features_check(spec, why) : ours(why, "no memory");
	if (e == OK && spec->kind != SPEC_TAP)
		e = hold_place(p, why);
	if (e == OK && vd->adopting && adopt_expects(p)) // until its rings are back: a tap may be there before
		dp_port_rx_state(p->dp, DP_RX_PAUSED);
	if (e == OK && spec->kind == SPEC_VHOST_USER) {
		struct why ignored;
		if (store_device_get(vd->store, spec->id, &p->device, &p->has_device, &ignored) != OK)
			p->has_device = false;
	}
	if (e == OK && (e = port_open(p, why)) != OK && keep_failed(p, why))
		e = OK;
	if (e != OK) {
		port_free(p);
		return NULL;
	}
	port_tell(p);
	return p;
}

void port_free(struct port *p)
{
	port_close_socket(p); // unreachable first
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i]) {
			if (dev_logging(p->session[i]->dev))
				dev_give_up(p->session[i]->dev);
			session_free(p->session[i]);
		}
	migrations_free(p);
	timer_free(p->hold_timer);
	timer_free(p->reopen);
	if (p->dp)
		dp_port_del(p->vd->dp, p->dp);
	free(p->known);
	free(p->shown_path);
	free(p);
}

// -- sessions ------------------------------------------------------------------------------------------------------------

static bool peer_ok(struct port *p, const struct ucred *peer)
{
	if (p->spec.peer_uid < 0 || peer->uid == p->spec.peer_uid || peer->uid == 0)
		return true;
	log_rated(&p->rate, LOG_LWARN, "port %s: front end of uid %u refused (peer-uid=%lld)", p->spec.id, (unsigned)peer->uid,
		  (long long)p->spec.peer_uid);
	return false;
}

static unsigned free_slot(const struct port *p)
{
	unsigned slot = 0;
	while (slot < PORT_MAX_SESSIONS && p->session[slot])
		slot++;
	return slot;
}

static void bury_dead(struct port *p)
{
	for (unsigned i = PORT_MAX_SESSIONS; i-- > 0;)
		if (p->session[i] && msgsrc_hung_up(p->session[i]->src))
			session_over(p->session[i], true, "closed by the front end");
}

bool port_full(const struct port *p)
{
	return free_slot(p) == PORT_MAX_SESSIONS;
}

void port_add_session(struct port *p, struct session *s)
{
	p->session[free_slot(p)] = s;
}

static bool take_connection(struct port *p, int fd, struct kept_conn *kept, const struct ucred *peer)
{
	unsigned slot = free_slot(p);
	if (slot >= p->spec.sessions) { // one of them may be gone, with its end not read yet
		bury_dead(p);
		slot = free_slot(p);
	}
	struct why why = { "" };
	struct session *s = NULL;
	if (slot >= p->spec.sessions || slot == PORT_MAX_SESSIONS)
		log_rated(&p->rate, LOG_LWARN, "port %s: front end of pid %d closed: %u are connected already (sessions=%u)", p->spec.id,
			  (int)peer->pid, slot, p->spec.sessions);
	else if (p->parked[0])
		log_rated(&p->rate, LOG_LWARN, "port %s: front end of pid %d closed: the port is parked: %s", p->spec.id, (int)peer->pid,
			  p->parked);
	else if (peer_ok(p, peer) && !(s = session_new(p, fd, kept, &why)))
		log_rated(&p->rate, LOG_LERR, "port %s: front end of pid %d closed: %s", p->spec.id, (int)peer->pid, why.text);
	if (!s) {
		if (p->spec.mode == SPEC_CLIENT && p->retry && !p->parked[0])
			timer_arm(p->retry, 1000000);
		return false;
	}
	s->pid = peer->pid;
	s->uid = peer->uid;
	port_add_session(p, s);
	port_event(p, "port.connected", "pid %d uid %u", (int)peer->pid, (unsigned)peer->uid);
	port_tell(p);
	return true;
}

void port_on_connection(struct port *p, int fd)
{
	struct ucred peer = { .pid = 0, .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	if (p->vd->kept) { // it comes back as one of the keeper's
		kept_connected(p->vd->kept, p->spec.id, fd);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (!take_connection(p, fd, NULL, &peer))
		fd_reset(&fd);
}

void port_on_kept(struct port *p, struct kept_conn *c)
{
	struct ucred peer = { .pid = c->about.pid, .uid = c->about.uid };
	if (take_connection(p, -1, c, &peer))
		return;
	kept_close(p->vd->kept, c);
	port_may_end_daemon(p);
}

void port_next_session(struct port *p)
{
	if (p->active && p->active->live)
		return;
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i] && p->session[i] != p->active && p->session[i]->live) {
			session_attach(p->session[i]);
			return;
		}
}

void port_device_put(struct port *p)
{
	struct why why;
	if (p->has_device && store_device_put(p->vd->store, &p->device, &why) != OK)
		vd_store_failed(p->vd, p->spec.id, &why);
}

static void end(void *arg)
{
	loop_stop(arg);
}

void port_may_end_daemon(struct port *p)
{
	if (p->ends_daemon && !p->session[0] && p->listen_fd < 0)
		loop_defer(p->vd->loop, end, p->vd->loop); // the loop may not run yet
}

void port_session_over(struct port *p, struct session *s)
{
	bool ran = s->in_use, logged = bits_has(dev_snap(s->dev)->features_acked, VHOST_F_LOG_ALL);
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i] == s)
			p->session[i] = NULL;
	if (p->session[0] == NULL) { // oldest first
		p->session[0] = p->session[1];
		p->session[1] = NULL;
	}
	if (ran)
		p->lost_pid = s->pid;
	p->refused = s->fatal || (s->refused && !s->standing->ran && !p->cut_for[0]);
	session_free(s);
	if (p->active == s)
		p->active = NULL;
	if (ran)
		identity_lost(p, logged);
	port_next_session(p);
	port_arm_hold(p);
	port_tell(p);
	if (p->retry && p->spec.mode == SPEC_CLIENT && !p->session[0])
		timer_arm(p->retry, 100000);
	port_may_end_daemon(p);
}

// -- accessors ------------------------------------------------------------------------------------------------------------------

const struct port_spec *port_spec(const struct port *p)
{
	return &p->spec;
}

const char *port_id(const struct port *p)
{
	return p->spec.id;
}

enum vd_origin port_origin(const struct port *p)
{
	return p->origin;
}

void port_adopt(struct port *p)
{
	struct why why;
	if (store_port_forget(p->vd->store, p->spec.id, &why) != OK)
		vd_store_failed(p->vd, p->spec.id, &why); // it would be back one day as what it was: it stays that
	else
		p->origin = VD_ORIGIN_CONFIG;
}

const char *port_path(const struct port *p)
{
	return p->shown_path ? p->shown_path : p->path;
}

struct dp_port *port_dp(const struct port *p)
{
	return p->dp;
}

bool port_device(const struct port *p, struct store_device *out)
{
	*out = p->device;
	return p->has_device;
}

void port_offer(const struct port *p, struct port_offer *out)
{
	features_offer(p, out);
}

const char *port_last_refusal(const struct port *p)
{
	return p->last_refusal;
}

unsigned port_sessions(const struct port *p, const struct session **out)
{
	unsigned n = 0;
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i])
			out[n++] = p->session[i];
	return n;
}
