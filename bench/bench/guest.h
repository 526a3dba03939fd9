// A guest that does little: a front end, one queue pair and its rings, for what is not throughput (connecting, being
// silent, coming back).
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/fe.h"
#include "driver/net.h"

struct guest {
	struct fe *fe;
	struct net net;
	bool laid_out;
	uint8_t mac[6];
};

// Connect and start all rings; number makes its MAC address. False: why says what (guest_close is needed then, too).
bool guest_open(struct guest *g, const char *path, unsigned number, char *why, unsigned size);
// The same with so much memory; 0: little.
bool guest_open_with(struct guest *g, const char *path, unsigned number, uint64_t memory_bytes, char *why, unsigned size);
// Let the back end touch all memory that g has: frames from all over it. What comes at `sink` is thrown away. False: they do not get through.
bool guest_touch_all(struct guest *g, struct guest *sink);
// The connection was lost: connect again and go on where the rings stand.
bool guest_again(struct guest *g, const char *path, char *why, unsigned size);
void guest_close(struct guest *g);
// Send numbered frames from a to b until one that was sent by this call arrives. False: none in timeout_ms.
bool guest_reaches(struct guest *a, struct guest *b, unsigned timeout_ms);

#endif
