// What changes something: ports, announcements, the log level.
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc.h"

enum err rpc_port_add(struct rpc_call *call, struct why *why)
{
	const char *text = rpc_text(call, "spec");
	struct port_spec spec;
	if (!text)
		return rpc_usage(call, why, "parameter \"spec\" is missing");
	enum err e = spec_parse(text, &spec, why);
	call->usage = e != OK;
	if (e != OK)
		return e;
	if (spec.fd >= 0)
		return rpc_usage(call, why, "fd= can't come through the control socket: give path=");
	if (spec.path[0] && spec.path[0] != '/')
		return rpc_usage(call, why, "path=%.60s must start with /: the daemon's folder is not yours", spec.path);
	e = vd_port_add(call->vd, &spec, VD_ORIGIN_RUNTIME, why);
	if (e == OK)
		call->result = json_pack("{s:s,s:s}", "id", spec.id, "path", port_path(vd_port_find(call->vd, spec.id)));
	return e;
}

enum err rpc_port_del(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	return p ? vd_port_del(call->vd, port_id(p), why) : REFUSED;
}

enum err rpc_port_set(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	json_t *set = json_object_get(call->params, "set");
	if (!p)
		return REFUSED;
	struct port_spec spec = *port_spec(p);
	size_t n = json_is_array(set) ? json_array_size(set) : 0;
	if (n == 0)
		return rpc_usage(call, why, "parameter \"set\" is missing: [\"key=value\"]");
	for (size_t i = 0; i < n; i++) {
		const char *kv = json_string_value(json_array_get(set, i));
		enum err e = kv ? spec_set(&spec, kv, why) : refuse(why, "\"set\" holds strings: \"key=value\"");
		call->usage = e != OK;
		if (e != OK)
			return e;
	}
	return vd_port_set(call->vd, port_id(p), &spec, false, why);
}

enum err rpc_port_release(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	return p ? vd_port_release(call->vd, port_id(p), why) : REFUSED;
}

enum err rpc_port_unpin(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	return p ? vd_port_unpin(call->vd, port_id(p), why) : REFUSED;
}

enum err rpc_drain(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	return p ? vd_port_drain(call->vd, port_id(p), true, why) : REFUSED;
}

enum err rpc_undrain(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	return p ? vd_port_drain(call->vd, port_id(p), false, why) : REFUSED;
}

enum err rpc_announce(struct rpc_call *call, struct why *why)
{
	struct port *p = rpc_port(call, why);
	unsigned n = 0;
	enum err e = p ? vd_port_announce(call->vd, port_id(p), &n, why) : REFUSED;
	if (e == OK)
		call->result = json_pack("{s:s,s:I}", "id", port_id(p), "addresses", (json_int_t)n);
	return e;
}

enum err rpc_log_level(struct rpc_call *call, struct why *why)
{
	const char *word = rpc_text(call, "level");
	int level = word ? log_level_parse(word) : -1;
	if (level < 0)
		return rpc_usage(call, why, "\"level\" must be error, warn, info or debug");
	enum log_level old = log_level();
	log_set_level((enum log_level)level);
	enum err e = vd_table_keep(call->vd, why);
	if (e != OK)
		log_set_level(old);
	return e;
}
