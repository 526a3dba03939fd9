// The datapath as the control thread sees it: data threads, ports, the forwarding database, held frames. Every call here is
// made on the control thread, unless it says otherwise, and none of them stops the data threads: new objects are published,
// old ones are freed after every data thread has passed (dp_sync).
#ifndef SWITCH_DP_H
#define SWITCH_DP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/neigh.h"

#define DP_MAX_PORTS 256
#define DP_MAX_PAIRS 16
#define DP_NAME_MAX 33

struct dp;
struct dp_port;
struct counters;
struct held;
struct lease;
struct vring;

struct dp_conf {
	unsigned threads; // data threads, 1..16
	int cpus[16]; // CPU of each thread; -1: not pinned
	int poll_us; // 0: never poll; > 0: poll that long after the last frame; or one of these
#define DP_POLL_ALWAYS -1
#define DP_POLL_AUTO -2 // as long as it has paid lately, 0 to 200 us
	uint64_t hold_total; // bytes of held frames of all ports
	struct lease *lease; // borrowed: each data thread holds its slot from start to end, and does nothing before; NULL: none
	struct counters *counters; // borrowed: where ports and rings are counted; NULL: memory of our own
	struct held *held; // borrowed, with counters: where held frames are; what an earlier process left is found; NULL: the same
	unsigned stall_us; // how long a full receiver may hold up a sender; 0: DP_STALL_US
#define DP_STALL_US 50u
	bool general_only; // without the fast form (fast.c): for tests and for looking at it apart
};

enum dp_kind { DP_VHOST, DP_TAP, DP_NULL };

struct dp_port_conf {
	char id[DP_NAME_MAX];
	enum dp_kind kind;
	char net[DP_NAME_MAX];
	char group[DP_NAME_MAX]; // "" : none
	char guest[DP_NAME_MAX]; // "" : none
	unsigned max_macs;
	bool filter_mac; // filter=mac: frames with another source than the configured MACs are dropped
	uint64_t macs[8]; // mac_key of mac=
	unsigned n_macs;
	uint32_t hold_ms;
	uint64_t hold_bytes;
	uint64_t rate_in, rate_out; // bits/s, 0: unlimited
	int tap_fd; // DP_TAP: nonblocking, IFF_VNET_HDR with a 12-byte header; ownership moves in on success
};

// Start the data threads. NULL with why: no threads or memory.
struct dp *dp_new(const struct dp_conf *conf, struct why *why);
// For a process that leaves its ports to another: end the data threads, each after its turn. All that was fetched from a ring is
// completed then, and no ring, tap or guest memory is touched any more. Nothing but dp_free may follow for the rings.
void dp_stop(struct dp *dp);
// All ports must be deleted, unless the process ends. Stops and joins the threads.
void dp_free(struct dp *dp);
// Return when every data thread has passed a quiescent point: what was unpublished before the call may be freed. A sleeping
// thread counts as passed and is not woken.
void dp_sync(struct dp *dp);

// -- ports ------------------------------------------------------------------------------------------------------------
enum err dp_port_add(struct dp *dp, const struct dp_port_conf *conf, struct dp_port **out, struct why *why);
// The port's rings must be retracted. Its MACs leave the database, its held frames are dropped and counted.
void dp_port_del(struct dp *dp, struct dp_port *port);
// Those fields of the configuration that may change at run time: group, guest, max_macs, filter, macs, hold, rates.
void dp_port_reconf(struct dp *dp, struct dp_port *port, const struct dp_port_conf *conf);
unsigned dp_port_index(const struct dp_port *port); // 0..DP_MAX_PORTS-1, stable for the port's life

// -- rings of a vhost-user port: ring 2i is receive, 2i+1 transmit of pair i ------------------------------------------------
// Give a ring to the data thread that owns the queue. It is scanned once without a kick and its call descriptor signalled
// once. discard: transmit is consumed and dropped, receive gets nothing. kick_fd is borrowed until the retract, -1: none
// (the ring is polled every 1 ms while it is there).
void dp_ring_publish(struct dp_port *port, unsigned q, struct vring *ring, int kick_fd, bool discard);
// Take it back. On return no data thread touches it and everything fetched is completed. Harmless if nothing is published.
void dp_ring_retract(struct dp_port *port, unsigned q);

enum dp_rx_state {
	DP_RX_RUNNING, // frames go to the published receive rings
	DP_RX_PAUSED, // a short pause under way: all frames are held, none is dropped for it
	DP_RX_STOPPED, // the guest is gone or going: unicast is held (hold-ms, hold-bytes), the rest dropped
	DP_RX_OFF, // nobody has been here: unicast is dropped and counted
};
// The state while no receive ring is published; with a published ring the port runs. When a pause ends in STOPPED or OFF,
// its frames wait for hold-ms from then on.
void dp_port_rx_state(struct dp_port *port, enum dp_rx_state state);
// Drain: learn nothing, hold what goes to the port (hold-ms, hold-bytes as ever; a tap holds nothing). On return nothing is on
// its way there any more. Its end delivers what is held.
void dp_port_drain(struct dp_port *port, bool on);

// -- held frames ----------------------------------------------------------------------------------------------------------------
struct dp_hold_result {
	uint64_t held; // frames that are in hold now
	uint64_t bytes;
};
struct dp_hold_result dp_hold_level(const struct dp_port *port);
// Move what is held for `from` in front of everything newer for `to` (which may be the same port: deliver here) and deliver
// as soon as `to` takes frames. Frames that came in on `to` are dropped and counted.
void dp_hold_move(struct dp_port *from, struct dp_port *to);
// The same for the frames of one destination MAC only (SEND_RARP claims that address, not the others).
void dp_hold_move_mac(struct dp_port *from, struct dp_port *to, uint64_t mac);
// Drop what has been held until now_us or longer, counted (hold_dropped, and drops_out by its reason). The data threads drop
// what is older than hold-ms whenever they touch the port; with nothing arriving the control thread calls this at dp_hold_due.
void dp_hold_expire(struct dp_port *port, uint64_t now_us);
uint64_t dp_hold_due(const struct dp_port *port); // CLOCK_BOOTTIME of the oldest frame's end; 0: nothing is held

// -- forwarding database ------------------------------------------------------------------------------------------------------------
enum dp_mac_source { DP_MAC_LEARNED, DP_MAC_CONFIG, DP_MAC_CLAIMED };
struct dp_mac {
	uint64_t mac; // mac_key
	uint16_t vlan;
	char net[DP_NAME_MAX];
	unsigned port; // dp_port_index
	enum dp_mac_source source;
	uint64_t age_ms;
	unsigned n_ips;
	struct ip_addr ip[8];
};
typedef void dp_mac_fn(void *arg, const struct dp_mac *mac);
void dp_macs_each(struct dp *dp, const struct dp_port *only_or_null, dp_mac_fn *fn, void *arg);
// Those of one MAC in the net of a port, on whatever ports and VLANs.
void dp_macs_of(const struct dp_port *net_of, uint64_t mac, dp_mac_fn *fn, void *arg);
// Point (net of port, vlan, mac) at port, at once. claimed: by the front end (SEND_RARP) or guest=; OURS-full is told by false.
bool dp_mac_claim(struct dp_port *port, uint64_t mac, uint16_t vlan, enum dp_mac_source source);
// Enter what an earlier life had learned, with its addresses; it ages from now.
bool dp_mac_restore(struct dp_port *port, const struct dp_mac *mac);
void dp_mac_forget_port(struct dp_port *port); // all of the port's
// All that is known behind `from` now is behind `to`.
void dp_mac_move(struct dp_port *from, struct dp_port *to);
uint64_t dp_macs_count(struct dp *dp, const char *net_or_null);

// -- frames of our own -----------------------------------------------------------------------------------------------------------------
// Send a frame (no virtio-net header, no offload) as if it had come in on `as`: to every other port of its net that may hear it,
// flooding limit aside. Copied; sent by a data thread soon. False: no memory.
bool dp_inject_flood(struct dp_port *as, const uint8_t *frame, uint32_t len);

// -- what the data threads have to tell ------------------------------------------------------------------------------------------------
enum dp_note {
	DP_NOTE_RING_BROKEN = 1, // a ring of the port broke a rule (vring.broken_why)
	DP_NOTE_MEM_BROKEN = 2, // guest memory of the port went away
	DP_NOTE_FIRST_KICK = 4, // since dp_port_watch_first
	DP_NOTE_FIRST_IN = 8,
	DP_NOTE_FIRST_OUT = 16,
	DP_NOTE_HOLD = 32, // first frame went into hold, or the hold drained: look at dp_hold_level and dp_hold_due
	DP_NOTE_MACS = 64, // the addresses known behind the port changed (learned, moved, snooped)
	DP_NOTE_TAP_GONE = 128, // the tap's descriptor failed
};
// An eventfd that becomes readable when a note is there; belongs to dp.
int dp_notes_fd(const struct dp *dp);
// Take the notes of one port that has some: its index in *port, the bits returned. 0: none left. Reads the eventfd.
unsigned dp_notes_take(struct dp *dp, struct dp_port **port);
struct dp_firsts {
	uint64_t kick_us, in_us, out_us; // CLOCK_BOOTTIME, 0: not yet
};
void dp_port_watch_first(struct dp_port *port); // forget the first moments and look for new ones
struct dp_firsts dp_port_firsts(const struct dp_port *port);

// -- counters --------------------------------------------------------------------------------------------------------------------------
enum dp_drop {
	DP_DROP_RUNT, // shorter than an Ethernet header, or longer than we take
	DP_DROP_HEADER, // virtio-net header asks for what was not negotiated or is out of range
	DP_DROP_DESC, // descriptor chain unusable
	DP_DROP_SOURCE, // source MAC filtered, multicast, or over max-macs and filtered
	DP_DROP_SELF, // destination is behind the port it came in on
	DP_DROP_GROUP, // split horizon
	DP_DROP_NO_PORT, // destination port is off
	DP_DROP_STOPPED, // destination's rings are stopped and the frame may not be held
	DP_DROP_HOLD_FULL, // hold-bytes or --hold-total exhausted
	DP_DROP_HOLD_OLD, // held longer than hold-ms
	DP_DROP_HOLD_BACK, // held frame would leave by the port it came in on
	DP_DROP_FULL, // destination ring full (dead receiver, or flood)
	DP_DROP_TOO_BIG, // does not fit the destination's buffers
	DP_DROP_FLOOD_RATE, // flooding limit
	DP_DROP_RATE, // rate-in, rate-out
	DP_DROP_DISABLED, // ring disabled by the front end
	DP_DROP_TAP, // the tap refused it
	DP_DROP_N,
};
const char *dp_drop_name(enum dp_drop d); // "runt", "header", ...
struct dp_counters { // in: from the port into the switch
	uint64_t in_frames, in_bytes, out_frames, out_bytes;
};
struct dp_stats {
	struct dp_counters queue[DP_MAX_PAIRS];
	struct dp_counters total;
	uint64_t drops_in[DP_DROP_N], drops_out[DP_DROP_N];
	uint64_t held, hold_delivered, hold_dropped; // frames over the port's life
	uint64_t flooded;
	uint64_t gso_in, gso_out; // of the frames in and out, those with a GSO header: more than one segment, in one piece
	uint64_t gso_cut, gso_parts; // frames that were cut for this port, and what came of them (they are in out_frames)
	uint64_t kicks, calls;
};
void dp_port_stats(const struct dp_port *port, struct dp_stats *out);
struct dp_thread_stats {
	uint64_t busy_us, turns, wakeups;
	uint64_t busy_cycles; // cycles_now units of the turns that moved a frame or tried to; looks that found nothing are not in
	int tid;
};
unsigned dp_thread_stats(const struct dp *dp, struct dp_thread_stats *out, unsigned max); // returns how many

#endif
