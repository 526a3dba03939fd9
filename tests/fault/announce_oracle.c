// The announcement oracle: what the network behind a tap hears when a front end says SEND_RARP. In a network namespace of its own
// a capture on the tap must show, for the guest's MAC, every round of RARP, gratuitous ARP and unsolicited neighbour
// advertisement, with the addresses that the guest had used, at the times of QEMU's schedule. With --kill the daemon dies by SIGKILL
// after the second round and is started again without a front end: the rounds that are still owed must come.
//
//   announce_oracle [--kill] [--caught] VRINGD      --caught: the daemon skips a round, and that must be seen
//
// Exit status 0: as it should be; 1: not; 77: cannot run here (needs root).
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver/net.h"
#include "net/neigh.h"
#include "proto/daemon.h"
#include "wire/vu_table.h"

#define ROUNDS 5
#define SLACK_US 60000 // a loaded machine is late; early is never right

enum kind { RARP, GARP, NA, KINDS };
static const char *const kind_names[] = { "rarp", "garp", "na" };

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0x01 };
static const struct ip_addr ip4 = { .family = 4, .addr = { 10, 9, 8, 7 } };
static const struct ip_addr ip6 = { .family = 6, .addr = { 0xfd, [15] = 0x77 }, .router = IP_ROUTER_YES }; // and must stay one

static struct {
	struct daemon d;
	struct fe *fe;
	struct net net;
	int tap;
	unsigned n[KINDS];
	uint64_t at[KINDS][32];
} g;

static bool lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = s >= 0 && ioctl(s, SIOCSIFFLAGS, &ifr) == 0;
	close(s);
	return ok;
}

// The interface outlives the daemon, so that the capture does, too: nothing that a new one sends at once is missed.
static bool tap_make(void)
{
	struct ifreq ifr = { .ifr_name = "annc0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && s >= 0 && ioctl(fd, TUNSETIFF, &ifr) == 0 && ioctl(fd, TUNSETPERSIST, 1) == 0;
	ifr.ifr_flags = IFF_UP;
	ok = ok && ioctl(s, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	close(s);
	return ok;
}

static bool capture_open(void)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	for (unsigned i = 0; i < 200 && sa.sll_ifindex == 0; i++, daemon_nap(10))
		sa.sll_ifindex = (int)if_nametoindex("annc0");
	g.tap = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	return sa.sll_ifindex && g.tap >= 0 && bind(g.tap, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

static void heard(const uint8_t *f, uint32_t len)
{
	uint8_t want[NEIGH_FRAME_MAX];
	const uint32_t n[KINDS] = { neigh_build_rarp(want, mac, 0), 0, 0 };
	for (int k = 0; k < KINDS; k++) {
		uint32_t w = k == RARP ? n[0] : k == GARP ? neigh_build_garp(want, mac, 0, &ip4) : neigh_build_na(want, mac, 0, &ip6);
		if (len == w && memcmp(f, want, w) == 0 && g.n[k] < 32)
			g.at[k][g.n[k]++] = clock_boot_us();
	}
}

static void listen_until(uint64_t end, unsigned rarps)
{
	uint8_t f[2048];
	while (clock_boot_us() < end && g.n[RARP] < rarps) {
		struct pollfd p = { .fd = g.tap, .events = POLLIN };
		struct sockaddr_ll from;
		socklen_t flen = sizeof(from);
		if (poll(&p, 1, 20) <= 0)
			continue;
		ssize_t len = recvfrom(g.tap, f, sizeof(f), 0, (struct sockaddr *)&from, &flen);
		if (len > 0 && from.sll_pkttype != PACKET_OUTGOING)
			heard(f, (uint32_t)len);
	}
}

// The guest speaks once, so that its addresses are known, as a guest does when its link comes up.
static bool guest_speaks(void)
{
	struct fe_conf conf = { .ring_size = 64, .mem = { .region_bytes = 4 << 20 } };
	uint8_t f[NEIGH_FRAME_MAX];
	g.fe = fe_new(&conf);
	if (!g.fe || !fe_connect(g.fe, daemon_path(&g.d, "vm")) || fe_negotiate(g.fe) != FE_OK)
		return false;
	fe_driver_reset(g.fe, 0);
	if (!net_init(&g.net, g.fe, 0, NULL) || fe_start(g.fe) != FE_OK)
		return false;
	uint32_t len = neigh_build_garp(f, mac, 0, &ip4);
	if (!net_send(&g.net, f, len, NULL, 1000))
		return false;
	len = neigh_build_na(f, mac, 0, &ip6);
	return net_send(&g.net, f, len, NULL, 1000) && net_tx_drain(&g.net, 1000);
}

static int judge(bool killed)
{
	static const uint64_t due[ROUNDS] = { 0, 50000, 200000, 450000, 800000 };
	for (int k = 0; k < KINDS; k++) {
		printf("announce: %-4s %u times:", kind_names[k], g.n[k]);
		for (unsigned i = 0; i < g.n[k]; i++)
			printf(" +%.1f ms", (double)(g.at[k][i] - g.at[RARP][0]) / 1e3);
		printf("\n");
	}
	for (int k = 0; k < KINDS; k++) {
		// a round whose number was not stored yet when the daemon died comes again: at least once each, never less
		if (g.n[k] < ROUNDS || g.n[k] > ROUNDS + (killed ? 1 : 0))
			return 1;
		for (unsigned i = 0; !killed && i < ROUNDS; i++)
			if (g.at[k][i] + 2000 < g.at[RARP][0] + due[i] || g.at[k][i] > g.at[RARP][0] + due[i] + SLACK_US)
				return 1;
	}
	return 0;
}

static int run(const char *bin, bool kill_it)
{
	static const char *const args[] = { "--no-keeper", "--port", "vhost-user,id=vm,announce=switch", "--port", "tap,id=up,ifname=annc0", NULL };
	if (!tap_make() || !daemon_start(&g.d, bin, args) || !capture_open() || !guest_speaks()) {
		printf("announce: set-up failed: %s\n", g.fe ? g.fe->err_text : strerror(errno));
		return 3;
	}
	listen_until(clock_boot_us() + 200000, 99); // the guest's own frames
	memset(g.n, 0, sizeof(g.n));
	uint64_t payload = 0;
	memcpy(&payload, mac, 6);
	if (kill_it)
		daemon_nap(1200); // what it learned is in the store
	if (fe_tell(g.fe, true, VU_SEND_RARP, &payload, 8, NULL, 0) != FE_OK) {
		printf("announce: SEND_RARP: %s\n", g.fe->err_text);
		return 3;
	}
	if (kill_it) {
		listen_until(clock_boot_us() + 2000000, 2);
		listen_until(clock_boot_us() + 20000, 99); // the rest of the second round
		daemon_kill(&g.d);
		if (!daemon_again(&g.d))
			return 3;
	}
	listen_until(clock_boot_us() + 2500000, 99);
	return judge(kill_it);
}

int main(int argc, char **argv)
{
	bool kill_it = false, caught = false;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		kill_it = kill_it || strcmp(argv[i], "--kill") == 0;
		caught = caught || strcmp(argv[i], "--caught") == 0;
	}
	if (i >= argc) {
		fprintf(stderr, "usage: announce_oracle [--kill] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) != 0 || !lo_up()) {
		printf("announce: no network namespace of its own: %s\n", strerror(errno));
		return 77;
	}
	int status = run(argv[i], kill_it);
	if (caught && status < 3)
		status = !status;
	net_fini(&g.net);
	fe_free(g.fe);
	daemon_stop(&g.d, 5000);
	daemon_clean(&g.d);
	return status;
}
