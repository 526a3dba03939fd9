// The methods of the control socket: one row each.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rpc.h"

// Whoever may open the socket (0600 if nobody changes that) may do all but what makes files, runs programs or shows all there is, with our rights.
const struct rpc_method rpc_methods[] = {
	{ "status", false, rpc_status },
	{ "ports", false, rpc_ports },
	{ "rings", false, rpc_rings },
	{ "features", false, rpc_features },
	{ "explain", false, rpc_explain },
	{ "fdb", false, rpc_fdb },
	{ "stats", false, rpc_stats },
	{ "events", false, rpc_events },
	{ "migration", false, rpc_migration },
	{ "announce", false, rpc_announce },
	{ "wait", false, rpc_wait },
	{ "port.add", true, rpc_port_add },
	{ "port.del", false, rpc_port_del },
	{ "port.set", false, rpc_port_set },
	{ "port.release", false, rpc_port_release },
	{ "port.unpin", false, rpc_port_unpin },
	{ "drain", false, rpc_drain },
	{ "undrain", false, rpc_undrain },
	{ "log-level", false, rpc_log_level },
	{ "store.check", false, rpc_store_check },
	{ "store.dump", true, rpc_store_dump },
	{ "upgrade", true, rpc_upgrade },
	{ NULL, false, NULL },
};

enum err rpc_usage(struct rpc_call *call, struct why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	call->usage = true;
	return REFUSED;
}

const char *rpc_text(struct rpc_call *call, const char *name)
{
	return json_string_value(json_object_get(call->params, name));
}

struct port *rpc_port(struct rpc_call *call, struct why *why)
{
	const char *id = rpc_text(call, "id");
	struct port *p = id ? vd_port_find(call->vd, id) : NULL;
	if (!id)
		rpc_usage(call, why, "parameter \"id\" is missing");
	else if (!p)
		refuse(why, "no port '%.40s'", id);
	return p;
}

json_t *rpc_hex(uint64_t v)
{
	return json_sprintf("0x%llx", (unsigned long long)v);
}

json_t *rpc_us(uint64_t v)
{
	return v ? json_integer((json_int_t)v) : json_null();
}
