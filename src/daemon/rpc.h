// Shared by the files that answer requests: parameters, and the shapes of the contract's objects.
#ifndef DAEMON_RPC_H
#define DAEMON_RPC_H

#include "daemon/ctl_server.h"
#include "daemon/spec.h"
#include "daemon/vd.h"

const char *rpc_text(struct rpc_call *call, const char *name); // NULL: not given
// Refuse because of what was asked, not of what there is: vringctl ends with 2.
enum err rpc_usage(struct rpc_call *call, struct why *why, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// The port that "id" names. NULL with why: none of that name, or no id although one is needed.
struct port *rpc_port(struct rpc_call *call, struct why *why);
json_t *rpc_hex(uint64_t v); // "0x..."
json_t *rpc_us(uint64_t v); // null for 0: was not seen
json_t *rpc_port_json(struct vd *vd, const struct port *p);
json_t *rpc_stats_json(const struct port *p);

rpc_fn rpc_status, rpc_ports, rpc_rings, rpc_features, rpc_explain, rpc_fdb, rpc_stats;
rpc_fn rpc_events, rpc_migration, rpc_announce, rpc_wait;
rpc_fn rpc_port_add, rpc_port_del, rpc_port_set, rpc_port_release, rpc_port_unpin, rpc_drain, rpc_undrain;
rpc_fn rpc_log_level, rpc_store_check, rpc_store_dump, rpc_upgrade;

#endif
