// A traffic case driven through one or two sockets of any vhost-user back end: connect, negotiate, run measured stretches.
// One process, one thread (the caller's): it feeds the senders' rings and empties the receivers', so that nothing but the
// back end and this loop takes CPU. Frames are prefilled; payloads are checked by sampling.
//
// Life: load_open, load_run..., load_close. No call ends the process; what went wrong is in `why`.
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_MAX_SIZES 8
#define LOAD_WHY 200

enum load_kind {
	LOAD_ONE_WAY,  // guest a to guest b
	LOAD_BOTH_WAYS, // a to b and b to a; frames of both directions are added up
	LOAD_SINK,     // guest a to whatever the back end has behind path[0] (a null port); "received" are frames that came back used
	LOAD_LOOP,     // one port that reflects (testpmd io, port-topology=loop)
	LOAD_PING_PONG, // one frame a to b, answered b to a; latency of the round trip
};
enum load_wait { LOAD_POLL, LOAD_SLEEP }; // the driver: no calls and busy; or asleep on the call eventfd

struct load_size { uint32_t bytes, weight; }; // frame bytes without FCS; a mix has several

struct load_conf {
	const char *path[2]; // sockets; SINK and LOOP use the first only
	enum load_kind kind;
	bool packed, mergeable, in_order, indirect, event_idx;
	unsigned pairs;        // queue pairs, all driven
	uint16_t ring_size;    // 0: 1024
	struct load_size size[LOAD_MAX_SIZES];
	unsigned n_sizes;
	bool gso;              // frames are TCP segments with a TCPv4 GSO header and NEEDS_CSUM; it must come intact
	uint32_t rx_buffer;    // bytes of a receive buffer with header; 0: 2048 (or what one frame needs if not mergeable)
	uint64_t working_set;  // bytes of transmit and of receive buffers that are touched in turn; 0: as the ring has
	uint64_t rate;         // frames a second offered, all senders; 0: as fast as it goes
	unsigned burst;        // frames added before a publish; 0: 32
	bool occupancy;        // fill each ring whole, then release: both sides' batches are then equal
	unsigned flows;        // different source/destination MACs; 0: 1
	bool log;              // LOG_ALL with a log that is harvested every harvest_ms, each word exchanged with zero
	unsigned harvest_ms;   // 0: 100
	enum load_wait wait;
	uint64_t seed;
	int cpu;               // -1: leave; else pin the caller's thread
	bool huge;             // guest memory on hugepages of 2 MiB
};

struct load_result {
	uint64_t sent, received, bytes;  // frames; bytes of received frames without headers
	uint64_t missing, corrupt, foreign, odd_headers; // all but missing sampled; odd_headers: a GSO header that did not arrive intact
	double seconds;                  // of the measured stretch
	double driver_cycles;            // per received frame, turns that moved something
	double driver_busy;              // share of the driver's turns that moved a frame; near 1: the driver was the limit
	double batch_tx, batch_rx;       // mean frames taken back / received per non-empty look
	uint64_t pages_harvested;
	uint32_t n_latency;              // ping-pong: samples, nanoseconds, unsorted; owned by load
	const uint32_t *latency_ns;
	uint64_t features;               // negotiated virtio bits
};

struct load;

// Connect, negotiate, start all rings, exchange first frames so that a switch has learned. NULL: why says what; also what the
// case needs and the back end does not offer.
struct load *load_open(const struct load_conf *conf, char why[LOAD_WHY]);
// Run for ms milliseconds after warm_ms that are not counted. mark (may be NULL) is called with 0 right before and 1 right
// after the measured stretch, while the traffic flows: to read the back end's counters. False: why says what.
bool load_run(struct load *l, unsigned warm_ms, unsigned ms, void (*mark)(void *arg, int end), void *arg, struct load_result *r,
	      char why[LOAD_WHY]);
// Logging on or off on the running rings, as a migration source does it.
bool load_log(struct load *l, bool on, char why[LOAD_WHY]);
// Rate of the next run, frames a second; 0: as fast as it goes.
void load_rate(struct load *l, uint64_t rate);
// Single-frame round trips over idle rings, median in nanoseconds: a probe of where the CPUs are. 0: none came.
uint32_t load_probe(struct load *l, unsigned n);
// Latency of an acknowledged message, nanoseconds each, while traffic flows one way: SET_VRING_ENABLE with need_reply, off and
// on in turn, of the receive ring that is not used. The ring is on at the end.
bool load_ack_latency(struct load *l, unsigned n, uint32_t *ns, char why[LOAD_WHY]);
void load_close(struct load *l); // NULL is fine

#endif
