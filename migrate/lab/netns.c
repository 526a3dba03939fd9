#include "lab/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"

#define BRIDGE "lab-br0"

const char *const netns_tap[2] = { "lab-tap-a", "lab-tap-b" };

static void request_for(struct ifreq *r, const char *name)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->ifr_name, name, strlen(name) + 1);
}

static bool set_up(int fd, const char *name)
{
	struct ifreq r;
	request_for(&r, name);
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return false;
	r.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r) == 0;
}

// The tap stays when this descriptor is closed, for the daemon to open.
static bool add_tap(int fd, const char *name)
{
	struct ifreq r;
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	request_for(&r, name);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	bool ok = tun >= 0 && ioctl(tun, TUNSETIFF, &r) == 0 && ioctl(tun, TUNSETPERSIST, 1) == 0;
	fd_reset(&tun);
	if (!ok)
		return false;
	unsigned index = if_nametoindex(name);
	request_for(&r, BRIDGE);
	r.ifr_ifindex = (int)index;
	return ioctl(fd, SIOCBRADDIF, &r) == 0 && set_up(fd, name);
}

enum err netns_enter(struct why *why)
{
	if (unshare(CLONE_NEWNET) < 0)
		return ours(why, "--two-daemons needs root for a network namespace: %s", strerror(errno));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enum err e = OK;
	if (fd < 0 || ioctl(fd, SIOCBRADDBR, BRIDGE) < 0)
		e = ours(why, "no bridge can be made (module bridge?): %s", strerror(errno));
	for (int i = 0; i < 2 && e == OK; i++)
		if (!add_tap(fd, netns_tap[i]))
			e = ours(why, "no tap can be made (/dev/net/tun?): %s", strerror(errno));
	if (e == OK && (!set_up(fd, BRIDGE) || !set_up(fd, "lo")))
		e = ours(why, "the bridge does not come up: %s", strerror(errno));
	fd_reset(&fd);
	return e;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned m[6];
	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)m[i];
	return true;
}

// One entry of the dump: is it this address, learned (not the port's own)?
static int entry_port(const struct nlmsghdr *h, const uint8_t mac[6])
{
	const struct ndmsg *n = NLMSG_DATA(h);
	int left = (int)NLMSG_PAYLOAD(h, sizeof(*n));
	if (h->nlmsg_type != RTM_NEWNEIGH || n->ndm_state & NUD_PERMANENT)
		return 0;
	for (const struct rtattr *a = (const void *)((const char *)n + NLMSG_ALIGN(sizeof(*n))); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == NDA_LLADDR && RTA_PAYLOAD(a) == 6 && memcmp(RTA_DATA(a), mac, 6) == 0)
			return n->ndm_ifindex;
	return 0;
}

static int fdb_find(int fd, const uint8_t mac[6])
{
	static char buf[32768];
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return 0;
		size_t left = (size_t)n;
		for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return 0;
			int port = entry_port(h, mac);
			if (port)
				return port;
		}
	}
}

void netns_bridge_port(const char *mac_text, char *port, size_t size)
{
	struct {
		struct nlmsghdr h;
		struct ndmsg n;
	} request = {
		.h = { .nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETNEIGH, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.n = { .ndm_family = AF_BRIDGE },
	};
	uint8_t mac[6];
	char name[IF_NAMESIZE] = "";
	struct timeval limit = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd >= 0 && parse_mac(mac_text, mac) && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
		send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request)) {
		int index = fdb_find(fd, mac);
		if (index > 0 && !if_indextoname((unsigned)index, name))
			name[0] = 0;
	}
	fd_reset(&fd);
	snprintf(port, size, "%s", name);
}
