// A network namespace of the lab's own, with a bridge and a tap for each daemon; it ends with this process.
#ifndef LAB_NETNS_H
#define LAB_NETNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

extern const char *const netns_tap[2];

// Move this process into a new namespace and make bridge and taps there. OURS (not privileged, no tun) with the reason.
enum err netns_enter(struct why *why);
// The bridge's port behind which it has learned this address ("52:54:..."): "" if none.
void netns_bridge_port(const char *mac, char *port, size_t size);

#endif
