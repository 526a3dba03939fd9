#include "record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

struct load {
	const char *port;
	struct snap *out;
	json_int_t life; // of the daemon that died
	uint64_t epoch;  // of the newest connection so far, 0: none
	uint64_t seq;
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
	struct snap *s = l->out;
	if (json_integer_value(json_object_get(o, "life")) != l->life || num(o, "epoch") < l->epoch)
		return;
	memset(s, 0, sizeof(*s));
	l->epoch = s->epoch = num(o, "epoch");
	l->seq = num(o, "seq");
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
}

static void load_region(struct load *l, const json_t *o)
{
	struct snap *s = l->out;
	if (num(o, "epoch") != l->epoch || s->n_regions >= SNAP_MAX_REGIONS)
		return;
	s->region[s->n_regions++] = (struct snap_region){.guest_addr = num(o, "guest_addr"),
							 .size = num(o, "size"),
							 .user_addr = num(o, "user_addr"),
							 .mmap_offset = num(o, "mmap_offset")};
}

static void load_ring(struct load *l, const json_t *o)
{
	uint64_t q = num(o, "index");
	if (num(o, "epoch") != l->epoch || q >= SNAP_MAX_RINGS)
		return;
	l->out->ring[q] = (struct snap_ring){
		.num = (uint32_t)num(o, "num"),
		.base = (uint32_t)num(o, "base"),
		.base_given = num(o, "base_given"),
		.has_addr = num(o, "has_addr"),
		.started = num(o, "started"),
		.enabled = num(o, "enabled"),
		.ever_disabled = num(o, "ever_disabled"),
		.kick = kind(o, "kick"),
		.call = kind(o, "call"),
		.err = kind(o, "err"),
		.addr_flags = (uint32_t)num(o, "addr_flags"),
		.desc = num(o, "desc"),
		.used = num(o, "used"),
		.avail = num(o, "avail"),
		.log = num(o, "log"),
	};
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
	json_decref(o);
}

bool record_load(const char *path, const char *port, struct snap *out, bool *found, uint64_t *seq, char *why,
		 unsigned why_size)
{
	struct why w = {""};
	struct load l = {.port = port, .out = out};
	memset(out, 0, sizeof(*out));
	if (store_dump_file(path, load_line, &l, &w) != OK || l.bad) {
		snprintf(why, why_size, "%s", l.bad ? "a line is not JSON" : w.text);
		return false;
	}
	*found = l.epoch != 0;
	*seq = l.seq;
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
	if ((known & KNOW_KICK) && a->kick != s->kick)
		return "kick descriptor";
	if ((known & KNOW_CALL) && a->call != s->call)
		return "call descriptor";
	if ((known & KNOW_ERR) && a->err != s->err)
		return "err descriptor";
	return NULL;
}

const char *record_differs(const struct record *r, const struct snap *s, bool found)
{
	const struct snap *a = &r->snap;
	if (!r->any)
		return NULL;
	if (!found)
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
	    (a->has_log != s->has_log || a->log_size != s->log_size || a->log_offset != s->log_offset))
		return "log";
	if (snap_diff(a, s) & SNAP_MEM)
		return "memory table";
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		const char *d = ring_differs(&a->ring[q], r->known[q], &s->ring[q]);
		if (d != NULL)
			return d;
	}
	return NULL;
}
