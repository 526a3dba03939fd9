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

static void put_ip(struct store_mac *s, const struct ip_addr *ip)
{
	if (s->n_ips == STORE_MAX_IPS)
		return;
	s->ip[s->n_ips].family = ip->family;
	memcpy(s->ip[s->n_ips++].addr, ip->addr, sizeof(ip->addr));
}

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
	for (unsigned i = 0; i < m->n_ips; i++)
		put_ip(s, &m->ip[i]);
	// A row has no place to say that an address is a router's: such a one is in it twice. All are in before any is twice.
	for (unsigned i = 0; i < m->n_ips; i++)
		if (m->ip[i].router == IP_ROUTER_YES)
			put_ip(s, &m->ip[i]);
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

// -- guests that moved without a word --------------------------------------------------------------------------------------
#define LOOK_EVERY_US 50000
#define LOOK_MOST 1024

struct list {
	uint64_t key[LOOK_MOST];
	unsigned n;
};

static void list_add(void *arg, const struct dp_mac *m)
{
	struct list *l = arg;
	if (l->n < LOOK_MOST)
		l->key[l->n++] = m->mac << 12 | m->vlan;
}

static bool knows(const struct port *p, uint64_t key)
{
	for (unsigned i = 0; i < p->n_known; i++)
		if (p->known[i] == key)
			return true;
	return false;
}

// The port of key's guest whose rings stopped last, if any.
static struct port *stopped_holder(struct port *p, uint64_t key)
{
	struct port *from = NULL;
	for (unsigned i = 0; i < p->vd->n_ports; i++) {
		struct port *o = p->vd->port[i];
		if (o != p && o->stopped_us && !identity_runs(o) && strcmp(o->spec.net, p->spec.net) == 0 && knows(o, key) &&
		    (!from || o->stopped_us > from->stopped_us))
			from = o;
	}
	return from;
}

static void look(struct port *p, struct list *l)
{
	l->n = 0;
	p->look = false;
	dp_macs_each(p->vd->dp, p->dp, list_add, l);
	for (unsigned i = 0; i < l->n && identity_runs(p); i++) {
		struct port *from = knows(p, l->key[i]) ? NULL : stopped_holder(p, l->key[i]);
		uint8_t mac[6];
		mac_of_key(mac, l->key[i] >> 12);
		if (from)
			identity_learned(p, from, mac);
	}
	// a port whose rings stopped keeps what it knew: its guest is looked for elsewhere
	if (l->n == 0 && p->stopped_us)
		return;
	uint64_t *known = malloc((l->n + 1) * sizeof(*known));
	if (!known)
		return;
	memcpy(known, l->key, l->n * sizeof(*known));
	free(p->known);
	p->known = known;
	p->n_known = l->n;
}

static void on_look(void *arg)
{
	struct vd *vd = arg;
	struct list *l = malloc(sizeof(*l));
	vd->looked_us = clock_boot_us();
	for (unsigned i = 0; l && i < vd->n_ports; i++) // arrivals first: the old place still knows them
		if (vd->port[i]->look && identity_runs(vd->port[i]))
			look(vd->port[i], l);
	for (unsigned i = 0; l && i < vd->n_ports; i++)
		if (vd->port[i]->look)
			look(vd->port[i], l);
	free(l);
}

void macs_noted(struct port *p)
{
	struct vd *vd = p->vd;
	macs_changed(vd);
	p->look = true;
	if (!vd->look_timer)
		vd->look_timer = timer_new(vd->loop, on_look, vd);
	if (!vd->look_timer || timer_armed(vd->look_timer))
		return;
	uint64_t now = clock_boot_us(), next = vd->looked_us + LOOK_EVERY_US;
	timer_arm(vd->look_timer, next > now ? next - now : 0);
}

void macs_fini(struct vd *vd)
{
	timer_free(vd->look_timer);
	timer_free(vd->macs_timer);
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
	for (unsigned i = 0; i < s->n_ips && i < 8; i++) {
		struct ip_addr ip = { .family = s->ip[i].family };
		memcpy(ip.addr, s->ip[i].addr, sizeof(ip.addr));
		for (unsigned k = 0; k < m.n_ips; k++)
			if (ip_equal(&m.ip[k], &ip))
				ip.router = IP_ROUTER_YES; // the second time
		m.ip[m.n_ips++] = ip;
	}
	if (dp_mac_restore(p->dp, &m))
		p->home = true;
}

void macs_restore(struct vd *vd)
{
	struct why why;
	if (store_each_mac(vd->store, restore_one, vd, &why) != OK)
		vd_store_failed(vd, "", &why);
}
