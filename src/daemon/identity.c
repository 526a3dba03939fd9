// Who serves a guest. A guest appears where its rings start: at the same connection again, at the other front end of the same
// port, or at another port with the same guest=; without guest= and mac=, where SEND_RARP or the first frame says. Its addresses
// and the frames that were held for it go there, in that order of steps: addresses first (newer frames then queue up behind),
// held frames after, announcement last.
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "daemon/core.h"
#include "net/eth.h"

static bool same_guest(const struct port *a, const struct port *b)
{
	return a != b && a->spec.guest[0] && strcmp(a->spec.guest, b->spec.guest) == 0 && strcmp(a->spec.net, b->spec.net) == 0;
}

static bool runs(const struct port *p)
{
	return p->active && p->active->in_use;
}

bool identity_runs(const struct port *p)
{
	return runs(p);
}

static bool has_configured(const struct port *p, uint64_t mac)
{
	for (unsigned i = 0; i < p->spec.n_macs; i++)
		if (p->spec.macs[i] == mac)
			return true;
	return false;
}

struct find {
	struct port *of;
	struct port *holder; // of the address, in of's net; NULL: nobody
	uint16_t vlan[16]; // tags that the holder uses with it
	unsigned n_vlans;
};

static void find_mac(void *arg, const struct dp_mac *m)
{
	struct find *f = arg;
	struct port *p = vd_port_by_index(f->of->vd, m->port);
	if (!p)
		return;
	if (f->holder == NULL || p != f->of)
		f->holder = p;
	if (m->vlan && f->n_vlans < ARRAY_LEN(f->vlan))
		f->vlan[f->n_vlans++] = m->vlan;
}

static void find_holder(struct find *f, struct port *of, uint64_t mac)
{
	memset(f, 0, sizeof(*f));
	f->of = of;
	dp_macs_of(of->dp, mac, find_mac, f);
}

static void count_mac(void *arg, const struct dp_mac *m)
{
	(void)m;
	++*(unsigned *)arg;
}

static unsigned macs_behind(const struct port *p)
{
	unsigned n = 0;
	dp_macs_each(p->vd->dp, p->dp, count_mac, &n);
	return n;
}

// The addresses of mac= are the guest's wherever it runs: two ports may name the same one.
static void claim_configured(struct port *p)
{
	for (unsigned i = 0; i < p->spec.n_macs; i++) {
		struct find f;
		find_holder(&f, p, p->spec.macs[i]);
		if (f.holder && f.holder != p && runs(f.holder) && has_configured(f.holder, p->spec.macs[i])) {
			log_rated(&p->rate, LOG_LWARN, "port %s: an address of mac= runs at port %s, too, and stays there", p->spec.id,
				  f.holder->spec.id);
			continue;
		}
		dp_mac_claim(p->dp, p->spec.macs[i], 0, DP_MAC_CONFIG);
		if (f.holder && f.holder != p && !runs(f.holder)) {
			uint8_t mac[6];
			mac_of_key(mac, p->spec.macs[i]);
			dp_sync(p->vd->dp);
			dp_hold_move_mac(f.holder->dp, p->dp, p->spec.macs[i]);
			announcer_cancel(f.holder, mac);
		}
	}
}

static void came(struct port *from, struct port *to)
{
	memcpy(to->came_from, from->spec.id, sizeof(to->came_from));
	migration_moved(from, to);
}

static void pass_on(struct port *from, struct port *to)
{
	announcer_cancel(from, NULL);
	dp_mac_move(from->dp, to->dp);
	dp_hold_move(from->dp, to->dp);
	if (!runs(from))
		dp_port_rx_state(from->dp, DP_RX_OFF);
	from->home = false;
}

// Which port the guest comes from: the one of the same guest= that stopped last. All others hand over what they may have.
static struct port *take_from_others(struct port *p)
{
	struct vd *vd = p->vd;
	struct port *from = NULL;
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *o = vd->port[i];
		if (!same_guest(o, p))
			continue;
		if (runs(o)) {
			log_rated(&p->rate, LOG_LWARN, "port %s: guest %s runs at port %s, too; it is taken to be here when that one stops",
				  p->spec.id, p->spec.guest, o->spec.id);
			continue;
		}
		if (o->stopped_us && (!from || o->stopped_us > from->stopped_us))
			from = o;
		pass_on(o, p);
	}
	return from;
}

static void running(struct port *p, struct session *s)
{
	bool logged = p->was_logging, fresh = !p->home && p->spec.n_macs > 0;
	// the addresses point here before the first ring is in: a frame that comes in between waits for it
	dp_port_rx_state(p->dp, DP_RX_PAUSED);
	struct port *from = take_from_others(p);
	if (from) {
		vd_event(p->vd, p->spec.id, "migration.moved", "guest %s came from port %s", p->spec.guest, from->spec.id);
		from->was_logging = false;
	}
	claim_configured(p);
	dp_port_watch_first(p->dp);
	dp_hold_move(p->dp, p->dp);
	struct port *told = p->came_from[0] ? vd_port_find(p->vd, p->came_from) : NULL;
	if (from)
		memcpy(p->came_from, from->spec.id, sizeof(p->came_from));
	migration_running(p, s, from ? from : told ? told : p->stopped_us ? p : NULL);
	if (from)
		from->stopped_us = 0;
	p->was_logging = false;
	p->stopped_us = 0;
	p->home = true;
	p->last_refusal[0] = '\0';
	if (from || logged || fresh)
		announcer_start_all(p);
	macs_changed(p->vd);
}

static void resumed(struct port *p)
{
	dp_port_rx_state(p->dp, DP_RX_PAUSED);
	claim_configured(p);
	dp_hold_move(p->dp, p->dp); // what the last worker held for it
	p->home = true;
	p->lost_any = false;
	p->stopped_us = 0;
}

// A taking of the rings counts once, whichever worker comes to write it.
static void count_taking(struct port *p, struct standing *st)
{
	if (!st->taking)
		st->taking = p->device.generation + 1;
	st->ran = true;
	st->stopped_us = 0;
	if (p->device.generation >= st->taking)
		return;
	p->device.generation = st->taking;
	port_device_put(p);
}

// A worker before us may have died between the commit that starts the rings and this.
void identity_taken(struct port *p, struct session *s)
{
	const struct standing *st = s->standing;
	s->in_use = true;
	if (s->resuming && st->taking) {
		resumed(p);
	} else {
		if (s->resuming && st->stopped_us) {
			p->stopped_us = st->stopped_us;
			p->was_logging = st->logged;
		}
		running(p, s);
	}
	count_taking(p, s->standing);
}

// Its frames wait for it as before. A worker that died in the middle of its stop left no time.
void identity_resume_stopped(struct port *p, struct session *s)
{
	struct standing *st = s->standing;
	if (!st->stopped_us) {
		st->stopped_us = clock_boot_us();
		st->logged = bits_has(dev_snap(s->dev)->features_acked, VHOST_F_LOG_ALL);
	}
	st->taking = 0;
	p->active = s;
	p->stopped_us = st->stopped_us;
	p->was_logging = st->logged;
	dp_port_rx_state(p->dp, DP_RX_STOPPED);
	port_arm_hold(p);
}

// Nobody runs the guest here any more. If it runs at another port already, all goes there at once.
static void gone(struct port *p, bool logged)
{
	struct vd *vd = p->vd;
	p->stopped_us = clock_boot_us();
	p->was_logging = logged;
	p->came_from[0] = '\0';
	dp_port_rx_state(p->dp, DP_RX_STOPPED);
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *o = vd->port[i];
		if (!same_guest(o, p) || !runs(o))
			continue;
		pass_on(p, o);
		migration_moved(p, o);
		p->was_logging = false;
		p->stopped_us = 0;
		announcer_start_all(o);
		macs_changed(vd);
		return;
	}
}

void identity_stopped(struct port *p, struct session *s)
{
	migration_stopped(s);
	if (log_rate_allows(&p->journal_rate))
		vd_event(p->vd, p->spec.id, "hold.started", "rings stopped; frames are held for %u ms", p->spec.hold_ms);
	gone(p, bits_has(dev_snap(s->dev)->features_acked, VHOST_F_LOG_ALL));
}

void identity_lost(struct port *p, bool logged)
{
	gone(p, logged);
}

enum err identity_may_claim(struct port *p, const uint8_t mac[6], struct why *why)
{
	uint64_t key = mac_key(mac);
	struct find f;
	char text[18];
	if (!mac_key_unicast(key))
		return refuse(why, "no host can have %s", mac_format(mac, text));
	find_holder(&f, p, key);
	if (f.holder != p && macs_behind(p) >= p->spec.max_macs)
		return refuse(why, "%s: max-macs=%u addresses are here already", mac_format(mac, text), p->spec.max_macs);
	if (f.holder && f.holder != p && has_configured(f.holder, key) && !has_configured(p, key) && !same_guest(f.holder, p))
		return refuse(why, "%s is port %s's by its mac=", mac_format(mac, text), f.holder->spec.id);
	return OK;
}

// SEND_RARP: the front end says that this address is here now. identity_may_claim let it through, and it is committed.
void identity_claim(struct port *p, const uint8_t mac[6])
{
	uint64_t key = mac_key(mac);
	struct find f;
	char text[18];
	find_holder(&f, p, key);
	bool ours = has_configured(p, key) || (f.holder && same_guest(f.holder, p));
	if (!dp_mac_claim(p->dp, key, 0, ours ? DP_MAC_CONFIG : DP_MAC_CLAIMED)) {
		log_rated(&p->rate, LOG_LWARN, "port %s: SEND_RARP for %s, which is configured at another port", p->spec.id,
			  mac_format(mac, text));
		return;
	}
	for (unsigned i = 0; i < f.n_vlans; i++) // the tags that the guest uses come along
		dp_mac_claim(p->dp, key, f.vlan[i], DP_MAC_CLAIMED);
	if (!runs(p)) // its rings start in a moment: frames that come before wait for them
		dp_port_rx_state(p->dp, DP_RX_STOPPED);
	if (f.holder && f.holder != p) {
		dp_sync(p->vd->dp);
		dp_hold_move_mac(f.holder->dp, p->dp, key);
		announcer_cancel(f.holder, mac); // the later claim is the true one
		if (!runs(f.holder) && f.holder->stopped_us)
			came(f.holder, p);
	}
	port_arm_hold(p);
	announcer_claimed(p, mac, f.holder != p);
	macs_changed(p->vd);
}

// Without guest= and SEND_RARP: the guest was at a port whose rings stopped, and a frame of it came in here. What is held stays
// where it is (anybody can send a frame), but the network is told.
void identity_learned(struct port *p, struct port *from, const uint8_t mac[6])
{
	announcer_cancel(from, mac);
	from->home = false;
	came(from, p);
	announcer_claimed(p, mac, true);
}
