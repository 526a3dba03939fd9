// Segmentation offload between guests and the kernel, through a tap: a guest's TCP frame of 60 KB reaches the tap whole (a
// capture with virtio-net headers), and one that the kernel sends reaches the guest that takes it whole and the other one
// cut, with right checksums. In a network namespace of its own.
//
//   gso_tap [--caught] VRINGD      --caught: the tap is told not to leave frames whole, and that must be seen
//
// Exit status 0: as it should be; 1: not; 77: cannot run here (needs root).
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../unit/net/tcpframe.h"
#include "base/clock.h"
#include "driver/net.h"
#include "proto/daemon.h"

#define TAP "gsot0"
#define SENDS (BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6))
#define TAKES (BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6))

static const struct tcpframe shapes[] = {
	{.payload = 60000, .flags = 0x18, .seq = 9, .id = 0xfff0, .tcp_options = 3, .partial = true},
	{.payload = 50000, .flags = 0x18, .v6 = true, .partial = true},
};
static uint8_t whole[TCPFRAME_MAX], other[TCPFRAME_MAX];

static struct {
	struct daemon d;
	struct fe *fe[2]; // the first takes whole frames, the second nothing
	struct net net[2];
	int cap;
} g;

static bool tap_make(void)
{
	struct ifreq ifr = {.ifr_name = TAP, .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && s >= 0 && ioctl(fd, TUNSETIFF, &ifr) == 0 && ioctl(fd, TUNSETPERSIST, 1) == 0;
	ifr.ifr_flags = IFF_UP | IFF_NOARP;
	ok = ok && ioctl(s, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	close(s);
	return ok;
}

static bool capture_open(void)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int on = 1, room = 4 << 20;
	sa.sll_ifindex = (int)if_nametoindex(TAP);
	g.cap = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	return sa.sll_ifindex && g.cap >= 0 && setsockopt(g.cap, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0 &&
	       setsockopt(g.cap, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0 &&
	       bind(g.cap, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

static bool guest_open(unsigned i, uint64_t more)
{
	struct fe_conf conf = {.ring_size = 128, .features = FE_FEATURES | more, .mem = {.region_bytes = 32 << 20}};
	struct net_conf nc = {.max_frame = TCPFRAME_MAX};
	uint8_t mac[6];
	g.fe[i] = fe_new(&conf);
	if (!g.fe[i] || !fe_connect(g.fe[i], daemon_path(&g.d, i ? "b" : "a")) || fe_negotiate(g.fe[i]) != FE_OK)
		return false;
	fe_driver_reset(g.fe[i], 0);
	frame_mac(mac, i);
	return net_init(&g.net[i], g.fe[i], 0, &nc) && fe_start(g.fe[i]) == FE_OK && !(conf.features & ~g.fe[i]->features) &&
	       net_send_numbered(&g.net[i], frame_broadcast, mac, i, 1, 64) && net_tx_drain(&g.net[i], 1000);
}

static uint32_t build(const struct tcpframe *t, uint8_t *out, unsigned to, struct net_hdr *h)
{
	uint32_t l4, hdr, len = tcpframe_build(t, out, &l4, &hdr);
	frame_mac(out, to);
	frame_mac(out + 6, to < 2 ? 7 : 0);
	*h = (struct net_hdr){.flags = 1, .gso_type = t->v6 ? 4 : 1, .hdr_len = (uint16_t)hdr, .gso_size = 1448,
			      .csum_start = (uint16_t)l4, .csum_offset = 16};
	return len;
}

static bool to_tap(const struct tcpframe *t)
{
	struct net_hdr h, seen = {0};
	uint32_t len = build(t, whole, 9, &h); // to an address behind the tap, as far as anybody knows
	struct iovec iov[2] = {{&seen, 10}, {other, sizeof(other)}};
	if (!net_send(&g.net[0], whole, len, &h, 1000))
		return false;
	for (uint64_t end = clock_boot_us() + 2000000; clock_boot_us() < end;) {
		struct pollfd p = {.fd = g.cap, .events = POLLIN};
		ssize_t n = poll(&p, 1, 50) > 0 ? readv(g.cap, iov, 2) : 0;
		if (n < 10 + 14 || memcmp(other, whole, 12) != 0)
			continue;
		bool same = (uint32_t)n == 10 + len && memcmp(other, whole, len) == 0;
		printf("gso: guest to tap, v%u: %zd bytes, type %u, size %u%s\n", t->v6 ? 6 : 4, n - 10, seen.gso_type,
		       seen.gso_size, same ? "" : ", and not what was sent");
		return same && seen.gso_type == h.gso_type && seen.gso_size == 1448 && seen.flags == 1;
	}
	printf("gso: guest to tap: nothing came\n");
	return false;
}

static bool next(struct net *n, struct net_frame *f)
{
	while (net_rx_wait(n, f, 2000)) {
		if (f->len >= 60 && memcmp(f->data, whole, 12) == 0)
			return true;
		net_rx_release(n);
		net_rx_post(n);
	}
	return false;
}

static bool from_tap(const struct tcpframe *t, unsigned to)
{
	struct net_hdr h, ignored;
	uint32_t len = build(t, whole, to, &h), bytes = 0, frames = 0;
	struct iovec iov[2] = {{&h, 10}, {whole, len}};
	struct net_frame f;
	bool ok = true;
	if (writev(g.cap, iov, 2) != (ssize_t)(10 + len)) {
		printf("gso: kernel: %s\n", strerror(errno));
		return false;
	}
	for (; ok && bytes < t->payload && next(&g.net[to], &f); frames++) {
		struct tcpframe p = tcpframe_part(t, 1448, frames);
		if (to == 1) {
			uint32_t want = build(&p, other, to, &ignored);
			ok = f.len == want && memcmp(f.data, other, want) == 0 && f.hdr->flags == 0 && f.hdr->gso_type == 0;
			bytes += p.payload;
		} else {
			ok = f.len == len && memcmp(f.data, whole, len) == 0 && memcmp(f.hdr, &h, 10) == 0;
			bytes += t->payload;
		}
		net_rx_release(&g.net[to]);
		net_rx_post(&g.net[to]);
	}
	printf("gso: tap to guest %u, v%u: %u bytes of payload in %u frames%s\n", to, t->v6 ? 6 : 4, bytes, frames,
	       ok ? "" : ", a wrong one");
	return ok && bytes == t->payload;
}

// Our wish taken back: the kernel cuts then, and nothing whole reaches anybody.
static bool spoil(void)
{
	struct ethtool_value off = {.cmd = ETHTOOL_STSO};
	struct ifreq ifr = {.ifr_name = TAP, .ifr_data = (void *)&off};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = s >= 0 && ioctl(s, SIOCETHTOOL, &ifr) == 0;
	close(s);
	return ok;
}

static int run(const char *bin, bool caught)
{
	static const char *const args[] = {"--no-keeper", "--port", "vhost-user,id=a", "--port", "vhost-user,id=b",
					   "--port", "tap,id=up,ifname=" TAP, NULL};
	if (!tap_make() || !daemon_start(&g.d, bin, args) || !guest_open(0, SENDS | TAKES) || !guest_open(1, 0) ||
	    !capture_open() || (caught && !spoil())) {
		printf("gso: set-up failed: %s\n", g.fe[0] ? g.fe[0]->err_text : strerror(errno));
		return 3;
	}
	bool ok = true;
	for (unsigned i = 0; i < 2; i++)
		ok &= to_tap(&shapes[i]) & from_tap(&shapes[i], 0) & from_tap(&shapes[i], 1);
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	bool caught = argc > 1 && strcmp(argv[1], "--caught") == 0;
	if (argc < 2 + caught) {
		fprintf(stderr, "usage: gso_tap [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) != 0) {
		printf("gso: no network namespace of its own: %s\n", strerror(errno));
		return 77;
	}
	int status = run(argv[1 + caught], caught);
	if (caught && status < 3)
		status = !status;
	for (unsigned i = 0; i < 2; i++) {
		net_fini(&g.net[i]);
		fe_free(g.fe[i]);
	}
	daemon_stop(&g.d, 5000);
	daemon_clean(&g.d);
	return status;
}
