// Port SPECs as two tables: good ones with the form they are printed in, bad ones with the exact words of the refusal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "daemon/spec.h"
#include "net/eth.h"

#define PATH107 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID32 "abcdefghijklmnopqrstuvwxyz012345"

static const struct {
	const char *text, *printed; // NULL: as it came
} good[] = {
	{ "vhost-user,id=vm0", NULL },
	{ "vhost-user,id=" ID32, NULL },
	{ "vhost-user,id=A.b_c-9", NULL },
	{ "vhost-user,path=/run/a.sock,id=vm0", "vhost-user,id=vm0,path=/run/a.sock" },
	{ "vhost-user,id=vm0,path=/run/a,,b,,.sock", NULL },
	{ "vhost-user,id=vm0,path=" PATH107, NULL },
	{ "vhost-user,id=vm0,label=rack 3,, slot=2", NULL },
	{ "vhost-user,id=vm0,label=B\xc3\xbcro \xf0\x9f\x90\x99", NULL },
	{ "vhost-user,id=vm0,fd=7", NULL },
	{ "vhost-user,id=vm0,mode=client,sessions=1", NULL },
	{ "vhost-user,id=vm0,queues=16,net=blue,guest=g,mtu=1500", NULL },
	{ "vhost-user,id=vm0,announce=switch,packed=off,compat=1", NULL },
	{ "vhost-user,id=vm0,packed=on", NULL },
	{ "vhost-user,id=vm0,compat=latest", NULL },
	{ "vhost-user,id=vm0,features=-mrg_rxbuf:-proto-mtu", NULL },
	{ "vhost-user,id=vm0,features=+csum:-mq", NULL },
	{ "vhost-user,id=vm0,hold-ms=0,hold-bytes=4K", "vhost-user,id=vm0,hold-ms=0,hold-bytes=4096" },
	{ "vhost-user,id=vm0,hold-bytes=1G", "vhost-user,id=vm0,hold-bytes=1073741824" },
	{ "vhost-user,id=vm0,mac=52:54:00:00:00:01+52:54:00:00:00:02", NULL },
	{ "vhost-user,id=vm0,mac=52:54:00:AB:cd:01,filter=mac,max-macs=1", "vhost-user,id=vm0,mac=52:54:00:ab:cd:01,filter=mac,max-macs=1" },
	{ "vhost-user,id=vm0,memory=any", NULL },
	{ "vhost-user,id=vm0,rate-in=1000000,rate-out=0", NULL },
	{ "vhost-user,id=vm0,socket-mode=0600,socket-group=0,peer-uid=107", NULL },
	{ "vhost-user,id=vm0,socket-group=root", "vhost-user,id=vm0,socket-group=0" },
	{ "tap,id=up,ifname=tap0", NULL },
	{ "tap,id=up,ifname=tap0,bridge=br0,queues=1,net=blue,group=ups", "tap,id=up,queues=1,net=blue,group=ups,ifname=tap0,bridge=br0" },
	{ "tap,id=up,fd=3", NULL },
	{ "null,id=sink,net=blue", NULL },
};

static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "kind '' is unknown: a port is vhost-user, tap or null" },
	{ "vhost,id=a", "kind 'vhost' is unknown: a port is vhost-user, tap or null" },
	{ "vxlan,id=a,local=10.0.0.1,remote=10.0.0.2,vni=7", "kind vxlan: this version does not build it" },
	{ "af_xdp,id=a", "kind af_xdp: this version does not build it" },
	{ "passt,id=a", "kind passt: this version does not build it" },
	{ "vhost-user", "id= is missing" },
	{ "vhost-user,id=", "id=: must be 1 to 32 of A-Z a-z 0-9 _ . -" },
	{ "vhost-user,id=" ID32 "6", "id=" ID32 "6: must be 1 to 32 of A-Z a-z 0-9 _ . -" },
	{ "vhost-user,id=a/b", "id=a/b: must be 1 to 32 of A-Z a-z 0-9 _ . -" },
	{ "vhost-user,id=a b", "id=a b: must be 1 to 32 of A-Z a-z 0-9 _ . -" },
	{ "vhost-user,id=a,id=b", "key 'id' is given twice" },
	{ "vhost-user,id=a,", "unknown key ''" },
	{ "vhost-user,id=a,label=x\ny", "label=: holds control characters or bytes that are no UTF-8" },
	{ "vhost-user,id=a,label=\xc3(", "label=: holds control characters or bytes that are no UTF-8" },
	{ "vhost-user,id=a,label=\xed\xa0\x80", "label=: holds control characters or bytes that are no UTF-8" },
	{ "vhost-user,id=a,path=/\xff", "path=: holds control characters or bytes that are no UTF-8" },
	{ "vhost-user,id=a,queue=2", "unknown key 'queue'; did you mean 'queues'?" },
	{ "vhost-user,id=a,hold_ms=2", "unknown key 'hold_ms'; did you mean 'hold-ms'?" },
	{ "vhost-user,id=a,quetzalcoatl=2", "unknown key 'quetzalcoatl'" },
	{ "vhost-user,id=a,queues", "key 'queues' needs a value: queues=..." },
	{ "vhost-user,id=a,queues=0", "queues=0: must be in 1..16" },
	{ "vhost-user,id=a,queues=17", "queues=17: must be in 1..16" },
	{ "vhost-user,id=a,queues=-1", "queues=-1: not a number" },
	{ "vhost-user,id=a,queues=2x", "queues=2x: not a number" },
	{ "vhost-user,id=a,queues= 2", "queues= 2: not a number" },
	{ "vhost-user,id=a,queues=99999999999999999999", "queues=99999999999999999999: not a number" },
	{ "vhost-user,id=a,hold-bytes=18446744073709551615G", "hold-bytes=18446744073709551615G: not a number" },
	{ "vhost-user,id=a,sessions=3", "sessions=3: must be in 1..2" },
	{ "vhost-user,id=a,mtu=67", "mtu=67: must be in 68..65535" },
	{ "vhost-user,id=a,packed=yes", "packed=yes: must be one of off|on" },
	{ "vhost-user,id=a,compat=2", "compat=2: must be in 1..1" },
	{ "vhost-user,id=a,compat=newest", "compat=newest: not a number" },
	{ "vhost-user,id=a,mode=both", "mode=both: must be one of server|client" },
	{ "vhost-user,id=a,mode=serv", "mode=serv: must be one of server|client" },
	{ "vhost-user,id=a,path=", "path=: empty" },
	{ "vhost-user,id=a,path=/x,fd=3", "fd= goes with neither path= nor mode=client" },
	{ "vhost-user,id=a,fd=3,mode=client", "fd= goes with neither path= nor mode=client" },
	{ "vhost-user,id=a,ifname=tap0", "key 'ifname' is not for a vhost-user port" },
	{ "tap,id=a", "a tap needs ifname= or fd=" },
	{ "tap,id=a,ifname=abcdefghijklmnop", "ifname=abcdefghijklmnop...: 16 bytes, at most 15 are possible" },
	{ "tap,id=a,ifname=t,queues=2", "queues=2: this version builds taps with one queue" },
	{ "tap,id=a,ifname=t,guest=g", "key 'guest' is not for a tap port" },
	{ "null,id=a,path=/x", "key 'path' is not for a null port" },
	{ "vhost-user,id=a,features=csum", "features=csum: each name needs a + or - in front" },
	{ "vhost-user,id=a,features=+warp", "features=+warp: no such feature" },
	{ "vhost-user,id=a,features=+rss", "features=+rss: this version does not have it" },
	{ "vhost-user,id=a,mac=52:54:00:00:00", "mac=52:54:00:00:00: not a unicast MAC like 52:54:00:12:34:56" },
	{ "vhost-user,id=a,mac=01:00:5e:00:00:01", "mac=01:00:5e:00:00:01: not a unicast MAC like 52:54:00:12:34:56" },
	{ "vhost-user,id=a,mac=00:00:00:00:00:00", "mac=00:00:00:00:00:00: not a unicast MAC like 52:54:00:12:34:56" },
	{ "vhost-user,id=a,mac=", "mac=: empty" },
	{ "vhost-user,id=a,filter=mac", "filter=mac needs mac=" },
	{ "vhost-user,id=a,socket-mode=888", "socket-mode=888: not an octal number" },
	{ "vhost-user,id=a,socket-mode=7777", "socket-mode=7777: must be in 0..511" },
	{ "vhost-user,id=a,socket-group=nosuchgroup,", "socket-group=nosuchgroup: no such group" },
	{ "vhost-user,id=a,path=" PATH107 "b",
	  "path=/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...: 108 bytes, at most 107 are possible for a socket's "
	  "path: use a shorter one, or a link to its folder" },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct port_spec s, again;
		struct why why = { "" };
		char text[SPEC_TEXT_MAX];
		if (spec_parse(good[i].text, &s, &why) != OK)
			fail_msg("%s: %s", good[i].text, why.text);
		size_t n = spec_format(&s, text, sizeof(text));
		assert_int_equal(n, strlen(text));
		assert_string_equal(text, good[i].printed ? good[i].printed : good[i].text);
		assert_int_equal(spec_parse(text, &again, &why), OK); // and back
		assert_true(spec_equal(&s, &again));
		assert_int_equal(s.given, again.given);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct port_spec s;
		struct why why = { "" };
		memset(&s, 0xa5, sizeof(s));
		struct port_spec before = s;
		if (spec_parse(bad[i].text, &s, &why) != REFUSED)
			fail_msg("%s was taken", bad[i].text);
		assert_string_equal(why.text, bad[i].why);
		assert_memory_equal(&s, &before, sizeof(s)); // untouched
	}
	assert_int_equal(spec_parse("nonsense", &(struct port_spec){ 0 }, NULL), REFUSED);
}

static void test_fields(void **state)
{
	(void)state;
	struct port_spec s;
	struct why why;
	assert_int_equal(spec_parse("vhost-user,id=vm0", &s, &why), OK);
	assert_int_equal(s.queues, 16);
	assert_int_equal(s.sessions, 2);
	assert_int_equal(s.hold_ms, 1000);
	assert_int_equal(s.hold_bytes, 16 << 20);
	assert_int_equal(s.max_macs, 64);
	assert_int_equal(s.socket_mode, 0660);
	assert_int_equal(s.peer_uid, -1);
	assert_int_equal(s.socket_gid, -1);
	assert_int_equal(s.fd, -1);
	assert_int_equal(s.compat, 0);
	assert_string_equal(s.net, "default");
	assert_string_equal(s.group, "");
	assert_int_equal(s.given, BIT64(SPEC_K_ID));
	assert_int_equal(spec_parse("vhost-user,id=a,mac=52:54:00:00:00:01+52:54:00:00:00:02,peer-uid=0,label=a,,b,socket-mode=600", &s, &why), OK);
	assert_int_equal(s.n_macs, 2);
	assert_true(s.macs[1] == UINT64_C(0x525400000002));
	assert_int_equal(s.peer_uid, 0);
	assert_string_equal(s.label, "a,b");
	assert_int_equal(s.socket_mode, 0600);
	assert_int_equal(spec_parse("tap,id=a,ifname=t", &s, &why), OK);
	assert_int_equal(s.max_macs, 4096);
	assert_string_equal(s.group, "tap"); // taps do not forward to each other
	assert_int_equal(s.queues, 1);
}

// The table of keys and the enumeration are two lists: they must agree.
static void test_keys(void **state)
{
	(void)state;
	static const struct {
		enum spec_key key;
		const char *name;
		bool live;
	} want[] = {
		{ SPEC_K_ID, "id", false }, { SPEC_K_PATH, "path", false }, { SPEC_K_FD, "fd", false },
		{ SPEC_K_MODE, "mode", false }, { SPEC_K_SESSIONS, "sessions", true }, { SPEC_K_QUEUES, "queues", false },
		{ SPEC_K_NET, "net", false }, { SPEC_K_GROUP, "group", true }, { SPEC_K_GUEST, "guest", true },
		{ SPEC_K_LABEL, "label", true }, { SPEC_K_MTU, "mtu", false }, { SPEC_K_ANNOUNCE, "announce", false },
		{ SPEC_K_PACKED, "packed", false }, { SPEC_K_FEATURES, "features", false }, { SPEC_K_COMPAT, "compat", false },
		{ SPEC_K_HOLD_MS, "hold-ms", true }, { SPEC_K_HOLD_BYTES, "hold-bytes", true }, { SPEC_K_MAC, "mac", true },
		{ SPEC_K_FILTER, "filter", true }, { SPEC_K_MAX_MACS, "max-macs", true }, { SPEC_K_MEMORY, "memory", false },
		{ SPEC_K_RATE_IN, "rate-in", true }, { SPEC_K_RATE_OUT, "rate-out", true },
		{ SPEC_K_SOCKET_MODE, "socket-mode", false }, { SPEC_K_SOCKET_GROUP, "socket-group", false },
		{ SPEC_K_PEER_UID, "peer-uid", true }, { SPEC_K_IFNAME, "ifname", false }, { SPEC_K_BRIDGE, "bridge", false },
	};
	assert_int_equal(ARRAY_LEN(want), SPEC_N_KEYS);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_int_equal(want[i].key, i);
		assert_string_equal(spec_key_name(want[i].key), want[i].name);
		if (spec_key_live(want[i].key) != want[i].live)
			fail_msg("%s: live is %d", want[i].name, !want[i].live);
	}
}

static void test_set(void **state)
{
	(void)state;
	struct port_spec s, before;
	struct why why;
	char text[SPEC_TEXT_MAX];
	assert_int_equal(spec_parse("vhost-user,id=a,mac=52:54:00:00:00:01,hold-ms=5", &s, &why), OK);
	assert_int_equal(spec_set(&s, "hold-ms=7", &why), OK);
	assert_int_equal(s.hold_ms, 7);
	assert_int_equal(spec_set(&s, "mac=52:54:00:00:00:02", &why), OK); // instead of, not beside
	assert_int_equal(s.n_macs, 1);
	assert_true(s.macs[0] == UINT64_C(0x525400000002));
	assert_int_equal(spec_set(&s, "hold-ms=", &why), OK); // back to the default
	assert_int_equal(s.hold_ms, 1000);
	assert_int_equal(spec_set(&s, "features=-csum", &why), OK);
	assert_int_equal(spec_set(&s, "features=-mq", &why), OK);
	assert_int_equal(spec_set(&s, "label=x,y", &why), OK);
	spec_format(&s, text, sizeof(text));
	assert_string_equal(text, "vhost-user,id=a,label=x,,y,features=-mq,mac=52:54:00:00:00:02");
	assert_int_equal(spec_set(&s, "filter=mac", &why), OK);
	before = s;
	assert_int_equal(spec_set(&s, "mac=", &why), REFUSED); // the filter needs it
	assert_string_equal(why.text, "filter=mac needs mac=");
	assert_int_equal(spec_set(&s, "queues=99", &why), REFUSED);
	assert_int_equal(spec_set(&s, "nonsense", &why), REFUSED);
	assert_int_equal(spec_set(&s, "ifname=t", &why), REFUSED);
	assert_int_equal(spec_set(&s, "id=", &why), REFUSED);
	assert_memory_equal(&s, &before, sizeof(s));
}

static void test_diff(void **state)
{
	(void)state;
	struct port_spec a, b;
	struct why why;
	assert_int_equal(spec_parse("vhost-user,id=a", &a, &why), OK);
	// a default that is spelt out is equal
	assert_int_equal(spec_parse("vhost-user,id=a,queues=16,hold-ms=1000,mode=server,compat=latest,net=default", &b, &why), OK);
	assert_int_equal(spec_diff(&a, &b), 0);
	assert_true(spec_equal(&a, &b));
	assert_int_equal(spec_parse("vhost-user,id=a,memory=any,peer-uid=0,mac=52:54:00:00:00:01,features=-csum,socket-group=0", &b, &why), OK);
	assert_int_equal(spec_diff(&a, &b), BIT64(SPEC_K_MEMORY) | BIT64(SPEC_K_PEER_UID) | BIT64(SPEC_K_MAC) |
						    BIT64(SPEC_K_FEATURES) | BIT64(SPEC_K_SOCKET_GROUP));
	assert_int_equal(spec_parse("null,id=a", &b, &why), OK);
	assert_false(spec_equal(&a, &b));
}

static void test_path(void **state)
{
	(void)state;
	struct port_spec s;
	struct why why;
	char out[SPEC_PATH_MAX], dir[200];
	assert_int_equal(spec_parse("vhost-user,id=vm0", &s, &why), OK);
	assert_int_equal(spec_path(&s, "/run/vringd", out, &why), OK);
	assert_string_equal(out, "/run/vringd/vm0.sock");
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[107 - strlen("/vm0.sock")] = '\0';
	assert_int_equal(spec_path(&s, dir, out, &why), OK);
	assert_int_equal(strlen(out), 107);
	strcat(dir, "d");
	assert_int_equal(spec_path(&s, dir, out, &why), REFUSED);
	assert_non_null(strstr(why.text, "has 108 bytes, 107 are possible: give a shorter path="));
	assert_int_equal(spec_parse("tap,id=a,ifname=t", &s, &why), OK);
	assert_int_equal(spec_path(&s, dir, out, &why), OK);
	assert_string_equal(out, "");
}

// Every prefix and every single-byte change of a long SPEC is parsed or refused, never more (for the sanitizers).
static void test_mangled(void **state)
{
	(void)state;
	static const char whole[] = "vhost-user,id=vm0,path=/a,,b,queues=2,features=+csum:-mq,hold-bytes=1M,mac=52:54:00:00:00:01,compat=1,"
				    "socket-mode=0660,label=x";
	char text[sizeof(whole)], printed[SPEC_TEXT_MAX];
	struct port_spec s, again;
	struct why why;
	unsigned taken = 0;
	for (size_t n = 0; n + 1 < sizeof(whole); n++)
		for (int c = n ? 1 : 0; c < 256; c += 7) {
			memcpy(text, whole, sizeof(whole));
			text[n] = (char)c;
			if (spec_parse(text, &s, &why) != OK)
				continue;
			taken++;
			spec_format(&s, printed, sizeof(printed));
			assert_int_equal(spec_parse(printed, &again, &why), OK);
			assert_true(spec_equal(&s, &again));
		}
	assert_true(taken > 100);
	static char huge[2 * SPEC_TEXT_MAX];
	memset(huge, 'a', sizeof(huge) - 1);
	memcpy(huge, "vhost-user,", 11);
	assert_int_equal(spec_parse(huge, &s, &why), REFUSED);
	assert_int_equal(spec_set(&(struct port_spec){ .kind = SPEC_NULL }, huge, &why), REFUSED);
	for (size_t size = 0; size < 40; size++) { // a short buffer: cut, ended, the true length told
		memset(printed, 'Z', sizeof(printed));
		assert_int_equal(spec_parse("null,id=sink,net=blue", &s, &why), OK);
		assert_int_equal(spec_format(&s, printed, size), 21);
		if (size)
			assert_int_equal(strlen(printed), size > 21 ? 21 : size - 1);
		assert_int_equal(printed[size], 'Z');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_fields), cmocka_unit_test(test_keys),
		cmocka_unit_test(test_set), cmocka_unit_test(test_diff), cmocka_unit_test(test_path), cmocka_unit_test(test_mangled),
	};
	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
