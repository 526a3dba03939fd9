// One queue pair as a network card: transmit and receive buffers in guest memory, frames in and out. Buffers are laid out
// once; a frame costs its descriptors and whatever the caller writes into the buffer, nothing is allocated.
#ifndef DRIVER_NET_H
#define DRIVER_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/fe.h"
#include "driver/frame.h"

struct net_hdr { // virtio-net header; num_buffers is absent in the 10-byte form
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

enum net_tx_layout {
	NET_TX_ONE,       // header and frame in one descriptor
	NET_TX_HDR_APART, // header in its own
	NET_TX_PIECES,    // both in several, cut at odd places
	NET_TX_INDIRECT,  // the same pieces through an indirect table
};

enum net_rx_layout {
	NET_RX_ONE,       // one buffer takes header and frame
	NET_RX_HDR_APART, // two descriptors
	NET_RX_SPREAD,    // first 10 header bytes, num_buffers, and frame in three different pages: for the log
};

struct net_conf {
	uint32_t max_frame; // longest that is sent, 0: 1518
	uint32_t rx_bytes;  // of one receive buffer without its header, 0: 2036; SPREAD: at most 4096
	unsigned rx_slots;  // receive buffers, 0: as many as the ring takes
	unsigned region;    // of memory to take them from
	enum net_tx_layout tx;
	enum net_rx_layout rx;
};

#define NET_PIECES 6u

struct net_frame {
	const struct net_hdr *hdr; // num_buffers is 1 where the header has none
	const uint8_t *data;       // valid until net_rx_release
	uint32_t len;
	unsigned buffers;
};

struct net {
	struct net_conf conf;
	struct vq *rx, *tx;
	const struct gmem *mem;
	struct fe *fe;
	unsigned pair;
	uint32_t hdr_len;
	bool mergeable;
	// transmit: slot i is at tx_host + i * tx_stride
	uint64_t tx_gpa, tx_table_gpa;
	uint8_t *tx_host, *tx_table;
	uint32_t tx_stride;
	uint16_t *tx_free; // stack of slots
	unsigned tx_n_free, tx_slots;
	// receive
	uint64_t rx_gpa;
	uint8_t *rx_host;
	uint32_t rx_stride, rx_room; // room: header and frame bytes of one buffer
	unsigned rx_slots;
	uint32_t *held; // slots of the frame in hand
	unsigned n_held;
	uint8_t *scratch;
	struct net_hdr hdr;
	// counters
	uint64_t sent, received, foreign;
	uint64_t odd_num_buffers; // not 1 without MRG_RXBUF: the specification asks for 1, some back ends leave 0
	const char *broken;       // the device broke a rule: what
};

// Lay out buffers for pair p of fe (negotiated, driver reset) and post all receive buffers. False: no memory.
bool net_init(struct net *n, struct fe *fe, unsigned pair, const struct net_conf *conf);
void net_fini(struct net *n);
// After fe_driver_reset: post everything anew in the same buffers.
void net_restart(struct net *n);

// A free transmit buffer: where the frame goes (what an earlier frame left there is still there), NULL if none is free.
uint8_t *net_tx_slot(struct net *n, uint32_t *slot);
// Offer it; hdr NULL: all zero. Not visible before net_tx_flush.
void net_tx_put(struct net *n, uint32_t slot, uint32_t len, const struct net_hdr *hdr);
void net_tx_flush(struct net *n);
unsigned net_tx_reap(struct net *n); // take back what was sent; how many
// Copy, offer, flush; waits up to timeout_ms for a free buffer.
bool net_send(struct net *n, const uint8_t *frame, uint32_t len, const struct net_hdr *hdr, unsigned timeout_ms);
bool net_tx_drain(struct net *n, unsigned timeout_ms); // until all are back

// The next received frame; false: none (or broken is set). The frame before must be released.
bool net_rx(struct net *n, struct net_frame *f);
void net_rx_release(struct net *n);
void net_rx_post(struct net *n); // show released buffers to the device
// Wait for a frame: poll a little, then by the call eventfd.
bool net_rx_wait(struct net *n, struct net_frame *f, unsigned timeout_ms);

// A test frame of the numbered kind, sent and received. net_expect takes the next numbered frame (others are counted as
// foreign); NULL, or a text that says what is wrong.
bool net_send_numbered(struct net *n, const uint8_t dst[6], const uint8_t src[6], uint32_t flow, uint64_t seq, uint32_t len);
const char *net_expect(struct net *n, struct frame_id *id, uint32_t *len, unsigned timeout_ms);
extern const char net_nothing[]; // what net_expect says if no frame came

#endif
