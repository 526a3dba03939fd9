// Learned addresses, kept over our restarts: written at most once a second, and only after something changed.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core.h"
#include "net/eth.h"

#define FLUSH_US 1000000
#define MAX_STORED 65536u

struct table {
	struct vd *vd;
	struct store_mac *mac;
	size_t n, room;
};

static void add(void *arg, const struct dp_mac *m)
{
	struct table *t = arg;
	struct port *p = vd_port_by_index(t->vd, m->port);
	if (!p || t->n == t->room)
		return;
	struct store_mac *s = &t->mac[t->n++];
	memset(s, 0, sizeof(*s));
	memcpy(s->net, m->net, sizeof(s->net));
	memcpy(s->port, p->spec.id, sizeof(s->port));
	mac_of_key(s->mac, m->mac);
	s->vlan = m->vlan;
	s->source = (uint8_t)m->source;
	s->seen_us = clock_wall_us() - m->age_ms * 1000;
	s->n_ips = (uint8_t)(m->n_ips < STORE_MAX_IPS ? m->n_ips : STORE_MAX_IPS);
	for (unsigned i = 0; i < s->n_ips; i++) {
		s->ip[i].family = m->ip[i].family;
		memcpy(s->ip[i].addr, m->ip[i].addr, sizeof(s->ip[i].addr));
	}
}

void vd_macs_flush(struct vd *vd)
{
	struct table t = { .vd = vd };
	struct why why;
	t.room = dp_macs_count(vd->dp, NULL) + 64; // those that are learned meanwhile come with the next flush
	t.room = t.room < MAX_STORED ? t.room : MAX_STORED;
	t.mac = calloc(t.room, sizeof(*t.mac));
	if (!t.mac)
		return;
	dp_macs_each(vd->dp, NULL, add, &t);
	if (store_macs_replace(vd->store, t.mac, t.n, &why) != OK)
		vd_store_failed(vd, "", &why);
	free(t.mac);
	vd_idle_soon(vd);
}

static void on_timer(void *arg)
{
	vd_macs_flush(arg);
}

void macs_changed(struct vd *vd)
{
	if (!vd->macs_timer)
		vd->macs_timer = timer_new(vd->loop, on_timer, vd);
	if (vd->macs_timer && !timer_armed(vd->macs_timer))
		timer_arm(vd->macs_timer, FLUSH_US);
}

static void restore_one(void *arg, const struct store_mac *s)
{
	struct vd *vd = arg;
	struct port *p = vd_port_find(vd, s->port);
	if (!p || strcmp(p->spec.net, s->net) != 0)
		return;
	struct dp_mac m = { .mac = mac_key(s->mac), .vlan = s->vlan, .source = (enum dp_mac_source)s->source };
	if (m.source == DP_MAC_CONFIG)
		m.source = DP_MAC_LEARNED; // what is configured now says the port itself
	m.n_ips = s->n_ips;
	for (unsigned i = 0; i < s->n_ips && i < 8; i++) {
		m.ip[i].family = s->ip[i].family;
		memcpy(m.ip[i].addr, s->ip[i].addr, sizeof(m.ip[i].addr));
	}
	dp_mac_restore(p->dp, &m);
}

void macs_restore(struct vd *vd)
{
	struct why why;
	if (store_each_mac(vd->store, restore_one, vd, &why) != OK)
		vd_store_failed(vd, "", &why);
}
