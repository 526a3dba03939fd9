// A port with one queue pair, its guest played by the driver library: for tests of the datapath without a daemon.
#ifndef TESTS_GUESTBED_H
#define TESTS_GUESTBED_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/frame.h"
#include "driver/gmem.h"
#include "driver/vq.h"
#include "guest/mem.h"
#include "guest/ring.h"
#include "switch/dp.h"

#define GB_RING 64u
#define GB_BUF 2048u
#define GB_HDR 12u
#define GB_F_PACKED (UINT64_C(1) << 34)
#define GB_F_IN_ORDER (UINT64_C(1) << 35)

struct guestbed {
	struct dp *dp;
	struct dp_port *port;
	struct gmem *mem;
	struct mem_map *map;
	struct vq q[2]; // receive, transmit
	struct vring *ring[2];
	int kick[2], call[2];
	uint64_t buf_gpa[2]; // GB_RING buffers of GB_BUF bytes
	uint8_t *buf[2];
	uint16_t tx_next;
	uint64_t features;
	uint16_t base;
	struct pring_ledger *ledger; // LEDGER_RINGS of them, or NULL
	bool resume; // its rings go on where an earlier device left them
};

struct dp *gb_dp(unsigned threads);
struct dp *gb_dp_stall(unsigned threads, unsigned stall_us); // how long a sender waits
struct dp_port_conf gb_conf(const char *id);
// features: virtio bits; base: where the rings start; published at once if run.
void gb_open(struct guestbed *g, struct dp *dp, const struct dp_port_conf *conf, uint64_t features, uint16_t base, bool run);
// The same in two halves, which may be in two processes: the guest's memory, its driver; the device that serves it.
void gb_driver(struct guestbed *g, uint64_t features, uint16_t base);
void gb_device(struct guestbed *g, struct dp *dp, const struct dp_port_conf *conf);
void gb_device_close(struct guestbed *g);
void gb_driver_close(struct guestbed *g);
void gb_run(struct guestbed *g); // publish both rings, post all receive buffers (the first time)
void gb_stop(struct guestbed *g, enum dp_rx_state state); // retract both
void gb_post(struct guestbed *g, unsigned n); // offer n receive buffers
void gb_close(struct guestbed *g);
bool gb_send(struct guestbed *g, const uint8_t *frame, uint32_t len); // waits for a free slot up to 2 s
// Next received frame (after the header) or NULL after timeout_ms. Valid until gb_release.
const uint8_t *gb_recv(struct guestbed *g, uint32_t *len, unsigned timeout_ms);
void gb_release(struct guestbed *g); // offer the buffer again
// numbered frames
bool gb_send_no(struct guestbed *g, const uint8_t dst[6], const uint8_t src[6], uint64_t seq, uint32_t len);
int64_t gb_recv_no(struct guestbed *g, unsigned timeout_ms); // its number; -1: none, -2: damaged
bool gb_wait_tx_done(struct guestbed *g, unsigned timeout_ms); // all transmit buffers are back

#endif
