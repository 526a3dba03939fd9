#include "record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "store/store.h"
#include "wire/vu_spec.h"

struct load {
	const char *port;
	struct stored *out;
	json_int_t life; // of the daemon that died
	bool bad;
};

static uint64_t num(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	if (json_is_string(v))
		return strtoull(json_string_value(v), NULL, 16);
	if (json_is_boolean(v))
		return json_is_true(v);
	return (uint64_t)json_integer_value(v);
}

static uint8_t kind(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	for (uint8_t k = SNAP_FD_UNSET; k <= SNAP_FD_POLL; k++)
		if (s != NULL && strcmp(s, snap_fd_name(k)) == 0)
			return k;
	return 0xff;
}

static void load_conn(struct load *l, const json_t *o)
{
	struct snap *s = &l->out->snap;
	if (json_integer_value(json_object_get(o, "life")) != l->life || num(o, "epoch") < s->epoch)
		return;
	memset(s, 0, sizeof(*s));
	l->out->found = true;
	s->epoch = num(o, "epoch");
	l->out->seq = num(o, "seq");
	s->features_offered = num(o, "features_offered");
	s->has_features = num(o, "has_features");
	s->features_acked = num(o, "features_acked");
	s->has_protocol = num(o, "has_protocol");
	s->protocol_features = num(o, "protocol_features");
	s->owned = num(o, "owned");
	s->mtu = (uint16_t)num(o, "mtu");
	s->has_log = num(o, "has_log");
	s->log_size = num(o, "log_size");
	s->log_offset = num(o, "log_offset");
	s->log_from = num(o, "log_from");
	s->bell_from = num(o, "bell_from");
}

static void load_region(struct load *l, const json_t *o)
{
	struct snap *s = &l->out->snap;
	if (num(o, "epoch") != s->epoch || s->n_regions >= SNAP_MAX_REGIONS)
		return;
	s->region[s->n_regions++] = (struct snap_region){.guest_addr = num(o, "guest_addr"),
							 .size = num(o, "size"),
							 .user_addr = num(o, "user_addr"),
							 .mmap_offset = num(o, "mmap_offset"),
							 .from = num(o, "fd_from"),
							 .from_n = (uint32_t)num(o, "fd_n")};
}

static void load_ring(struct load *l, const json_t *o)
{
	uint64_t q = num(o, "index");
	if (num(o, "epoch") != l->out->snap.epoch || q >= SNAP_MAX_RINGS)
		return;
	l->out->snap.ring[q] = (struct snap_ring){
		.num = (uint32_t)num(o, "num"),
		.base = (uint32_t)num(o, "base"),
		.base_given = num(o, "base_given"),
		.has_addr = num(o, "has_addr"),
		.started = num(o, "started"),
		.enabled = num(o, "enabled"),
		.ever_disabled = num(o, "ever_disabled"),
		.ran = num(o, "ran"),
		.kick = kind(o, "kick"),
		.call = kind(o, "call"),
		.err = kind(o, "err"),
		.kick_from = num(o, "kick_from"),
		.call_from = num(o, "call_from"),
		.err_from = num(o, "err_from"),
		.addr_flags = (uint32_t)num(o, "addr_flags"),
		.desc = num(o, "desc"),
		.used = num(o, "used"),
		.avail = num(o, "avail"),
		.log = num(o, "log"),
	};
}

static uint8_t hex_byte(const char *s)
{
	char two[3] = {s[0], s[1], 0};
	return (uint8_t)strtoul(two, NULL, 16);
}

static void load_device(struct load *l, const json_t *o)
{
	struct stored *d = l->out;
	const char *hex = json_string_value(json_object_get(o, "last_base"));
	d->has_device = true;
	d->device_acked = num(o, "features_acked");
	d->last_base_set = (uint32_t)num(o, "last_base_set");
	if (hex == NULL || strlen(hex) != 2 * sizeof(d->last_base)) {
		l->bad = true;
		return;
	}
	for (unsigned i = 0; i < sizeof(d->last_base); i++)
		((uint8_t *)d->last_base)[i] = hex_byte(hex + 2 * i);
}

static void load_owed(struct load *l, const json_t *o)
{
	const char *mac = json_string_value(json_object_get(o, "mac"));
	if (mac == NULL || strlen(mac) != 17 || l->out->n_owed == RECORD_OWED) {
		l->bad = true;
		return;
	}
	for (unsigned i = 0; i < 6; i++)
		l->out->owed[l->out->n_owed][i] = hex_byte(mac + 3 * i);
	l->out->n_owed++;
}

static void load_line(void *arg, const char *line)
{
	static const char journal[] = "{\"table\":\"event\"";
	struct load *l = arg;
	if (strncmp(line, journal, sizeof(journal) - 1) == 0) // thousands, and none says anything about a connection
		return;
	json_t *o = json_loads(line, 0, NULL);
	const char *table = json_string_value(json_object_get(o, "table"));
	const char *port = json_string_value(json_object_get(o, "port"));
	if (o == NULL || table == NULL)
		l->bad = true;
	else if (strcmp(table, "meta") == 0)
		l->life = json_integer_value(json_object_get(o, "life"));
	else if (port == NULL || strcmp(port, l->port) != 0)
		; // another port's
	else if (strcmp(table, "conn") == 0)
		load_conn(l, o);
	else if (strcmp(table, "region") == 0)
		load_region(l, o);
	else if (strcmp(table, "ring") == 0)
		load_ring(l, o);
	else if (strcmp(table, "device") == 0)
		load_device(l, o);
	else if (strcmp(table, "owed") == 0)
		load_owed(l, o);
	json_decref(o);
}

bool record_load(const char *path, const char *port, struct stored *out, char *why, unsigned why_size)
{
	struct why w = {""};
	struct load l = {.port = port, .out = out};
	memset(out, 0, sizeof(*out));
	if (store_dump_file(path, load_line, &l, &w) != OK || l.bad) {
		snprintf(why, why_size, "%s", l.bad ? "a line is not what a dump says, or there are too many" : w.text);
		return false;
	}
	return true;
}

static const char *ring_differs(const struct snap_ring *a, unsigned known, const struct snap_ring *s)
{
	if ((known & KNOW_NUM) && a->num != s->num)
		return "ring size";
	if ((known & KNOW_BASE) && a->base != s->base)
		return "ring base";
	if ((known & KNOW_ADDR) && (!s->has_addr || a->addr_flags != s->addr_flags || a->desc != s->desc ||
				    a->used != s->used || a->avail != s->avail || a->log != s->log))
		return "ring addresses";
	if ((known & KNOW_STARTED) && a->started != s->started)
		return "ring started";
	if ((known & KNOW_ENABLED) && a->enabled != s->enabled)
		return "ring enabled";
	if ((known & KNOW_KICK) && (a->kick != s->kick || a->kick_from != s->kick_from))
		return "kick descriptor";
	if ((known & KNOW_CALL) && (a->call != s->call || a->call_from != s->call_from))
		return "call descriptor";
	if ((known & KNOW_ERR) && (a->err != s->err || a->err_from != s->err_from))
		return "err descriptor";
	return NULL;
}

const char *record_differs(const struct record *r, const struct stored *stored)
{
	const struct snap *a = &r->snap, *s = &stored->snap;
	if (!r->any)
		return NULL;
	if (!stored->found)
		return "the connection";
	if (a->owned != s->owned)
		return "owner";
	if (a->has_protocol != s->has_protocol || a->protocol_features != s->protocol_features)
		return "protocol features";
	if (a->has_features != s->has_features || a->features_acked != s->features_acked)
		return "features";
	if (a->mtu != s->mtu)
		return "MTU";
	if (!r->log_unknown &&
	    (a->has_log != s->has_log || a->log_size != s->log_size || a->log_offset != s->log_offset ||
	     a->log_from != s->log_from))
		return "log";
	if (a->bell_from != s->bell_from)
		return "log's eventfd";
	if (snap_diff(a, s) & SNAP_MEM)
		return "memory table";
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		const char *d = ring_differs(&a->ring[q], r->known[q], &s->ring[q]);
		if (d != NULL)
			return d;
	}
	return NULL;
}

const char *record_device_differs(const struct record *r, const struct stored *d)
{
	if (!r->any || !r->snap.has_features)
		return NULL;
	if (!d->has_device)
		return "the device";
	if (d->device_acked != bits_without(r->snap.features_acked, VHOST_F_LOG_ALL))
		return "features of the device";
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		bool set = d->last_base_set >> q & 1;
		if ((r->ran >> q & 1) && set)
			return "last base of a ring that runs";
		if ((r->stopped >> q & 1) && (!set || d->last_base[q] != r->last_base[q]))
			return "last base of a ring that was stopped";
	}
	return NULL;
}

const char *record_owed_differs(const struct record *r, unsigned n_acked, const struct stored *d)
{
	for (unsigned i = 0; i < r->n_claims; i++) {
		bool owed = i >= n_acked && !(d->found && d->seq >= r->claim_seq[i]);
		for (unsigned k = 0; k < d->n_owed && !owed; k++)
			owed = memcmp(d->owed[k], r->claim[i], 6) == 0;
		if (!owed)
			return "an announcement owed";
	}
	return NULL;
}
