// Opening a tap. One that exists (and is ours, or persistent with our user) needs no privilege; creating one, and putting it
// into a bridge, needs CAP_NET_ADMIN.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "base/fd.h"
#include "daemon/core.h"
#include "daemon/kept.h"

#define VNET_HDR_BYTES 12

struct port *tap_owner(const struct port *p)
{
	for (unsigned i = 0; p->spec.ifname[0] && i < p->vd->n_ports; i++) {
		struct port *o = p->vd->port[i];
		if (o != p && o->spec.kind == SPEC_TAP && !o->failed.text[0] && strcmp(o->spec.ifname, p->spec.ifname) == 0)
			return o;
	}
	return NULL;
}

bool tap_down(const struct port_spec *s, char name[16])
{
	struct ifreq ifr;
	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, s->ifname, sizeof(s->ifname));
	if (s->fd >= 0 && ioctl(s->fd, TUNGETIFF, &ifr) != 0)
		return false;
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool down = sock >= 0 && ioctl(sock, SIOCGIFFLAGS, &ifr) == 0 && !(ifr.ifr_flags & IFF_UP);
	fd_reset(&sock);
	memcpy(name, ifr.ifr_name, 16);
	name[15] = '\0';
	return down;
}

static enum err join_bridge(const struct port_spec *s, int sock, struct why *why)
{
	struct ifreq ifr;
	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, s->bridge, sizeof(s->bridge));
	ifr.ifr_ifindex = (int)if_nametoindex(s->ifname);
	if (ioctl(sock, SIOCBRADDIF, &ifr) != 0 && errno != EBUSY) // busy: it is in a bridge already
		return refuse(why, "putting %s into bridge %s: %s", s->ifname, s->bridge, strerror(errno));
	return OK;
}

static enum err bring_up(const struct port_spec *s, struct why *why)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return ours(why, "socket: %s", strerror(errno));
	struct ifreq ifr;
	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, s->ifname, sizeof(s->ifname));
	enum err e = OK;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) == 0 && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		// without privilege it stays as the administrator left it
		if (ioctl(sock, SIOCSIFFLAGS, &ifr) != 0 && errno != EPERM)
			e = refuse(why, "bringing %s up: %s", s->ifname, strerror(errno));
	}
	if (e == OK && s->bridge[0])
		e = join_bridge(s, sock, why);
	fd_reset(&sock);
	return e;
}

// What every tap needs here: our header size, and what we take from it: checksums that are not complete, and TCP frames that
// are not cut, since every kind of port takes them or gets them made up for it.
static enum err set_header(int fd, const char *name, struct why *why)
{
	int hdr = VNET_HDR_BYTES;
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr) != 0)
		return refuse(why, "tap %s: header of %d bytes: %s", name, hdr, strerror(errno));
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) != 0 &&
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) != 0)
		return refuse(why, "tap %s: checksum offload: %s", name, strerror(errno));
	return OK;
}

enum err tap_check(int fd, struct why *why)
{
	struct ifreq ifr;
	memset(&ifr, 0, sizeof(ifr));
	if (ioctl(fd, TUNGETIFF, &ifr) != 0)
		return refuse(why, "fd=%d is not a tap: %s", fd, strerror(errno));
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_VNET_HDR))
		return refuse(why, "fd=%d: %.15s must be a tap opened with IFF_VNET_HDR", fd, ifr.ifr_name);
	if (fd_set_nonblock(fd, true) != 0 || fd_set_cloexec(fd) != 0)
		return ours(why, "fd=%d: %s", fd, strerror(errno));
	return set_header(fd, ifr.ifr_name, why);
}

static const char *tap_cure(int e)
{
	switch (e) {
	case EPERM:
		return "; create it for this user first (ip tuntap add), or give CAP_NET_ADMIN";
	case EINVAL:
		return "; what has that name is no tap, or one of another kind (multi_queue): choose another ifname=";
	case EBUSY:
		return "; another process has it open, or it is an interface of another kind";
	default:
		return "";
	}
}

int tap_open(const struct port_spec *s, struct why *why)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		refuse(why, "/dev/net/tun: %s", strerror(errno));
		return -1;
	}
	struct ifreq ifr;
	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, s->ifname, sizeof(s->ifname));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (ioctl(fd, TUNSETIFF, &ifr) != 0)
		refuse(why, "tap %s: %s%s", s->ifname, strerror(errno), tap_cure(errno));
	else if (set_header(fd, s->ifname, why) == OK && bring_up(s, why) == OK)
		return fd;
	fd_reset(&fd);
	return -1;
}

// An interface that only a descriptor holds would go, and its carrier with it, with the worker that opened it.
int tap_kept(struct port *p, struct why *why)
{
	char name[KP_NAME_MAX];
	snprintf(name, sizeof(name), ":tap:%s", p->spec.id);
	int fd = kept_take(p->vd->kept, name);
	if (fd >= 0 && tap_check(fd, why) == OK)
		return fd;
	if (fd >= 0)
		kept_drop(p->vd->kept, name); // before it is opened anew: one open file at a time
	fd_reset(&fd);
	fd = tap_open(&p->spec, why);
	if (fd >= 0)
		kept_put(p->vd->kept, name, fd, false);
	return fd;
}
