// The datapath's own structures: who writes what, and when it may be freed.
//
// Quiescent states: a data thread is either offline (asleep in epoll, qs even) or online (qs odd). It loads ports, nets and
// rings afresh in each turn and keeps none over a turn's end. The control thread unpublishes, then dp_sync waits until every
// online thread has ended the turn it was in; then it may free. No data thread ever waits for the control thread.
#ifndef SWITCH_DP_INT_H
#define SWITCH_DP_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "flight/flight.h"
#include "guest/ring.h"
#include "net/eth.h"
#include "net/vnet.h"
#include "switch/addrs.h"
#include "switch/counters.h"
#include "switch/ctr.h"
#include "switch/dp.h"
#include "switch/fdb.h"
#include "switch/held.h"
#include "switch/hold.h"

#define DP_BATCH 64u
#define DP_FLOOD_RATE 20000u // frames per second and port that go to more than one port
#define DP_FLOOD_BURST 4000u
#define DP_FAST_BYTES 16384u // scratch of fast.c
#define DP_BITMAP_WORDS (DP_MAX_PORTS * DP_MAX_PAIRS / 64)
_Static_assert(DP_BITMAP_WORDS <= 64, "a word says which of them are not 0");
#define DP_HEAD 64u // bytes of each frame that are copied before they are looked at

struct dp_net;

struct dp_queue { // one ring of a vhost-user port
	uint64_t tag; // FLIGHT_AT without the position
	_Atomic(struct vring *) ring; // published, or NULL
	_Atomic bool discard;
	atomic_flag lock; // receive rings with more than one data thread: held for a batch
	// receive: a receiver that let a sender wait once without adding anything is dead until it does (ring_mark)
	_Atomic bool dead;
	_Atomic uint16_t dead_mark, full_mark; // full: when a sender last had to wait
	// transmit: waiting for a full receiver
	_Atomic uint16_t stall_port; // FDB_NO_PORT: not waiting
	uint16_t last_to; // owner thread's, as the next: port of the last batch, a hint
	uint64_t stall_until_us;
	int kick_fd; // control thread's: registered with the owner's epoll
	uint16_t cut_done, cut_at, cut_to; // owner thread's: of the frame at cut_at (ring_mark), port cut_to has cut_done parts
	uint64_t memo_src, memo_seen; // owner thread's: last source that was entered, and when (moves << 32 | second)
};

struct dp_macs {
	unsigned n;
	uint64_t mac[8];
};

struct dp_bucket { // token bucket; lock only where it is shared
	atomic_flag lock;
	uint64_t tokens, last_us;
};

struct dp_port {
	struct dp *dp;
	uint16_t index;
	char id[DP_NAME_MAX];
	enum dp_kind kind;
	struct dp_net *net;
	_Atomic uint16_t group; // 0: none
	_Atomic uint32_t max_macs;
	_Atomic bool filter_mac, drain;
	struct dp_macs macs[2]; // mac=: data threads read the one that macs_at says; the other one is written, then they change
	_Atomic unsigned macs_at;
	_Atomic uint32_t hold_ms;
	_Atomic uint64_t hold_bytes;
	_Atomic uint64_t rate_in, rate_out;
	struct dp_bucket in_bucket, out_bucket, flood_bucket;

	_Atomic int rx_state; // enum dp_rx_state, while no receive ring is published
	_Atomic uint64_t starting_until_us; // hold-ms after its receive rings came in
	_Atomic unsigned rx_pairs; // receive rings published: queues 0, 2, ... below 2 * rx_pairs
	struct dp_queue q[DP_RINGS];
	int tap_fd;
	_Atomic bool tap_gone;

	_Atomic uint32_t learned; // about; recounted when it reaches max_macs
	_Atomic uint32_t recount_s;
	struct hold hold;

	_Atomic unsigned notes; // enum dp_note bits not yet taken
	_Atomic unsigned watch; // DP_NOTE_FIRST_ bits still awaited
	_Atomic uint64_t first_kick_us, first_in_us, first_out_us;
	struct dp_ctr *ctr[DP_MAX_THREADS];
	struct port_counters *count; // which has those, and the number of its place there
	uint16_t number;
};

struct dp_net {
	char name[DP_NAME_MAX];
	unsigned users; // control thread's
	struct fdb fdb;
	struct addrs addrs;
	_Atomic(struct dp_members *) members; // immutable; replaced and freed after dp_sync
};

struct dp_members {
	unsigned n;
	uint16_t port[];
};

#include "switch/batch.h"
#include "switch/cut.h"

struct worker {
	struct dp *dp;
	unsigned index;
	pthread_t thread;
	_Atomic int tid, cpu; // cpu: where it ran lately
	int epoll_fd, wake_fd;
	_Atomic uint64_t qs; // odd: online
	_Atomic uint32_t awaited; // a futex: the control thread sleeps until qs changes
	_Atomic bool stop;
	_Atomic uint64_t ask_tx[DP_BITMAP_WORDS], ask_rx[DP_BITMAP_WORDS]; // set by anyone, taken by the worker
	uint64_t pend_tx[DP_BITMAP_WORDS]; // ready transmit rings and taps
	uint64_t pend_words; // the words of it that are not 0
	unsigned poll_us; // how long it looks on after the last frame
	uint64_t armed_us; // when it last asked for kicks and went to sleep
	_Atomic bool asked; // one of the above, or the inject list, is not empty
	_Atomic unsigned polled_rings; // rings without a kick descriptor
	unsigned n_stalled;
	uint32_t now_s;
	_Atomic uint64_t wakeups;
	struct flight_thread *flight; // what it has in hand, and its turns, for who must know when we are dead
	_Atomic uint64_t busy_cycles;
	bool tried; // this turn moved a frame, tried to, or was asked for: it counts as busy
	pthread_mutex_t inject_lock;
	struct inject *inject_head, **inject_tail; // frames
	// scratch of one batch
	unsigned n_sess;
	struct rxsess sess[RXS_MAX];
	struct gseg tx_segs[VCHAIN_MAX_SEGS + 512];
	struct gseg rx_segs[VCHAIN_MAX_SEGS + 16];
	struct vchain chain[DP_BATCH];
	struct gwrite_used back[DP_BATCH];
	struct frame frame;
	struct frame part; // of frame, which is cut
	uint64_t parts; // made so far
	_Alignas(64) uint8_t fast[DP_FAST_BYTES];
	uint8_t bounce[ETH_MAX + 64];
	uint8_t tap_buf[ETH_MAX + 64];
};

struct dp {
	struct dp_conf conf;
	unsigned n_workers;
	struct worker *worker[DP_MAX_THREADS];
	_Atomic(struct dp_port *) port[DP_MAX_PORTS];
	struct dp_net *net[DP_MAX_PORTS];
	char groups[DP_MAX_PORTS][DP_NAME_MAX + DP_NAME_MAX]; // net/group -> number, control thread's
	unsigned n_groups;
	bool stopped; // the data threads are
	int notes_fd;
	_Atomic uint64_t note_bits[DP_MAX_PORTS / 64];
	uint64_t start_us, start_cycles; // to tell how fast the cycle counter runs
	_Atomic uint64_t hold_used; // bytes of all ports
	struct counters *counters, *own_counters; // conf's, or our own
	struct held *held, *own_held;
	_Atomic unsigned stalled; // transmit rings that wait for a receiver
};

// dp.c
struct worker *dp_owner(const struct dp_port *port, unsigned pair);
void dp_note(struct dp_port *port, unsigned bits);
void dp_first(struct dp_port *port, unsigned note, _Atomic uint64_t *slot); // the slow half of dp_seen
static inline void dp_seen(struct dp_port *port, unsigned note, _Atomic uint64_t *slot)
{
	if (atomic_load_explicit(&port->watch, memory_order_relaxed) & note)
		dp_first(port, note, slot);
}
// port.c
void port_enter_macs(struct dp_port *port); // its configured addresses into the database, unless their guest runs elsewhere
void port_stamp_pause(struct dp_port *port); // hold.lock held: frames of a pause may get too old from now on
bool port_has_mac(const struct dp_port *port, uint64_t mac); // is it one of mac=? (any thread)
bool dp_port_serves(struct dp *dp, unsigned index); // a guest's rings run there (any thread, between quiescent points)
void worker_tell_passed(struct worker *w); // sync.c
// worker.c
void *worker_main(void *arg);
void worker_ask_tx(struct worker *w, unsigned port, unsigned pair);
void worker_ask_rx(struct worker *w, unsigned port, unsigned pair);
void worker_wake(struct worker *w);
bool worker_add_fd(struct worker *w, int fd, unsigned port, unsigned q);
void worker_del_fd(struct worker *w, int fd);
// net.c
struct dp_net *net_get(struct dp *dp, const char *name);
void net_put(struct dp *dp, struct dp_net *net);
bool net_join(struct dp_port *port);
void net_leave(struct dp_port *port);
void net_maybe_grow(struct dp *dp);
void net_settle(struct dp_net *net, uint16_t gone); // after entries were moved or removed: addrs_settle
// frame.c: learn the source, decide what happens to it
enum frame_way { FRAME_DROP, FRAME_UNICAST, FRAME_FLOOD };
enum frame_way frame_route(struct worker *w, struct frame *f, struct dp_port **dst);
bool bucket_take(struct dp_bucket *b, uint64_t amount, uint64_t rate_per_s, uint64_t burst);
void bucket_give(struct dp_bucket *b, uint64_t amount, uint64_t burst); // what was taken for nothing
uint8_t *frame_linear(struct worker *w, const struct frame *f); // the whole frame in w->bounce
// source.c: one turn of a transmit ring
enum tx_result {
	TX_IDLE, // nothing there, and the guest will kick (or the ring is gone)
	TX_EMPTY, // nothing there, and it was not asked to kick
	TX_MORE,
	TX_STALLED,
};
enum tx_result source_run(struct worker *w, struct dp_port *port, unsigned pair, bool arm);
// fast.c: as many frames from the front of the ring as it can take; all of them are done then. avail are pending.
unsigned fast_run(struct worker *w, struct dp_port *port, unsigned pair, struct vring *r, unsigned avail);
// deliver.c
enum deliver { DELIVERED, DELIVER_DROPPED, DELIVER_FULL, DELIVER_KEEP, DELIVER_WAIT };
enum deliver deliver_one(struct worker *w, struct dp_port *dst, struct frame *f, bool unicast, bool may_stall);
void deliver_flood(struct worker *w, struct frame *f);
void deliver_flush(struct worker *w); // publish all open receive rings, call at most once each
void deliver_rx_kick(struct worker *w, struct dp_port *port, unsigned pair);
void deliver_hold(struct worker *w, struct dp_port *port); // try to empty the hold into the port
// rxsess.c
struct rxsess *rxsess_get(struct worker *w, struct dp_port *port, unsigned src_pair);
enum rxput { RX_OK, RX_FULL, RX_TOO_BIG, RX_BAD };
enum rxput rxsess_put(struct worker *w, struct rxsess *s, struct frame *f);
void rxsess_flush(struct worker *w, struct rxsess *s);
bool rxsess_wait(struct worker *w, struct rxsess *s); // ask for kicks; true if buffers have come meanwhile
void rxsess_quiet(struct worker *w, struct dp_port *port, unsigned pair); // ask for no more kicks
// tap.c
bool tap_run(struct worker *w, struct dp_port *port); // true: more may be there
enum deliver tap_send(struct worker *w, struct dp_port *port, struct frame *f);
// inject.c
void inject_run(struct worker *w);

// A transmit ring waits for port `to`, or (FDB_NO_PORT) for nobody any more. True: it waited before.
static inline bool queue_stall(struct dp *dp, struct dp_queue *q, uint16_t to)
{
	bool was = atomic_exchange(&q->stall_port, to) != FDB_NO_PORT;
	bool is = to != FDB_NO_PORT;
	if (is && !was)
		atomic_fetch_add(&dp->stalled, 1);
	if (was && !is)
		atomic_fetch_sub(&dp->stalled, 1);
	return was;
}

// From here on the thread has that ring in hand: whatever goes wrong is the fault of who fills it.
static inline void in_hand(struct worker *w, const struct dp_queue *q, const struct vring *r)
{
	flight_at(w->flight, q->tag | ring_mark(r, 0));
}

static inline struct dp_ctr *ctr_of(struct worker *w, struct dp_port *port)
{
	return port->ctr[w->index];
}

#endif
