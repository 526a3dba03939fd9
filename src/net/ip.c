#include "net/neigh.h"

#include <arpa/inet.h>

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return false;
	return memcmp(a->addr, b->addr, a->family == 4 ? 4 : a->family == 6 ? 16 : 0) == 0;
}

const char *ip_format(const struct ip_addr *ip, char *buf)
{
	buf[0] = '\0';
	if (ip->family == 4)
		inet_ntop(AF_INET, ip->addr, buf, INET6_ADDRSTRLEN);
	else if (ip->family == 6)
		inet_ntop(AF_INET6, ip->addr, buf, INET6_ADDRSTRLEN);
	return buf;
}

bool ip_parse(const char *text, struct ip_addr *out)
{
	struct ip_addr ip = { .family = 4 };
	if (inet_pton(AF_INET, text, ip.addr) != 1) {
		ip.family = 6;
		if (inet_pton(AF_INET6, text, ip.addr) != 1)
			return false;
	}
	*out = ip;
	return true;
}
