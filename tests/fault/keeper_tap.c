// The kernel sends numbered frames through a tap to a guest while the worker is killed, again and again. What the dead one had read and not
// delivered is gone: at most a batch for each kill; nothing comes damaged, the tap keeps its carrier and the front end its connection. In a
// network namespace of its own.
//
//   keeper_tap [--kills N] [--seed S] VRINGD      exit status 77: cannot run here (needs root)
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
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kill.h"
#include "driver/net.h"
#include "proto/daemon.h"

#define TAP "kept0"
#define BATCH 64u
#define WINDOW 192u // under way: more than a batch, and less than a tap queues

static struct {
	struct daemon d;
	struct fe *fe;
	struct net net;
	int out;
	uint8_t mac[6], src[6];
	uint64_t sent, next, lost, worst, repeated, frames;
	unsigned holes;
	const char *wrong;
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

static bool out_open(void)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET};
	sa.sll_ifindex = (int)if_nametoindex(TAP);
	g.out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	return sa.sll_ifindex && g.out >= 0 && bind(g.out, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

// How often the carrier has come or gone.
static long carrier_changes(void)
{
	long n = -1;
	FILE *f = fopen("/sys/class/net/" TAP "/carrier_changes", "re"); // the mount may be of another namespace
	if (f != NULL && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f != NULL)
		fclose(f);
	return n;
}

static bool guest_open(void)
{
	struct fe_conf conf = {.ring_size = 256};
	frame_mac(g.mac, 1);
	frame_mac(g.src, 9);
	g.fe = fe_new(&conf);
	if (!g.fe || !fe_connect(g.fe, daemon_path(&g.d, "a")) || fe_negotiate(g.fe) != FE_OK)
		return false;
	fe_driver_reset(g.fe, 0);
	return net_init(&g.net, g.fe, 0, NULL) && fe_start(g.fe) == FE_OK &&
	       net_send_numbered(&g.net, frame_broadcast, g.mac, 1, 1, 64) && net_tx_drain(&g.net, 1000);
}

static void give(void)
{
	uint8_t frame[1514];
	while (g.sent - g.next < WINDOW) {
		uint32_t len = 60 + (uint32_t)(g.sent * 37 % 1400);
		frame_fill(frame, len, g.mac, g.src, 0, g.sent, true);
		if (send(g.out, frame, len, MSG_DONTWAIT) != (ssize_t)len)
			return;
		g.sent++;
	}
}

static bool take(void)
{
	struct frame_id id;
	const char *wrong = net_expect(&g.net, &id, NULL, 0);
	if (wrong == net_nothing)
		return false;
	if (wrong != NULL) {
		g.wrong = wrong;
		return false;
	}
	g.frames++;
	if (id.seq < g.next) {
		g.repeated++;
		return true;
	}
	uint64_t hole = id.seq - g.next;
	g.holes += hole != 0;
	g.lost += hole;
	g.worst = hole > g.worst ? hole : g.worst;
	g.next = id.seq + 1;
	return true;
}

// Send and hear for that long; or until one comes, if that is asked for. False: none did.
static bool talk(unsigned us, bool until_one)
{
	uint64_t end = clock_boot_us() + us;
	bool one = false;
	while (g.wrong == NULL && clock_boot_us() < end && !(one && until_one)) {
		give();
		while (take())
			one = true;
	}
	return one;
}

static const char *run(const char *bin, unsigned kills, unsigned seed, unsigned *done)
{
	static const char *const args[] = {"--port", "vhost-user,id=a", "--port", "tap,id=up,ifname=" TAP, NULL};
	if (!tap_make() || !daemon_start(&g.d, bin, args) || !guest_open() || !out_open())
		return g.fe ? g.fe->err_text : strerror(errno);
	long carrier = carrier_changes();
	for (*done = 0; *done < kills && g.wrong == NULL;) {
		seed = seed * 1103515245u + 12345u;
		talk(2000 + (seed >> 8) % 20000, false);
		pid_t worker = daemon_worker(&g.d);
		if (worker <= 0 || kill_one(worker, SIGKILL) != 0)
			continue;
		++*done;
		while (daemon_worker(&g.d) == worker) // what it has delivered counts before its death
			talk(100, false);
		if (!talk(10000000, true))
			return "no frame came within 10 s after a kill";
	}
	// a few more show what the last kill cost
	for (unsigned i = 0; i < 20 && g.wrong == NULL; i++)
		talk(5000, false);
	for (unsigned i = 0; i < 200 && g.next != g.sent && g.wrong == NULL; i++)
		while (take())
			;
	struct pollfd p = {.fd = g.fe->sock, .events = POLLIN | POLLRDHUP};
	if (poll(&p, 1, 0) != 0)
		return "the front end's connection was lost";
	if (carrier_changes() != carrier)
		return "the tap lost its carrier";
	return g.wrong;
}

int main(int argc, char **argv)
{
	unsigned kills = 100, seed = 1, done = 0;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			kills = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc) {
		fprintf(stderr, "usage: keeper_tap [--kills N] [--seed S] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) != 0) {
		printf("keeper_tap: no network namespace of its own: %s\n", strerror(errno));
		return 77;
	}
	const char *wrong = run(argv[i], kills, seed, &done);
	printf("keeper_tap: %u kills, %llu frames from the tap, %llu missing in %u holes, the largest of %llu; %llu repeated%s%s\n", done,
	       (unsigned long long)g.frames, (unsigned long long)g.lost, g.holes, (unsigned long long)g.worst,
	       (unsigned long long)g.repeated, wrong ? "; " : "", wrong ? wrong : "");
	bool well = wrong == NULL && done == kills && g.holes <= done && g.worst <= BATCH;
	if (g.fe)
		net_fini(&g.net);
	fe_free(g.fe);
	well = daemon_stop(&g.d, 5000) && well;
	if (!well)
		daemon_tell(&g.d);
	daemon_clean(&g.d);
	return well ? 0 : 1;
}
