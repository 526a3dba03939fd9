// Migration records that an earlier process left open. Of a connection that was taken over they go on; of one that was lost the end was not
// seen.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "daemon/core.h"

#define MAX_OPEN 64

struct open_records {
	unsigned n;
	struct {
		uint64_t id;
		char port[SNAP_PORT_MAX];
		char *json;
	} rec[MAX_OPEN];
};

static void remember(void *arg, uint64_t id, const char *port, const char *json)
{
	struct open_records *o = arg;
	if (o->n == MAX_OPEN || !strstr(json, "\"outcome\":\"running\""))
		return;
	o->rec[o->n].id = id;
	snprintf(o->rec[o->n].port, SNAP_PORT_MAX, "%s", port);
	o->rec[o->n].json = strdup(json);
	o->n += o->rec[o->n].json != NULL;
}

static void close_one(struct vd *vd, uint64_t id, const char *port, const char *json)
{
	static const char open[] = "\"outcome\":\"running\"";
	const char *at = strstr(json, open);
	struct why why;
	size_t before = (size_t)(at - json), size = strlen(json) + 1;
	char *closed = malloc(size);
	if (!closed)
		return;
	snprintf(closed, size, "%.*s\"outcome\":\"unknown\"%s", (int)before, json, at + sizeof(open) - 1);
	if (store_migration_put(vd->store, id, port, closed, &why) != OK)
		vd_store_failed(vd, port, &why);
	free(closed);
}

// -- back from its text ----------------------------------------------------------------------------------------------------

static uint64_t number(const json_t *j, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(j, key));
	return v > 0 ? (uint64_t)v : 0;
}

static void load_announcement(struct timeline *t, const json_t *a)
{
	const char *kind = json_string_value(json_object_get(a, "kind")), *mac = json_string_value(json_object_get(a, "mac"));
	struct timeline_announcement *to = &t->announcement[t->n_announcements];
	unsigned b[6];
	if (t->n_announcements == TIMELINE_MAX_ANNOUNCEMENTS || !kind || !mac || strlen(kind) >= sizeof(to->kind) ||
	    sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return;
	snprintf(to->kind, sizeof(to->kind), "%s", kind);
	for (unsigned i = 0; i < 6; i++)
		to->mac[i] = (uint8_t)b[i];
	to->round = (uint32_t)number(a, "round");
	to->time_us = number(a, "time_us");
	t->n_announcements++;
}

// A row is hostile input: whatever is no number there counts as not seen.
static struct timeline *load(const char *text)
{
	json_t *j = json_loads(text, 0, NULL), *a;
	struct timeline *t = json_is_object(j) ? malloc(sizeof(*t)) : NULL;
	const char *port = json_string_value(json_object_get(j, "port")), *guest = json_string_value(json_object_get(j, "guest"));
	const char *role = json_string_value(json_object_get(j, "role"));
	size_t i;
	if (!t || !port || !role) {
		free(t);
		json_decref(j);
		return NULL;
	}
	timeline_open(t, number(j, "id"), port, guest ? guest : "", strcmp(role, "source") == 0 ? TIMELINE_SOURCE : TIMELINE_DESTINATION,
		      number(j, "started_us"));
	t->started_wall_us = number(j, "started_wall_us");
	t->stopped_us = number(j, "stopped_us");
	t->running_us = number(j, "running_us");
	t->first_kick_us = number(j, "first_kick_us");
	t->first_frame_in_us = number(j, "first_frame_in_us");
	t->first_frame_out_us = number(j, "first_frame_out_us");
	t->blackout_us = number(j, "blackout_us");
	t->pages_logged = number(j, "pages_logged");
	t->held = number(j, "held");
	t->delivered = number(j, "delivered");
	t->dropped = number(j, "dropped");
	json_array_foreach(json_object_get(j, "announcements"), i, a)
		load_announcement(t, a);
	t->announcements_left_out = (unsigned)number(j, "announcements_left_out");
	json_decref(j);
	return t;
}

// The session that the record is about: at a source the one that logs, at a destination the one whose rings run.
static struct session *session_of(const struct port *p, const struct timeline *t)
{
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++) {
		struct session *s = p->session[i];
		if (s && (t->role == TIMELINE_SOURCE ? bits_has(dev_snap(s->dev)->features_acked, VHOST_F_LOG_ALL) : s->in_use))
			return s;
	}
	return NULL;
}

static bool go_on(struct vd *vd, const char *port, const char *json)
{
	struct port *p = vd_port_find(vd, port);
	struct timeline *t = p && vd->opened.resumed ? load(json) : NULL;
	struct session *s = t ? session_of(p, t) : NULL;
	struct timeline **slot = !s ? NULL : t->role == TIMELINE_SOURCE ? &s->source : &p->arrival;
	struct dp_stats st;
	if (!slot || *slot) {
		free(t);
		return false;
	}
	t->logging = t->role == TIMELINE_SOURCE;
	t->rings = s->in_use;
	*slot = t;
	dp_port_stats(p->dp, &st);
	p->counting = t;
	p->base_held = st.held - t->held; // from here on they count up from what the record has
	p->base_delivered = st.hold_delivered - t->delivered;
	p->base_dropped = migration_lost(&st) - t->dropped;
	return true;
}

void migrations_resume(struct vd *vd)
{
	struct open_records o = { .n = 0 };
	struct why why;
	if (store_each_migration(vd->store, NULL, remember, &o, &why) != OK)
		vd_store_failed(vd, "", &why);
	for (unsigned i = 0; i < o.n; i++) { // not while the rows are being read
		if (!go_on(vd, o.rec[i].port, o.rec[i].json))
			close_one(vd, o.rec[i].id, o.rec[i].port, o.rec[i].json);
		free(o.rec[i].json);
	}
}
