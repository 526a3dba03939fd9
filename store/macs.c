#include "store/inner.h"

#include <stdlib.h>
#include <string.h>

enum { IP_BYTES = 17, VLAN_MAX = 4095, SOURCE_MAX = 2 }; // family and 16 bytes of address

static enum err mac_check(const struct store_mac *m, struct why *why)
{
	if (!text_is_id(m->net, sizeof(m->net)) || !text_is_id(m->port, sizeof(m->port)))
		return refuse(why, "address: its net or port is empty, too long or unprintable");
	if (m->vlan > VLAN_MAX || m->source > SOURCE_MAX || m->n_ips > STORE_MAX_IPS)
		return refuse(why, "address: vlan %u, source %u or count %u is out of range", m->vlan, m->source, m->n_ips);
	for (unsigned i = 0; i < m->n_ips; i++)
		if (m->ip[i].family != 4 && m->ip[i].family != 6)
			return refuse(why, "address: family %u is neither 4 nor 6", m->ip[i].family);
	return OK;
}

static enum err mac_put(struct store *s, const struct store_mac *m, struct why *why)
{
	enum err e = mac_check(m, why);
	if (e != OK)
		return e;
	uint8_t ips[STORE_MAX_IPS * IP_BYTES];
	for (unsigned i = 0; i < m->n_ips; i++) {
		ips[i * IP_BYTES] = m->ip[i].family;
		memcpy(&ips[i * IP_BYTES + 1], m->ip[i].addr, 16);
	}
	struct bind b;
	bind_start(&b, stmt_of(s, S_MAC_PUT), T_MAC);
	bind_text(&b, m->net);
	bind_int(&b, m->vlan);
	bind_blob(&b, m->mac, sizeof(m->mac));
	bind_text(&b, m->port);
	bind_int(&b, m->source);
	bind_int(&b, m->seen_us);
	bind_blob(&b, ips, m->n_ips * (size_t)IP_BYTES);
	bind_seal(&b);
	return stmt_run(s, b.st, why);
}

enum err store_macs_replace(struct store *s, const struct store_mac *macs, size_t n, struct why *why)
{
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	e = stmt_run(s, stmt_of(s, S_MAC_CLEAR), why);
	for (size_t i = 0; i < n && e == OK; i++)
		e = mac_put(s, &macs[i], why);
	e = txn_end(s, e, why);
	wal_bound(s);
	return e;
}

static enum err on_mac(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct row r;
	struct store_mac m = { .n_ips = 0 };
	uint8_t ips[STORE_MAX_IPS * IP_BYTES];
	(void)s;
	row_start(&r, st, 0, T_MAC);
	row_copy(&r, m.net, sizeof(m.net));
	m.vlan = (uint16_t)row_max(&r, VLAN_MAX);
	if (row_blob(&r, m.mac, sizeof(m.mac)) != sizeof(m.mac))
		r.bad = "its MAC is cut short";
	row_copy(&r, m.port, sizeof(m.port));
	m.source = (uint8_t)row_max(&r, SOURCE_MAX);
	m.seen_us = row_int(&r);
	size_t len = row_blob(&r, ips, sizeof(ips));
	if (len % IP_BYTES != 0)
		r.bad = "its list of IP addresses is cut short";
	enum err e = row_seal(&r, "address", why);
	if (e != OK)
		return e;
	m.n_ips = (uint8_t)(len / IP_BYTES);
	for (unsigned i = 0; i < m.n_ips; i++) {
		m.ip[i].family = ips[i * IP_BYTES];
		memcpy(m.ip[i].addr, &ips[i * IP_BYTES + 1], 16);
	}
	e = mac_check(&m, why);
	if (e != OK || !arg)
		return e;
	struct store_mac *slot = vec_add(arg);
	if (!slot)
		return ours(why, "out of memory");
	*slot = m;
	return OK;
}

enum err store_each_mac(struct store *s, store_mac_fn *fn, void *arg, struct why *why)
{
	struct vec v = { .item = sizeof(struct store_mac) };
	struct scan sc = { .bad = 0 };
	// Bad rows need no dropping: the next flush replaces the table.
	enum err e = rows_scan(s, stmt_of(s, S_MAC_ALL), NO_DROP, on_mac, &v, &sc, why);
	const struct store_mac *m = (const void *)v.items;
	for (size_t i = 0; i < v.n && e == OK; i++)
		fn(arg, &m[i]);
	free(v.items);
	return scan_end(e, &sc, why);
}

enum err macs_verify(struct store *s, struct scan *sc, struct why *why)
{
	return rows_scan(s, stmt_of(s, S_MAC_ALL), NO_DROP, on_mac, NULL, sc, why);
}
