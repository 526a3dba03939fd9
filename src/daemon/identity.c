// Who serves a guest. A guest appears where its rings start: at the same connection again, at the other front end of the same
// port, or at another port with the same guest=. Its addresses and the frames that were held for it go there, in that order of
// steps: addresses first (newer frames then queue up behind), held frames after, announcement last.
#include <string.h>

#include "base/clock.h"
#include "daemon/core.h"
#include "net/eth.h"

static bool same_guest(const struct port *a, const struct port *b)
{
	return a != b && a->spec.guest[0] && strcmp(a->spec.guest, b->spec.guest) == 0 && strcmp(a->spec.net, b->spec.net) == 0;
}

static bool runs(const struct port *p)
{
	return p->active && p->active->attached != 0;
}

static void configured_macs(struct port *p)
{
	for (unsigned i = 0; i < p->spec.n_macs; i++)
		dp_mac_claim(p->dp, p->spec.macs[i], 0, DP_MAC_CONFIG);
}

void identity_running(struct port *p, struct session *s)
{
	struct vd *vd = p->vd;
	struct port *from = NULL;
	bool logged = p->was_logging;
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *o = vd->port[i];
		if (!same_guest(o, p))
			continue;
		if (runs(o)) {
			log_warn("port %s: guest %s runs at port %s, too; it is taken to be here when that one stops", p->spec.id,
				 p->spec.guest, o->spec.id);
			continue;
		}
		if (o->stopped_us && (!from || o->stopped_us > from->stopped_us))
			from = o;
		dp_mac_move(o->dp, p->dp);
		dp_hold_move(o->dp, p->dp);
	}
	if (from) {
		logged = logged || from->was_logging;
		from->was_logging = false;
		from->stopped_us = 0;
		dp_port_rx_state(from->dp, DP_RX_OFF);
		vd_event(vd, p->spec.id, "migration.arrived", "guest %s came from port %s", p->spec.guest, from->spec.id);
	}
	configured_macs(p);
	dp_port_watch_first(p->dp);
	dp_hold_move(p->dp, p->dp);
	migration_running(p, s, from ? from : p->stopped_us ? p : NULL);
	p->was_logging = false;
	p->stopped_us = 0;
	if (from || logged)
		announcer_start_all(p);
	macs_changed(vd);
}

void identity_stopped(struct port *p, struct session *s)
{
	struct vd *vd = p->vd;
	p->stopped_us = clock_boot_us();
	dp_port_rx_state(p->dp, DP_RX_STOPPED);
	migration_stopped(s);
	vd_event(vd, p->spec.id, "migration.stopped", "rings stopped; frames are held for %u ms", p->spec.hold_ms);
	// another front end of this port, or another port of the guest, may run or wait already
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i] && p->session[i] != s)
			session_attach(p->session[i]);
	for (unsigned i = 0; i < vd->n_ports; i++)
		if (same_guest(vd->port[i], p) && runs(vd->port[i])) {
			identity_running(vd->port[i], vd->port[i]->active);
			break;
		}
}

static struct port *holder_of(struct port *p, uint64_t mac);

void identity_claim(struct port *p, const uint8_t mac[6])
{
	uint64_t key = mac_key(mac);
	struct port *from = holder_of(p, key);
	if (!dp_mac_claim(p->dp, key, 0, DP_MAC_CLAIMED)) {
		log_rated(&p->rate, LOG_LWARN, "port %s: SEND_RARP for an address that is configured at another port", p->spec.id);
		return;
	}
	if (from && from != p) {
		dp_hold_move_mac(from->dp, p->dp, key);
		announcer_cancel(from, mac); // the later claim is the true one
	}
	migration_announced(p, "rarp", mac, 0);
	announcer_start(p, mac);
	macs_changed(p->vd);
}

struct find {
	uint64_t mac;
	unsigned port;
	bool found;
};

static void find_mac(void *arg, const struct dp_mac *m)
{
	struct find *f = arg;
	if (m->mac == f->mac) {
		f->found = true;
		f->port = m->port;
	}
}

static struct port *holder_of(struct port *p, uint64_t mac)
{
	struct find f = { .mac = mac };
	for (unsigned i = 0; i < p->vd->n_ports; i++) {
		struct port *o = p->vd->port[i];
		if (strcmp(o->spec.net, p->spec.net) != 0)
			continue;
		dp_macs_each(p->vd->dp, o->dp, find_mac, &f);
		if (f.found)
			return o;
	}
	return NULL;
}
