// Neighbour frames: addresses as text, byte-exact frames that we build, and what snooping believes and what not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/neigh.h"
#include "net/vnet.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr ip;
	assert_true(ip_parse(text, &ip));
	return ip;
}

static uint8_t said; // ip_addr.router of the last snoop that told something

// Snoop a copy in a heap block of just its length, so that ASan sees one byte too much. "": nothing was told.
static const char *snoop(const uint8_t *frame, uint32_t len)
{
	static char text[46];
	struct eth_info e = { 0 };
	struct ip_addr ip;
	memset(&ip, 0xee, sizeof(ip));
	uint32_t have = len < NEIGH_SNOOP_BYTES ? len : NEIGH_SNOOP_BYTES;
	uint8_t *p = malloc(have + (have == 0));
	assert_non_null(p);
	memcpy(p, frame, have);
	text[0] = '\0';
	if (eth_parse(p, have, &e) && neigh_snoop(p, have, &e, &ip)) {
		assert_true(neigh_worth(p, have, &e));
		said = ip.router;
		ip_format(&ip, text);
		if (ip.family == 4)
			for (int i = 4; i < 16; i++)
				assert_int_equal(ip.addr[i], 0);
	}
	free(p);
	return text;
}

// -- text ----------------------------------------------------------------------------------------------------------------

static void test_mac_text(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "5", "52", "52:", "52:54:00:12:34", "52:54:00:12:34:", "52:54:00:12:34:5",
					   "52:54:00:12:34:567", "52:54:00:12:34:56:", "52-54-00-12-34-56", "g2:54:00:12:34:56",
					   "52:54:00:12:34:5g", " 52:54:00:12:34:56", "52:54:0:12:34:56", "525400123456" };
	uint8_t out[6] = { 9, 9, 9, 9, 9, 9 };
	char buf[18];
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *exact = strdup(bad[i]);
		assert_non_null(exact);
		assert_false(mac_parse(exact, out));
		assert_int_equal(out[0], 9);
		free(exact);
	}
	assert_true(mac_parse("52:54:00:12:34:56", out));
	assert_memory_equal(out, mac, 6);
	assert_string_equal(mac_format(out, buf), "52:54:00:12:34:56");
	assert_true(mac_parse("FF:eE:Dd:c0:09:aF", out));
	assert_string_equal(mac_format(out, buf), "ff:ee:dd:c0:09:af");
	assert_true(mac_key(out) == 0xffeeddc009af);
	mac_of_key(out, 0x525400123456);
	assert_memory_equal(out, mac, 6);
	assert_true(mac_key_multicast(0x010000000000) && !mac_key_multicast(0x525400123456));
	assert_true(!mac_key_unicast(0) && !mac_key_unicast(0x333300000001) && mac_key_unicast(1));
}

static void test_ip_text(void **state)
{
	(void)state;
	static const char *const good[] = { "0.0.0.0", "192.168.1.7", "255.255.255.255", "::", "::1", "fe80::5054:ff:fe12:3456",
					    "1111:2222:3333:4444:5555:6666:7777:8888" };
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "fe80::1%eth0", ":::", "1.2.3.4/24", "x" };
	char buf[46];
	struct ip_addr none = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct ip_addr ip = ip_of(good[i]);
		assert_int_equal(ip.family, strchr(good[i], ':') ? 6 : 4);
		assert_string_equal(ip_format(&ip, buf), good[i]);
		for (size_t j = 0; j < ARRAY_LEN(good); j++) {
			struct ip_addr other = ip_of(good[j]);
			assert_int_equal(ip_equal(&ip, &other), i == j);
		}
		assert_false(ip_equal(&ip, &none));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(ip_parse(bad[i], &none));
	assert_string_equal(ip_format(&none, buf), "");
}

// -- frames we build -----------------------------------------------------------------------------------------------------

#define MAC_BYTES 0x52, 0x54, 0x00, 0x12, 0x34, 0x56
#define BROADCAST_BYTES 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
#define IP6_BYTES 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56
#define TAG_BYTES 0x81, 0x00, 0x0f, 0xff
#define RARP_BODY \
	0x80, 0x35, 0, 1, 0x08, 0x00, 6, 4, 0, 3, MAC_BYTES, 0, 0, 0, 0, MAC_BYTES, 0, 0, 0, 0
#define GARP_BODY \
	0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1, MAC_BYTES, 192, 168, 1, 7, 0, 0, 0, 0, 0, 0, 192, 168, 1, 7
#define NA_BODY \
	0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255, IP6_BYTES, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 136, 0,    \
		0xcb, 0x68, 0x20, 0, 0, 0, IP6_BYTES, 2, 1, MAC_BYTES

static const uint8_t rarp_frame[60] = { BROADCAST_BYTES, MAC_BYTES, RARP_BODY };
static const uint8_t rarp_tagged[60] = { BROADCAST_BYTES, MAC_BYTES, TAG_BYTES, RARP_BODY };
static const uint8_t garp_frame[60] = { BROADCAST_BYTES, MAC_BYTES, GARP_BODY };
static const uint8_t garp_tagged[60] = { BROADCAST_BYTES, MAC_BYTES, TAG_BYTES, GARP_BODY };
static const uint8_t na_frame[86] = { 0x33, 0x33, 0, 0, 0, 1, MAC_BYTES, NA_BODY };
static const uint8_t na_tagged[90] = { 0x33, 0x33, 0, 0, 0, 1, MAC_BYTES, TAG_BYTES, NA_BODY };

enum build { RARP, GARP, NA };

static void check_built(enum build what, uint16_t vlan, const struct ip_addr *ip, const uint8_t *want, uint32_t len)
{
	uint8_t *out = malloc(NEIGH_FRAME_MAX);
	assert_non_null(out);
	memset(out, 0xee, NEIGH_FRAME_MAX); // padding must be written
	uint32_t got = what == RARP ? neigh_build_rarp(out, mac, vlan) :
		       what == GARP ? neigh_build_garp(out, mac, vlan, ip) :
				      neigh_build_na(out, mac, vlan, ip);
	assert_int_equal(got, len);
	assert_memory_equal(out, want, len);
	free(out);
}

static void test_built_frames(void **state)
{
	(void)state;
	struct ip_addr ip4 = ip_of("192.168.1.7"), ip6 = ip_of("fe80::5054:ff:fe12:3456");
	uint8_t out[NEIGH_FRAME_MAX];
	check_built(RARP, 0, NULL, rarp_frame, sizeof(rarp_frame));
	check_built(RARP, 4095, NULL, rarp_tagged, sizeof(rarp_tagged));
	check_built(GARP, 0, &ip4, garp_frame, sizeof(garp_frame));
	check_built(GARP, 4095, &ip4, garp_tagged, sizeof(garp_tagged));
	check_built(NA, 0, &ip6, na_frame, sizeof(na_frame));
	check_built(NA, 4095, &ip6, na_tagged, sizeof(na_tagged));
	assert_int_equal(neigh_build_garp(out, mac, 0, &ip6), 0);
	assert_int_equal(neigh_build_na(out, mac, 0, &ip4), 0);
}

// The sum over pseudo header and message of a good ICMPv6 frame is all ones.
static uint32_t icmp6_sum(const uint8_t *ip6)
{
	uint32_t len = (uint32_t)ip6[4] << 8 | ip6[5], sum = 58 + len;
	for (uint32_t i = 8; i < 40 + len; i += 2)
		sum += (uint32_t)ip6[i] << 8 | ip6[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void test_round_trip(void **state)
{
	(void)state;
	static const char *const ips[] = { "10.0.0.1", "192.168.1.7", "223.255.255.254", "fe80::1", "2001:db8::ffff:ffff:ffff",
					   "fd00:1:2:3:4:5:6:7" };
	static const uint16_t vlans[] = { 0, 1, 7, 4094, 4095 };
	uint8_t out[NEIGH_FRAME_MAX];
	struct eth_info e = { 0 };
	for (size_t v = 0; v < ARRAY_LEN(vlans); v++)
		for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
			struct ip_addr ip = ip_of(ips[i]);
			uint32_t len = ip.family == 4 ? neigh_build_garp(out, mac, vlans[v], &ip) :
							neigh_build_na(out, mac, vlans[v], &ip);
			assert_true(len >= 60 && len <= NEIGH_FRAME_MAX);
			assert_true(eth_parse(out, len, &e));
			assert_int_equal(e.vlan, vlans[v]);
			assert_true(e.src == mac_key(mac) && mac_key_multicast(e.dst));
			assert_string_equal(snoop(out, len), ips[i]);
			if (ip.family == 6)
				assert_int_equal(icmp6_sum(out + e.l3), 0xffff);
		}
	assert_string_equal(snoop(out, neigh_build_rarp(out, mac, 0)), ""); // claims no address
}

// -- frames we read ------------------------------------------------------------------------------------------------------

// NS for 2001:db8::99 from 2001:db8::7 with a nonce and its source link-layer address.
#define NS_BODY \
	0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 58, 255, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0x02, 0,  \
		0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x99, 135, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0,    \
		0, 0, 0, 0, 0, 0, 0x99, 14, 1, 1, 2, 3, 4, 5, 6, 1, 1, MAC_BYTES
static const uint8_t ns_frame[94] = { 0x33, 0x33, 0xff, 0, 0, 0x99, MAC_BYTES, NS_BODY };
static const uint8_t ns_tagged[98] = { 0x33, 0x33, 0xff, 0, 0, 0x99, MAC_BYTES, 0x88, 0xa8, 0x00, 0x07, NS_BODY };

static const struct valid {
	const uint8_t *frame;
	uint32_t len, need; // need: without padding
	const char *ip;
} valid[] = {
	{ garp_frame, sizeof(garp_frame), 42, "192.168.1.7" },
	{ garp_tagged, sizeof(garp_tagged), 46, "192.168.1.7" },
	{ na_frame, sizeof(na_frame), 86, "fe80::5054:ff:fe12:3456" },
	{ na_tagged, sizeof(na_tagged), 90, "fe80::5054:ff:fe12:3456" },
	{ ns_frame, sizeof(ns_frame), 94, "2001:db8::7" },
	{ ns_tagged, sizeof(ns_tagged), 98, "2001:db8::7" },
};

static void test_truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(valid); i++)
		for (uint32_t len = 0; len <= valid[i].len; len++)
			assert_string_equal(snoop(valid[i].frame, len), len < valid[i].need ? "" : valid[i].ip);
}

// Patches to a frame: at offset, these bytes, then this verdict.
struct patch {
	uint32_t at, n;
	uint8_t bytes[16];
	const char *ip; // "": nothing
};

static void check_patches(const uint8_t *frame, uint32_t len, const struct patch *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t copy[128];
		memcpy(copy, frame, len);
		memcpy(copy + p[i].at, p[i].bytes, p[i].n);
		if (strcmp(snoop(copy, len), p[i].ip) != 0)
			print_error("patch %zu at %u\n", i, p[i].at);
		assert_string_equal(snoop(copy, len), p[i].ip);
	}
}

static void test_arp_rules(void **state)
{
	(void)state;
	static const struct patch patches[] = {
		{ 14, 2, { 0, 6 }, "" }, // hardware type
		{ 16, 2, { 0x86, 0xdd }, "" }, // protocol type
		{ 18, 1, { 8 }, "" }, // lengths
		{ 19, 1, { 16 }, "" },
		{ 20, 2, { 0, 2 }, "192.168.1.7" }, // a reply
		{ 20, 2, { 0, 0 }, "" },
		{ 20, 2, { 0, 3 }, "" }, // RARP inside ARP
		{ 20, 2, { 1, 1 }, "" },
		{ 27, 1, { 0x57 }, "" }, // sender MAC is not the frame's source
		{ 11, 1, { 0x57 }, "" },
		{ 28, 4, { 0, 0, 0, 0 }, "" }, // a probe
		{ 28, 4, { 0, 1, 2, 3 }, "" },
		{ 28, 4, { 127, 0, 0, 1 }, "" },
		{ 28, 4, { 224, 0, 0, 1 }, "" },
		{ 28, 4, { 239, 255, 255, 255 }, "" },
		{ 28, 4, { 255, 255, 255, 255 }, "" },
		{ 28, 4, { 223, 1, 1, 1 }, "223.1.1.1" },
		{ 38, 4, { 192, 168, 1, 1 }, "192.168.1.7" }, // an ordinary request
		{ 12, 2, { 0x08, 0x00 }, "" }, // not ARP
		{ 12, 2, { 0x80, 0x35 }, "" },
	};
	check_patches(garp_frame, sizeof(garp_frame), patches, ARRAY_LEN(patches));

	uint8_t copy[60];
	memcpy(copy, garp_frame, sizeof(copy));
	copy[6] = copy[22] = 0x53; // a multicast source, consistently
	assert_string_equal(snoop(copy, sizeof(copy)), "");
	memset(copy + 6, 0, 6);
	memset(copy + 22, 0, 6);
	assert_string_equal(snoop(copy, sizeof(copy)), "");
}

static void test_na_rules(void **state)
{
	(void)state;
	static const char *const good = "fe80::5054:ff:fe12:3456";
	const struct patch patches[] = {
		{ 14, 1, { 0x40 }, "" }, // IP version
		{ 14, 1, { 0x6f }, good }, // traffic class
		{ 18, 2, { 0, 23 }, "" }, // payload length: no room for the message
		{ 18, 2, { 0, 24 }, good }, // no option
		{ 18, 2, { 0, 25 }, "" }, // half an option
		{ 18, 2, { 0, 31 }, "" },
		{ 18, 2, { 0, 33 }, "" }, // more than there is
		{ 18, 2, { 0xff, 0xff }, "" },
		{ 20, 1, { 0 }, "" }, // a hop-by-hop header first
		{ 20, 1, { 44 }, "" }, // a fragment
		{ 20, 1, { 17 }, "" },
		{ 21, 1, { 254 }, "" }, // came through a router
		{ 21, 1, { 0 }, "" },
		{ 54, 1, { 134 }, "" }, // a router advertisement
		{ 54, 1, { 137 }, "" },
		{ 55, 1, { 1 }, "" }, // code
		{ 58, 1, { 0x60 }, "" }, // solicited, to all nodes
		{ 58, 1, { 0xa0 }, good }, // a router
		{ 62, 16, { 0xff, 0x02, [15] = 1 }, "" }, // target: multicast
		{ 62, 16, { 0 }, "" },
		{ 62, 16, { [15] = 1 }, "" },
		{ 62, 16, { 0x20, 0x01, 0x0d, 0xb8, [15] = 5 }, "2001:db8::5" },
		{ 85, 1, { 0x57 }, "" }, // target link-layer address is not the frame's source
		{ 11, 1, { 0x57 }, "" },
		{ 78, 1, { 1 }, good }, // another option: the source MAC counts
		{ 79, 1, { 0 }, "" }, // an option without length
		{ 79, 1, { 2 }, "" }, // an option beyond the message
		{ 79, 1, { 0xff }, "" },
	};
	check_patches(na_frame, sizeof(na_frame), patches, ARRAY_LEN(patches));
}

static void test_ns_rules(void **state)
{
	(void)state;
	static const char *const good = "2001:db8::7";
	const struct patch patches[] = {
		{ 21, 1, { 254 }, "" },
		{ 22, 16, { 0 }, "" }, // duplicate address detection
		{ 22, 16, { [15] = 1 }, "" },
		{ 22, 16, { 0xff, 0x02, [15] = 1 }, "" },
		{ 22, 16, { 0xfe, 0x80, [15] = 9 }, "fe80::9" },
		{ 55, 1, { 1 }, "" },
		{ 62, 1, { 0xff }, "" }, // target: multicast
		{ 79, 1, { 0 }, "" }, // first option without length
		{ 79, 1, { 2 }, good }, // one long option that is not ours to read
		{ 87, 1, { 0 }, "" }, // second option without length
		{ 87, 1, { 2 }, "" },
		{ 86, 1, { 2 }, good }, // a target link-layer address means nothing here
		{ 88, 1, { 0x54 }, "" }, // source link-layer address is not the frame's source
		{ 78, 8, { 1, 2, MAC_BYTES }, "" }, // source link-layer address of another length
	};
	check_patches(ns_frame, sizeof(ns_frame), patches, ARRAY_LEN(patches));
}

// A message whose options reach to the limit of what is looked at, and one that goes beyond.
static void test_snoop_limit(void **state)
{
	(void)state;
	uint8_t frame[NEIGH_SNOOP_BYTES + 16];
	memset(frame, 0, sizeof(frame));
	memcpy(frame, na_frame, sizeof(na_frame));
	for (uint32_t at = 86; at + 8 <= sizeof(frame); at += 8) {
		frame[at] = 200;
		frame[at + 1] = 1;
		frame[18] = (uint8_t)((at + 8 - 54) >> 8);
		frame[19] = (uint8_t)(at + 8 - 54);
		assert_string_equal(snoop(frame, at + 8), at + 8 <= NEIGH_SNOOP_BYTES ? "fe80::5054:ff:fe12:3456" : "");
	}
}

// A router must not announce itself as if it were none: hosts would drop their default route through it.
static void test_router(void **state)
{
	(void)state;
	static const uint8_t ra[] = { 0x33, 0x33, 0, 0, 0, 1, MAC_BYTES, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0,
				      0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
				      134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, MAC_BYTES };
	uint8_t out[NEIGH_FRAME_MAX];
	struct ip_addr ip = ip_of("fe80::5054:ff:fe12:3456");
	for (uint8_t r = IP_ROUTER_NOT_SAID; r <= IP_ROUTER_YES; r++) {
		ip.router = r;
		uint32_t len = neigh_build_na(out, mac, 0, &ip);
		assert_int_equal(out[58], r == IP_ROUTER_YES ? 0xa0 : 0x20);
		bool odd = false; // pseudo header, then the message with its checksum: all ones
		assert_int_equal(csum_fold(csum_add(csum_add(58 + 32, out + 22, 32, &odd), out + 54, 32, &odd)), 0);
		assert_string_equal(snoop(out, len), "fe80::5054:ff:fe12:3456");
		assert_int_equal(said, r == IP_ROUTER_YES ? IP_ROUTER_YES : IP_ROUTER_NO);
	}
	assert_string_equal(snoop(ra, sizeof(ra)), "fe80::5054:ff:fe12:3456");
	assert_int_equal(said, IP_ROUTER_YES);
	snoop(ns_frame, sizeof(ns_frame));
	assert_int_equal(said, IP_ROUTER_NOT_SAID);
	for (uint32_t len = 0; len < sizeof(ra); len++)
		assert_string_equal(snoop(ra, len), "");
	static const struct patch patches[] = {
		{ 22, 1, { 0xfd }, "" }, // not link-local
		{ 21, 1, { 254 }, "" }, // forwarded
		{ 55, 1, { 1 }, "" }, // code
		{ 6, 6, { 0x52, 0x54, 0, 0x12, 0x34, 0x57 }, "" }, // another MAC than the option's
	};
	check_patches(ra, sizeof(ra), patches, ARRAY_LEN(patches));
}

static void test_eth_parse(void **state)
{
	(void)state;
	struct eth_info e = { 0 };
	for (uint32_t len = 0; len < 20; len++) {
		uint8_t *p = malloc(len + (len == 0));
		assert_non_null(p);
		memcpy(p, garp_frame, len);
		assert_int_equal(eth_parse(p, len, &e), len >= 14);
		memcpy(p, garp_tagged, len);
		assert_int_equal(eth_parse(p, len, &e), len >= 18);
		free(p);
	}
	assert_true(eth_parse(ns_tagged, 18, &e));
	assert_int_equal(e.vlan, 7);
	assert_int_equal(e.type, ETH_T_IPV6);
	assert_int_equal(e.l3, 18);
	assert_true(e.dst == 0x3333ff000099 && e.src == 0x525400123456);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac_text), cmocka_unit_test(test_ip_text), cmocka_unit_test(test_built_frames),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_truncations), cmocka_unit_test(test_arp_rules),
		cmocka_unit_test(test_na_rules), cmocka_unit_test(test_ns_rules), cmocka_unit_test(test_snoop_limit),
		cmocka_unit_test(test_router), cmocka_unit_test(test_eth_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
