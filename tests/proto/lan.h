// Up to three guests of our own on the ports a, a2 and a3 of one net.
#ifndef PROTO_LAN_H
#define PROTO_LAN_H

#include "proto/bed.h"

#define LAN_MAX 3

struct lan {
	struct bed *b;
	unsigned n;
	struct fe *fe[LAN_MAX];
	struct net net[LAN_MAX][VU_MAX_PAIRS];
	uint8_t mac[LAN_MAX][6];
	uint64_t seq;
	uint32_t flow; // of guest 0: each lan has its own, as frames may be held over from the one before
};

// conf[i] and net_conf[i] for guest i (NULL: plain). base: of all rings. Each guest is started and known to the others.
// False: failed is set; close it all the same.
bool lan_open(struct lan *l, struct bed *b, unsigned n, const struct fe_conf *const *conf,
	      const struct net_conf *const *net_conf, uint16_t base);
// The same in steps: connect, negotiate and lay out guest i, without starting it.
bool lan_prepare(struct lan *l, struct bed *b, unsigned i, const struct fe_conf *conf, const struct net_conf *net_conf,
		 uint16_t base);
bool lan_start(struct lan *l, unsigned i);
void lan_close(struct lan *l);
// Everybody says one broadcast, everybody else hears it.
bool lan_greet(struct lan *l);
// One numbered frame from guest to guest. False: failed is set.
bool lan_pass(struct lan *l, unsigned from, unsigned to, uint32_t len);
bool lan_put(struct lan *l, unsigned from, unsigned pair, const uint8_t dst[6], uint32_t len); // send only; number is seq
// The next numbered frame at guest i, on whichever pair: its number must be seq, its sender from.
bool lan_get(struct lan *l, unsigned i, unsigned from, uint64_t seq, unsigned timeout_ms);
// No numbered frame comes to guest i within ms.
bool lan_quiet(struct lan *l, unsigned i, unsigned ms);
bool lan_both(struct lan *l, unsigned rounds); // guests 0 and 1, both ways, sizes 60 to 1514

#endif
