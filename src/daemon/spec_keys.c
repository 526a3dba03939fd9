// The table of keys: what a SPEC can say. Everything else about keys follows from it.
#include "daemon/spec_keys.h"

#define AT(field) offsetof(struct port_spec, field)
const struct key spec_keys[SPEC_N_KEYS] = {
	{ "id", T_NAME, K_ALL, AT(id), 0, 0, 0, NULL, false, NULL, "name of the port, [A-Za-z0-9_.-]{1,32}" },
	{ "path", T_PATH, K_VHOST, AT(path), 0, 0, 0, NULL, false, NULL, "socket (default: ID.sock in the runtime directory)" },
	{ "fd", T_FD, K_VHOST | K_TAP, AT(fd), 0, 65535, 0, NULL, false, NULL, "listening or connected socket, or open tap, that we inherit" },
	{ "mode", T_WORD, K_VHOST, AT(mode), 0, 0, 0, "server|client", false, NULL, "server: we listen (default); client: we connect, and again" },
	{ "sessions", T_U32, K_VHOST, AT(sessions), 1, 2, 2, NULL, true, NULL, "front ends at once on this path: 2 lets a local migration use one path" },
	{ "queues", T_U32, K_VHOST | K_TAP, AT(queues), 1, 16, 16, NULL, false, NULL, "queue pairs" },
	{ "net", T_NAME, K_ALL, AT(net), 0, 0, 0, NULL, false, NULL, "broadcast domain (default: default)" },
	{ "group", T_NAME, K_ALL, AT(group), 0, 0, 0, NULL, true, NULL, "split horizon: nothing is forwarded between ports of one group (all taps are one by default)" },
	{ "guest", T_NAME, K_VHOST, AT(guest), 0, 0, 0, NULL, true, NULL, "ports with the same guest= serve one guest, now here, now there" },
	{ "label", T_TEXT, K_ALL, AT(label), 0, 64, 0, NULL, true, NULL, "text for people" },
	{ "mtu", T_U32, K_VHOST, AT(mtu), 68, 65535, 0, NULL, false, NULL, "the most that a front end may tell the guest (NET_SET_MTU)" },
	{ "announce", T_WORD, K_VHOST, AT(announce), 0, 0, 0, "guest|switch", false, NULL, "who speaks after a move: the guest too (default), or the switch alone" },
	{ "packed", T_WORD, K_VHOST, AT(packed), 0, 0, 0, "off|on", false, NULL, "on: packed rings are offered, too" },
	{ "features", T_FEATURES, K_VHOST, 0, 0, 0, 0, NULL, false, NULL, "+NAME:-NAME... on top of the level: mrg_rxbuf, csum, proto-mtu..." },
	{ "compat", T_COMPAT, K_VHOST, AT(compat), 1, 1, 0, NULL, false, NULL, "level of offered features, 1 or latest" },
	{ "hold-ms", T_U32, K_VHOST, AT(hold_ms), 0, 600000, 1000, NULL, true, NULL, "how long frames for a stopped guest are held" },
	{ "hold-bytes", T_SIZE, K_VHOST, AT(hold_bytes), 0, UINT64_C(1) << 40, 16u << 20, NULL, true, NULL, "how many bytes of them" },
	{ "mac", T_MACS, K_VHOST, 0, 0, 0, 0, NULL, true, NULL, "M[+M]: the guest's MACs, where nobody else will tell" },
	{ "filter", T_WORD, K_VHOST, AT(filter), 0, 0, 0, "off|mac", true, NULL, "mac: frames with another source are dropped" },
	{ "max-macs", T_U32, K_ALL, AT(max_macs), 1, 65536, 64, NULL, true, NULL, "addresses learned behind the port (default 64; of a tap 4096)" },
	{ "memory", T_WORD, K_VHOST, AT(memory), 0, 0, 0, "ram|any", false, NULL, "any: guest memory may be a file on any file system" },
	{ "rate-in", T_SIZE, K_VHOST, AT(rate_in), 0, UINT64_C(1) << 50, 0, NULL, true, NULL, "bits per second from the guest" },
	{ "rate-out", T_SIZE, K_VHOST, AT(rate_out), 0, UINT64_C(1) << 50, 0, NULL, true, NULL, "bits per second to the guest" },
	{ "socket-mode", T_OCTAL, K_VHOST, AT(socket_mode), 0, 0777, 0660, NULL, false, NULL, "rights of the socket, octal" },
	{ "socket-group", T_GROUP, K_VHOST, AT(socket_gid), 0, 0, 0, NULL, false, NULL, "its group, by name or number" },
	{ "peer-uid", T_UID, K_VHOST, AT(peer_uid), 0, UINT32_MAX, 0, NULL, true, NULL, "only this user's front ends, and root's, may connect" },
	{ "ifname", T_IFNAME, K_TAP, AT(ifname), 0, 0, 0, NULL, false, NULL, "tap interface; created if it is not there and we may" },
	{ "bridge", T_IFNAME, K_TAP, AT(bridge), 0, 0, 0, NULL, false, NULL, "bridge that the tap is put into" },
};

const char *const spec_kind_names[SPEC_N_KINDS] = {
	[SPEC_VHOST_USER] = "vhost-user", [SPEC_TAP] = "tap", [SPEC_NULL] = "null",
};

void spec_help(FILE *to)
{
	for (unsigned i = 0; i < SPEC_N_KEYS; i++)
		if (!spec_keys[i].later)
			fprintf(to, "    %-13s %s%s\n", spec_keys[i].name, spec_keys[i].help, spec_keys[i].kinds == K_TAP ? " [tap]" : "");
}

bool spec_key_live(enum spec_key k)
{
	return spec_keys[k].live;
}

const char *spec_key_name(enum spec_key k)
{
	return spec_keys[k].name;
}

const char *spec_kind_name(enum spec_kind kind)
{
	return spec_kind_names[kind];
}
