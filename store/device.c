#include "store/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Of a split ring it is an index; of a packed one (feature 34) both halves say something.
static bool base_ok(const struct store_device *d, unsigned q)
{
	return d->last_base[q] <= UINT16_MAX || (d->features_acked >> 34 & 1);
}

static enum err device_load(struct store *s, sqlite3_stmt *st, struct store_device *d, struct why *why)
{
	struct row r;
	char boot[sizeof(s->boot)];
	memset(d, 0, sizeof(*d));
	row_start(&r, st, 1, T_DEVICE);
	row_copy(&r, d->port, sizeof(d->port));
	row_copy(&r, boot, sizeof(boot));
	d->features_offered = row_int(&r);
	d->features_acked = row_int(&r);
	d->protocol_features = row_int(&r);
	d->compat = (uint32_t)row_max(&r, UINT32_MAX);
	d->generation = row_int(&r);
	d->pinned = row_bool(&r);
	d->last_base_set = (uint32_t)row_max(&r, UINT32_MAX);
	if (row_blob(&r, d->last_base, sizeof(d->last_base)) != sizeof(d->last_base))
		r.bad = "its ring bases are cut short";
	enum err e = row_seal(&r, "device", why);
	if (e != OK)
		return e;
	if (!text_is_id(d->port, sizeof(d->port)))
		return refuse(why, "stored device's port id is unprintable");
	if (d->features_acked & ~d->features_offered)
		return refuse(why, "stored device %s acknowledged features that were not offered", d->port);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (!base_ok(d, q))
			return refuse(why, "stored device %s: base %u of ring %u is over 65535", d->port, d->last_base[q], q);
	// A pin is a promise to a front end that lives; none lives over a boot.
	if (strcmp(boot, s->boot) != 0 || strcmp(boot, "unknown") == 0)
		d->pinned = false;
	return OK;
}

static enum err on_device(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct store_device d;
	enum err e = device_load(s, st, &d, why);
	struct store_device *out = arg;
	if (e == OK && out)
		*out = d;
	return e;
}

enum err store_device_get(struct store *s, const char *port, struct store_device *dev, bool *found, struct why *why)
{
	struct scan sc = { .bad = 0 };
	memset(dev, 0, sizeof(*dev));
	sqlite3_bind_text(stmt_of(s, S_DEVICE_GET), 1, port, -1, SQLITE_STATIC);
	enum err e = rows_scan(s, stmt_of(s, S_DEVICE_GET), S_DEVICE_DROP, on_device, dev, &sc, why);
	*found = e == OK && dev->port[0] != '\0';
	if (!*found) {
		memset(dev, 0, sizeof(*dev));
		snprintf(dev->port, sizeof(dev->port), "%s", port);
	}
	return scan_end(e, &sc, why);
}

enum err store_device_put(struct store *s, const struct store_device *d, struct why *why)
{
	if (!text_is_id(d->port, sizeof(d->port)))
		return refuse(why, "the port's id is empty, too long or unprintable");
	if (d->features_acked & ~d->features_offered)
		return refuse(why, "features were acknowledged that were not offered");
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (!base_ok(d, q))
			return refuse(why, "base %u of ring %u is over 65535", d->last_base[q], q);
	enum err e = txn_begin(s, why);
	if (e != OK)
		return e;
	struct bind b;
	bind_start(&b, stmt_of(s, S_DEVICE_PUT), T_DEVICE);
	bind_text(&b, d->port);
	bind_text(&b, s->boot);
	bind_int(&b, d->features_offered);
	bind_int(&b, d->features_acked);
	bind_int(&b, d->protocol_features);
	bind_int(&b, d->compat);
	bind_int(&b, d->generation);
	bind_int(&b, d->pinned);
	bind_int(&b, d->last_base_set);
	bind_blob(&b, d->last_base, sizeof(d->last_base));
	bind_seal(&b);
	return txn_end(s, stmt_run(s, b.st, why), why);
}

static enum err on_each(struct store *s, sqlite3_stmt *st, void *arg, struct why *why)
{
	struct store_device d;
	enum err e = device_load(s, st, &d, why);
	void *slot = e == OK ? vec_add(arg) : NULL;
	if (slot)
		memcpy(slot, &d, sizeof(d));
	return e == OK && !slot ? ours(why, "out of memory") : e;
}

enum err store_each_device(struct store *s, store_device_fn *fn, void *arg, struct why *why)
{
	struct vec v = { .item = sizeof(struct store_device) };
	struct scan sc = { .bad = 0 };
	enum err e = rows_scan(s, stmt_of(s, S_DEVICE_ALL), S_DEVICE_DROP, on_each, &v, &sc, why);
	const struct store_device *d = (const void *)v.items;
	for (size_t i = 0; e == OK && i < v.n; i++)
		fn(arg, &d[i]);
	free(v.items);
	return scan_end(e, &sc, why);
}

enum err store_device_unpin(struct store *s, const char *port, struct why *why)
{
	struct store_device d;
	bool found;
	enum err e = store_device_get(s, port, &d, &found, why);
	if (e != OK || !found || !d.pinned)
		return e;
	d.pinned = false;
	return store_device_put(s, &d, why);
}

enum err device_verify(struct store *s, struct scan *sc, struct why *why)
{
	return rows_scan(s, stmt_of(s, S_DEVICE_ALL), NO_DROP, on_device, NULL, sc, why);
}
