// What there is: status, ports, rings, features, addresses, counters.
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/rpc.h"
#include "dev/dev.h"
#include "guest/ring.h"
#include "net/eth.h"

enum err rpc_status(struct rpc_call *call, struct why *why)
{
	struct vd *vd = call->vd;
	(void)why;
	json_t *ports = json_array();
	for (unsigned i = 0; i < vd_ports_count(vd); i++) {
		struct port *p = vd_port_at(vd, i);
		json_array_append_new(ports, json_pack("{s:s,s:s,s:s,s:i}", "id", port_id(p), "kind", spec_kind_name(port_spec(p)->kind),
						       "state", port_state_name(port_state(p)), "crashes", (int)port_crashes(p)));
	}
	struct vd_keeper keeper = { .pid = 0 };
	bool kept = vd_keeper(vd, &keeper);
	call->result = json_pack("{s:s,s:I,s:i,s:i,s:o,s:s,s:s}", "version", VRINGD_VERSION, "uptime_us",
				 (json_int_t)vd_uptime_us(vd), "worker_pid", (int)getpid(), "worker_restarts", (int)keeper.worker_restarts,
				 "ports", ports, "state_dir", vd_state_dir(vd), "runtime_dir", vd_runtime_dir(vd));
	if (kept) {
		struct vd_upgrades u;
		vd_upgrades(vd, &u);
		json_object_set_new(call->result, "keeper_pid", json_integer(keeper.pid));
		json_object_set_new(call->result, "upgrades", json_pack("{s:i,s:i,s:s*}", "done", (int)u.done, "refused", (int)u.refused,
									"last", u.last[0] ? u.last : NULL));
	}
	return OK;
}

static json_t *session_json(const struct session *s)
{
	struct session_info in;
	session_info(s, &in);
	const struct dev *dev = session_dev(s);
	const struct snap *snap = dev_snap(dev);
	return json_pack("{s:s,s:{s:o,s:I},s:i,s:o,s:o,s:o,s:I,s:b,s:I,s:I,s:I}", "role",
			 in.active ? "active" : in.waiting ? "waiting" : "incoming", "peer", "pid",
			 in.pid > 0 ? json_integer(in.pid) : json_null(), "uid", (json_int_t)in.uid, "queues_used", (int)in.queues_used,
			 "features_offered", rpc_hex(snap->features_offered), "features_acked", rpc_hex(snap->features_acked),
			 "protocol_features", rpc_hex(snap->protocol_features), "memory_bytes", (json_int_t)dev_memory_bytes(dev),
			 "logging", dev_logging(dev), "epoch", (json_int_t)in.epoch, "since_us", (json_int_t)in.since_us, "messages",
			 (json_int_t)in.messages);
}

static json_t *mac_json(struct vd *vd, const struct dp_mac *m, bool with_place)
{
	static const char *const sources[] = { [DP_MAC_LEARNED] = "learned", [DP_MAC_CONFIG] = "config", [DP_MAC_CLAIMED] = "claimed" };
	uint8_t mac[6];
	char text[18], ip[46];
	mac_of_key(mac, m->mac);
	json_t *ips = json_array();
	for (unsigned i = 0; i < m->n_ips; i++)
		json_array_append_new(ips, json_string(ip_format(&m->ip[i], ip)));
	json_t *j = json_pack("{s:s,s:i,s:o,s:s,s:I}", "mac", mac_format(mac, text), "vlan", (int)m->vlan, "ips", ips, "source",
			      sources[m->source], "age_ms", (json_int_t)m->age_ms);
	struct port *p = with_place ? vd_port_by_index(vd, m->port) : NULL;
	if (p) {
		json_object_set_new(j, "net", json_string(m->net));
		json_object_set_new(j, "port", json_string(port_id(p)));
	}
	return j;
}

struct macs {
	struct vd *vd;
	json_t *list;
	bool with_place;
};

static void add_mac(void *arg, const struct dp_mac *m)
{
	struct macs *a = arg;
	json_array_append_new(a->list, mac_json(a->vd, m, a->with_place));
}

json_t *rpc_port_json(struct vd *vd, const struct port *p)
{
	const struct port_spec *s = port_spec(p);
	const struct session *sessions[PORT_MAX_SESSIONS];
	const char *reason, *hint;
	struct store_device dev;
	struct macs macs = { vd, json_array(), false };
	json_t *list = json_array();
	unsigned n = port_sessions(p, sessions);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, session_json(sessions[i]));
	dp_macs_each(vd_dp(vd), port_dp(p), add_mac, &macs);
	port_explain(p, &reason, &hint);
	bool has = port_device(p, &dev);
	char text[SPEC_TEXT_MAX];
	spec_format(s, text, sizeof(text));
	const char *mode = s->kind != SPEC_VHOST_USER ? NULL : s->mode == SPEC_CLIENT ? "client" : "server";
	return json_pack("{s:s,s:s,s:s?,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:i,s:s,s:s,s:I}", "id", s->id, "kind",
			 spec_kind_name(s->kind), "mode", mode, "net", s->net, "origin", vd_origin_name(port_origin(p)), "label", s->label, "guest",
			 s->guest, "state", port_state_name(port_state(p)), "reason", reason, "hint", hint, "generation",
			 (json_int_t)(has ? dev.generation : 0), "sessions", list, "macs", macs.list, "crashes", (int)port_crashes(p),
			 "path", port_path(p), "spec", text, "held", (json_int_t)dp_hold_level(port_dp(p)).held);
}

// Apply one function to the port that was asked for, or to all.
static enum err each(struct rpc_call *call, const char *key, json_t *(*one)(struct vd *, const struct port *), struct why *why)
{
	json_t *list = json_array();
	struct port *only = NULL;
	if (rpc_text(call, "id") && !(only = rpc_port(call, why))) {
		json_decref(list);
		return REFUSED;
	}
	for (unsigned i = 0; i < vd_ports_count(call->vd); i++) {
		struct port *p = vd_port_at(call->vd, i);
		json_t *j = !only || p == only ? one(call->vd, p) : NULL;
		if (j)
			json_array_append_new(list, j);
	}
	call->result = json_pack("{s:o}", key, list);
	return OK;
}

enum err rpc_ports(struct rpc_call *call, struct why *why)
{
	return each(call, "ports", rpc_port_json, why);
}

static json_t *ring_json(const struct session *s, unsigned q)
{
	const struct dev *dev = session_dev(s);
	const struct snap_ring *r = &dev_snap(dev)->ring[q];
	struct vring *v = dev_ring(dev, q);
	bool packed = bits_has(dev_snap(dev)->features_acked, VIRTIO_F_RING_PACKED);
	uint32_t used = v ? ring_base_now(v) & (packed ? 0x7fff : 0xffff) : 0, wrap = v && packed ? ring_base_now(v) >> 15 & 1 : 0;
	return json_pack("{s:i,s:s,s:s,s:I,s:b,s:b,s:b,s:I,s:o,s:o,s:o,s:I,s:I,s:o}", "ring", (int)q, "dir", q % 2 ? "in" : "out", "kind",
			 packed ? "packed" : "split", "size", (json_int_t)r->num, "started", r->started, "enabled", r->enabled, "running",
			 session_ring_published(s, q), "base", (json_int_t)r->base, "next_avail", v ? json_integer(used) : json_null(),
			 "next_used", v ? json_integer(used) : json_null(), "wrap", v && packed ? json_integer(wrap) : json_null(), "kicks",
			 (json_int_t)(v ? atomic_load(&v->counts->kicks) : 0), "calls",
			 (json_int_t)(v ? atomic_load(&v->counts->calls) : 0), "broken",
			 v && vring_broken(v) ? json_string(vring_broken(v)) : json_null());
}

static json_t *rings_of_port(struct vd *vd, const struct port *p)
{
	const struct session *sessions[PORT_MAX_SESSIONS];
	json_t *rings = json_array();
	(void)vd;
	unsigned n = port_sessions(p, sessions);
	for (unsigned i = 0; i < n; i++)
		for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
			const struct snap_ring *r = &dev_snap(session_dev(sessions[i]))->ring[q];
			if (!r->num && !r->started)
				continue;
			json_t *j = ring_json(sessions[i], q);
			json_object_set_new(j, "session", json_integer(i));
			json_array_append_new(rings, j);
		}
	return json_pack("{s:s,s:o}", "id", port_id(p), "rings", rings);
}

enum err rpc_rings(struct rpc_call *call, struct why *why)
{
	return each(call, "rings", rings_of_port, why);
}

static json_t *names(uint64_t bits, const char *(*name)(unsigned))
{
	json_t *list = json_array();
	for (unsigned b = 0; b < 64; b++)
		if (bits >> b & 1)
			json_array_append_new(list, name(b) ? json_string(name(b)) : json_sprintf("bit%u", b));
	return list;
}

static json_t *features_of_port(struct vd *vd, const struct port *p)
{
	struct port_offer o;
	const struct session *s[PORT_MAX_SESSIONS];
	(void)vd;
	if (port_spec(p)->kind != SPEC_VHOST_USER)
		return NULL;
	port_offer(p, &o);
	json_t *j = json_pack("{s:s,s:I,s:b,s:o,s:o,s:o,s:o}", "id", port_id(p), "compat", (json_int_t)o.compat, "pinned", o.pinned,
			      "features_offered", rpc_hex(o.features), "protocol_features", rpc_hex(o.protocol_features), "offered",
			      names(o.features, dev_feature_name), "protocol_offered",
			      names(o.protocol_features, dev_protocol_feature_name));
	if (port_sessions(p, s))
		json_object_set_new(j, "acked", names(dev_snap(session_dev(s[0]))->features_acked, dev_feature_name));
	return j;
}

enum err rpc_features(struct rpc_call *call, struct why *why)
{
	return each(call, "features", features_of_port, why);
}

enum err rpc_fdb(struct rpc_call *call, struct why *why)
{
	struct macs m = { call->vd, json_array(), true };
	(void)why;
	dp_macs_each(vd_dp(call->vd), NULL, add_mac, &m);
	call->result = json_pack("{s:o}", "fdb", m.list);
	return OK;
}

static json_t *drops_json(const uint64_t drops[DP_DROP_N])
{
	json_t *j = json_object();
	for (unsigned d = 0; d < DP_DROP_N; d++)
		if (drops[d])
			json_object_set_new(j, dp_drop_name((enum dp_drop)d), json_integer((json_int_t)drops[d]));
	return j;
}

static json_t *dir_json(uint64_t frames, uint64_t bytes, const uint64_t *drops)
{
	json_t *j = json_pack("{s:I,s:I}", "frames", (json_int_t)frames, "bytes", (json_int_t)bytes);
	if (drops)
		json_object_set_new(j, "drops", drops_json(drops));
	return j;
}

json_t *rpc_stats_json(const struct port *p)
{
	struct dp_stats st;
	json_t *queues = json_array();
	dp_port_stats(port_dp(p), &st);
	for (unsigned i = 0; i < DP_MAX_PAIRS; i++) {
		const struct dp_counters *c = &st.queue[i];
		if (c->in_frames || c->out_frames)
			json_array_append_new(queues, json_pack("{s:i,s:o,s:o}", "queue", (int)i, "in",
								dir_json(c->in_frames, c->in_bytes, NULL), "out",
								dir_json(c->out_frames, c->out_bytes, NULL)));
	}
	return json_pack("{s:s,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I},s:{s:I,s:I,s:I,s:I},s:i}", "id", port_id(p), "in",
			 dir_json(st.total.in_frames, st.total.in_bytes, st.drops_in), "out",
			 dir_json(st.total.out_frames, st.total.out_bytes, st.drops_out), "queues", queues, "kicks", (json_int_t)st.kicks,
			 "calls", (json_int_t)st.calls, "flooded", (json_int_t)st.flooded, "holding",
			 (json_int_t)dp_hold_level(port_dp(p)).held, "held", "total", (json_int_t)st.held, "delivered",
			 (json_int_t)st.hold_delivered, "dropped", (json_int_t)st.hold_dropped, "gso", "in", (json_int_t)st.gso_in, "out",
			 (json_int_t)st.gso_out, "cut", (json_int_t)st.gso_cut, "cut_frames", (json_int_t)st.gso_parts, "crashes", (int)port_crashes(p));
}

static json_t *stats_of_port(struct vd *vd, const struct port *p)
{
	(void)vd;
	return rpc_stats_json(p);
}

enum err rpc_stats(struct rpc_call *call, struct why *why)
{
	struct dp_thread_stats t[16];
	enum err e = each(call, "stats", stats_of_port, why);
	if (e != OK)
		return e;
	json_t *threads = json_array();
	unsigned n = dp_thread_stats(vd_dp(call->vd), t, 16);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(threads, json_pack("{s:i,s:I,s:I,s:I,s:I}", "thread", (int)i, "busy_us", (json_int_t)t[i].busy_us,
							 "busy_cycles", (json_int_t)t[i].busy_cycles, "turns", (json_int_t)t[i].turns,
							 "wakeups", (json_int_t)t[i].wakeups));
	json_object_set_new(call->result, "threads", threads);
	json_object_set_new(call->result, "time_us", json_integer((json_int_t)clock_boot_us()));
	return OK;
}

enum err rpc_explain(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	if (!p)
		return REFUSED;
	call->result = rpc_port_json(call->vd, p);
	json_object_set_new(call->result, "stats", rpc_stats_json(p));
	json_object_set_new(call->result, "rings", rings_of_port(call->vd, p));
	const char *refused = port_last_refusal(p);
	json_object_set_new(call->result, "last_refusal", refused[0] ? json_string(refused) : json_null());
	return OK;
}
