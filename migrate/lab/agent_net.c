#include "agent_net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREET_PORT 9 // discard: nobody listens, the answer does not matter

static bool env_address(const char *name, int family, void *out)
{
	const char *text = getenv(name);
	return text && inet_pton(family, text, out) == 1;
}

bool agent_net_parse(struct agent_net *net)
{
	memset(net, 0, sizeof(*net));
	const char *interface = getenv("lab_if");
	snprintf(net->interface, sizeof(net->interface), "%s", interface ? interface : "eth0");
	const char *mac = getenv("lab_peer_mac");
	unsigned m[6];
	if (mac && sscanf(mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) == 6) {
		for (int i = 0; i < 6; i++)
			net->peer_mac[i] = (uint8_t)m[i];
		net->have_mac = true;
	}
	const char *mtu = getenv("lab_mtu");
	net->mtu = mtu ? atoi(mtu) : 0;
	return env_address("lab_ip4", AF_INET, &net->own4) && env_address("lab_peer4", AF_INET, &net->peer4) &&
		env_address("lab_ip6", AF_INET6, &net->own6) && env_address("lab_peer6", AF_INET6, &net->peer6);
}

static void request_address(struct ifreq *r, const struct agent_net *net, struct in_addr address)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->ifr_name, net->interface, sizeof(net->interface));
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = address };
	memcpy(&r->ifr_addr, &sa, sizeof(sa));
}

static bool set_address6(const struct agent_net *net)
{
	struct { // the kernel's struct in6_ifreq, whose header does not go with the C library's
		struct in6_addr address;
		uint32_t prefix;
		int index;
	} r = { .address = net->own6, .prefix = 64, .index = (int)if_nametoindex(net->interface) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool ok = ioctl(fd, SIOCSIFADDR, &r) == 0;
	close(fd);
	return ok;
}

bool agent_net_up(const struct agent_net *net)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	struct ifreq r;
	struct in_addr mask = { .s_addr = htonl(0xffffff00) };
	request_address(&r, net, net->own4);
	bool ok = ioctl(fd, SIOCSIFADDR, &r) == 0;
	if (ok && net->mtu) {
		request_address(&r, net, net->own4);
		r.ifr_mtu = net->mtu;
		ok = ioctl(fd, SIOCSIFMTU, &r) == 0;
	}
	request_address(&r, net, mask);
	ok = ok && ioctl(fd, SIOCSIFNETMASK, &r) == 0 && ioctl(fd, SIOCGIFFLAGS, &r) == 0;
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	ok = ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	close(fd);
	return ok && set_address6(net);
}

static bool arp_find(int fd, const struct agent_net *net, struct arpreq *a)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = net->peer4 };
	memset(a, 0, sizeof(*a));
	memcpy(&a->arp_pa, &sa, sizeof(sa));
	memcpy(a->arp_dev, net->interface, sizeof(a->arp_dev));
	return ioctl(fd, SIOCGARP, a) == 0 && (a->arp_flags & ATF_COM);
}

bool agent_net_greet(const struct agent_net *net)
{
	int fd4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int fd6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(GREET_PORT), .sin_addr = net->peer4 };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(GREET_PORT), .sin6_addr = net->peer6 };
	if (fd6 >= 0)
		sendto(fd6, "", 1, 0, (struct sockaddr *)&to6, sizeof(to6));
	bool found = false;
	struct arpreq a;
	for (int i = 0; i < 20 && fd4 >= 0 && !found; i++) {
		if (i % 10 == 0)
			sendto(fd4, "", 1, 0, (struct sockaddr *)&to4, sizeof(to4));
		usleep(50000);
		found = arp_find(fd4, net, &a);
	}
	if (found && net->have_mac && memcmp(a.arp_ha.sa_data, net->peer_mac, 6) != 0)
		found = false; // somebody else answered
	if (found) { // so that no probe is due, and none can fail, while the other guest is away
		a.arp_flags = ATF_PERM | ATF_COM;
		ioctl(fd4, SIOCSARP, &a);
	}
	if (fd4 >= 0)
		close(fd4);
	if (fd6 >= 0)
		close(fd6);
	return found;
}

static long read_number(const char *interface, const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", interface, name);
	long value = -1;
	FILE *f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

// /proc/net/snmp has a line of names and a line of values for each protocol, both starting with "Udp:".
static void read_udp(struct agent_net_counts *c)
{
	char names[1024] = "", line[1024];
	FILE *f = fopen("/proc/net/snmp", "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Udp: ", 5) != 0)
			continue;
		if (!names[0]) {
			memcpy(names, line, sizeof(names));
			continue;
		}
		char *np, *vp, *name = strtok_r(names, " \n", &np), *value = strtok_r(line, " \n", &vp);
		while (name && value) {
			uint64_t n = strtoull(value, NULL, 10);
			if (!strcmp(name, "InErrors"))
				c->in_errors = n;
			else if (!strcmp(name, "RcvbufErrors"))
				c->rcvbuf_errors = n;
			else if (!strcmp(name, "InCsumErrors"))
				c->csum_errors = n;
			name = strtok_r(NULL, " \n", &np);
			value = strtok_r(NULL, " \n", &vp);
		}
		break;
	}
	fclose(f);
}

void agent_net_read(const struct agent_net *net, struct agent_net_counts *c)
{
	memset(c, 0, sizeof(*c));
	read_udp(c);
	c->carrier = read_number(net->interface, "carrier");
	c->carrier_changes = read_number(net->interface, "carrier_changes");
}
