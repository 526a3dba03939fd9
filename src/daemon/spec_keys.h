// Inside the SPEC code: the table of keys.
#ifndef DAEMON_SPEC_KEYS_H
#define DAEMON_SPEC_KEYS_H

#include <stddef.h>

#include "daemon/spec.h"

enum { K_VHOST = 1, K_TAP = 2, K_NULL = 4, K_ALL = 7 };

enum key_type { T_NAME, T_PATH, T_FD, T_U32, T_U64, T_SIZE, T_WORD, T_MACS, T_FEATURES, T_COMPAT, T_OCTAL, T_GROUP, T_UID, T_TEXT, T_IFNAME };

struct key {
	const char *name;
	enum key_type type;
	unsigned kinds;
	size_t at; // offset in struct port_spec
	uint64_t min, max, preset;
	const char *words; // T_WORD: "no|yes": the field is bool, true for the second
	bool live; // may change without a reconnect
	const char *later; // not built in this version: why
	const char *help;
};

extern const struct key spec_keys[SPEC_N_KEYS]; // in the order of enum spec_key
extern const char *const spec_kind_names[SPEC_N_KINDS];

#endif
