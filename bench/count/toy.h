// A port of the datapath with a toy guest behind it: one queue pair in shared memory, no front end, no messages.
#ifndef COUNT_TOY_H
#define COUNT_TOY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "switch/dp.h"

#define TOY_RING 256u
#define TOY_BUF 2048u
#define TOY_HDR 12u

struct mem_map;
struct vring;
struct dirty_log;

struct toy {
	struct dp *dp;
	struct dp_port *port;
	struct gmem *mem;
	struct mem_map *map;
	struct dirty_log *log; // NULL: not logging
	int log_fd;
	struct vq q[2]; // receive, transmit
	struct vring *ring[2];
	int kick[2], call[2];
	uint64_t buf_gpa[2];
	uint8_t *buf[2];
	uint8_t mac[6];
};

// A running port whose transmit buffers hold frames of len bytes for dst, all receive buffers posted. OURS: why.
enum err toy_open(struct toy *t, struct dp *dp, const char *id, bool log, bool packed, const uint8_t mac[6],
		  const uint8_t dst[6], uint32_t len, struct why *why);
void toy_close(struct toy *t);
// Offer n of the prefilled transmit buffers (n at most TOY_RING, all must be back) and kick.
void toy_send(struct toy *t, unsigned n, uint32_t len);
unsigned toy_sent(struct toy *t); // transmit buffers that came back since
unsigned toy_received(struct toy *t); // frames that arrived since; their buffers are posted again

#endif
