// The agent's network side in the guest: interface, addresses, ARP entry, and what the kernel counts.
#ifndef LAB_AGENT_NET_H
#define LAB_AGENT_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_net {
	char interface[16];
	struct in_addr own4, peer4;
	struct in6_addr own6, peer6;
	uint8_t peer_mac[6];
	bool have_mac;
	int mtu; // 0: as it is
};

// Fill from the environment (the kernel hands "lab_x=y" of its command line to init): lab_if, lab_ip4, lab_peer4, lab_ip6,
// lab_peer6, lab_peer_mac, lab_mtu. false if an address is missing or wrong.
bool agent_net_parse(struct agent_net *net);
// Addresses onto the interface, interface up. false with errno.
bool agent_net_up(const struct agent_net *net);
// One datagram to the other guest over IPv4 and IPv6 each, so that ARP and ND run; then the ARP entry is made permanent.
// Returns whether the other guest's address was found.
bool agent_net_greet(const struct agent_net *net);

struct agent_net_counts {
	uint64_t in_errors, rcvbuf_errors, csum_errors; // of UDP
	long carrier, carrier_changes;
};
void agent_net_read(const struct agent_net *net, struct agent_net_counts *c);

#endif
