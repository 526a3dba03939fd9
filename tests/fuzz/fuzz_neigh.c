// A frame from anyone: parsing and snooping stay inside it, and what snooping tells can be announced and snooped again.
#include "fuzz.h"

#include <string.h>

#include "net/neigh.h"

static void check_told(const uint8_t *p, uint32_t have, const struct eth_info *e, const struct ip_addr *ip)
{
	static const uint8_t zero[12];
	char text[46];
	struct ip_addr again;
	FUZZ_CHECK(neigh_worth(p, have, e));
	FUZZ_CHECK(ip->family == 4 || ip->family == 6);
	FUZZ_CHECK(ip->family == 6 || memcmp(ip->addr + 4, zero, 12) == 0);
	FUZZ_CHECK(ip_parse(ip_format(ip, text), &again) && ip_equal(ip, &again));

	uint8_t frame[NEIGH_FRAME_MAX], mac[6];
	struct eth_info f;
	mac_of_key(mac, e->src);
	uint32_t len = ip->family == 4 ? neigh_build_garp(frame, mac, e->vlan, ip) : neigh_build_na(frame, mac, e->vlan, ip);
	FUZZ_CHECK(len >= 60 && len <= NEIGH_FRAME_MAX);
	FUZZ_CHECK(eth_parse(frame, len, &f) && f.src == e->src && f.vlan == e->vlan);
	FUZZ_CHECK(neigh_snoop(frame, len, &f, &again) && ip_equal(ip, &again));
	FUZZ_CHECK((ip->router == IP_ROUTER_YES) == (again.router == IP_ROUTER_YES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t have = size < NEIGH_SNOOP_BYTES ? (uint32_t)size : NEIGH_SNOOP_BYTES;
	uint8_t *p = malloc(have + (have == 0)); // its end is where reading must end
	struct eth_info e;
	struct ip_addr ip;
	if (!p)
		return 0;
	memcpy(p, data, have);
	if (eth_parse(p, have, &e)) {
		FUZZ_CHECK(e.l3 <= have && e.vlan <= 0x0fff);
		FUZZ_CHECK(e.dst >> 48 == 0 && e.src >> 48 == 0);
		if (neigh_snoop(p, have, &e, &ip))
			check_told(p, have, &e, &ip);
	} else {
		FUZZ_CHECK(have < ETH_HDR_VLAN);
	}
	free(p);
	return 0;
}
