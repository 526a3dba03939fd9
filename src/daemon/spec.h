// A port's SPEC: "KIND,key=value,..." (a comma in a value is doubled; sizes take K M G). One table (spec_keys.c) says for
// each key its name, type, limits, kinds, default, help and whether it may change without a reconnect; parsing, printing,
// comparing and --help all derive from it. Plain data without pointers: copy it by assignment.
#ifndef DAEMON_SPEC_H
#define DAEMON_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/err.h"

#define SPEC_NAME_MAX 33 // id, net, group, guest: 32 characters and a NUL
#define SPEC_PATH_MAX 108 // sun_path: 107 bytes and a NUL
#define SPEC_LABEL_MAX 128
#define SPEC_MAX_MACS 8 // of mac=
#define SPEC_TEXT_MAX 4096 // of a whole SPEC, NUL included
#define SPEC_COMPAT_NEWEST 1 // the levels are 1..this

enum spec_kind { SPEC_VHOST_USER, SPEC_TAP, SPEC_NULL, SPEC_N_KINDS };

enum spec_key {
	SPEC_K_ID,
	SPEC_K_PATH,
	SPEC_K_FD,
	SPEC_K_MODE,
	SPEC_K_SESSIONS,
	SPEC_K_QUEUES,
	SPEC_K_NET,
	SPEC_K_GROUP,
	SPEC_K_GUEST,
	SPEC_K_LABEL,
	SPEC_K_MTU,
	SPEC_K_ANNOUNCE,
	SPEC_K_PACKED,
	SPEC_K_FEATURES,
	SPEC_K_COMPAT,
	SPEC_K_HOLD_MS,
	SPEC_K_HOLD_BYTES,
	SPEC_K_MAC,
	SPEC_K_FILTER,
	SPEC_K_MAX_MACS,
	SPEC_K_MEMORY,
	SPEC_K_RATE_IN,
	SPEC_K_RATE_OUT,
	SPEC_K_SOCKET_MODE,
	SPEC_K_SOCKET_GROUP,
	SPEC_K_PEER_UID,
	SPEC_K_IFNAME,
	SPEC_K_BRIDGE,
	SPEC_N_KEYS
};

enum spec_mode { SPEC_SERVER, SPEC_CLIENT };
enum spec_announce { SPEC_ANNOUNCE_GUEST, SPEC_ANNOUNCE_SWITCH };
enum spec_filter { SPEC_FILTER_OFF, SPEC_FILTER_MAC };
enum spec_memory { SPEC_MEMORY_RAM, SPEC_MEMORY_ANY };

// Every field holds its default where the key was not given.
struct port_spec {
	enum spec_kind kind;
	uint32_t given; // BIT(enum spec_key) of the keys that the text named
	char id[SPEC_NAME_MAX];
	char path[SPEC_PATH_MAX]; // "" : the default, see spec_path
	int fd; // -1: none. The number as given; whose it is, is the caller's business
	uint32_t mode; // enum spec_mode
	uint32_t sessions; // 1..2
	uint32_t queues; // queue pairs offered, 1..16
	char net[SPEC_NAME_MAX];
	char group[SPEC_NAME_MAX]; // "" : none; default "tap" for taps
	char guest[SPEC_NAME_MAX]; // "" : none
	char label[SPEC_LABEL_MAX];
	uint32_t mtu; // 0: none told
	uint32_t announce; // enum spec_announce
	uint32_t packed; // 1: packed rings are offered
	uint64_t features_plus, features_minus; // virtio feature bits of features=
	uint64_t proto_plus, proto_minus; // protocol feature bits of features=proto-...
	uint32_t compat; // 0: latest
	uint32_t hold_ms;
	uint64_t hold_bytes;
	uint64_t macs[SPEC_MAX_MACS]; // mac_key
	uint32_t n_macs;
	uint32_t filter; // enum spec_filter
	uint32_t max_macs;
	uint32_t memory; // enum spec_memory
	uint64_t rate_in, rate_out; // bits/s, 0: unlimited
	uint32_t socket_mode;
	int64_t socket_gid; // -1: leave it
	int64_t peer_uid; // -1: any
	char ifname[16];
	char bridge[16];
};

static inline bool spec_given(const struct port_spec *s, enum spec_key k)
{
	return bits_has(s->given, (unsigned)k);
}

// The defaults of a kind.
void spec_defaults(struct port_spec *out, enum spec_kind kind);
// Parse a whole SPEC and check it for sense (id and what the kind needs are there, path or fd but not both...). REFUSED with the
// key and the cure in why; *out is then untouched.
enum err spec_parse(const char *text, struct port_spec *out, struct why *why);
// Change one key, "key=value" as in a SPEC ("key=" takes the default back): for `port set`. REFUSED changes nothing. Whether it may be changed
// on a live port is not asked here.
enum err spec_set(struct port_spec *s, const char *key_value, struct why *why);
// The SPEC that gives s again: kind, then the given keys in table order. Returns the length it needs (snprintf's way).
size_t spec_format(const struct port_spec *s, char *buf, size_t size);
// Which keys have different values in a and b (kind aside), as bits of enum spec_key; 0: equal.
uint32_t spec_diff(const struct port_spec *a, const struct port_spec *b);
bool spec_equal(const struct port_spec *a, const struct port_spec *b);
// May this key change without a reconnect?
bool spec_key_live(enum spec_key k);
const char *spec_key_name(enum spec_key k); // "hold-ms"
const char *spec_kind_name(enum spec_kind k); // "vhost-user"
// The socket's path: path=, or ID.sock in runtime_dir. REFUSED if it is over 107 bytes. "" for fd= and for other kinds.
enum err spec_path(const struct port_spec *s, const char *runtime_dir, char out[SPEC_PATH_MAX], struct why *why);
// [A-Za-z0-9_.-]{1,32}
bool spec_id_ok(const char *id);
// A number with K, M, G (powers of 1024): sizes. False: not one, or too large.
bool spec_parse_size(const char *text, uint64_t *out);
// The keys by kind, for --help.
void spec_help(FILE *out);

#endif
