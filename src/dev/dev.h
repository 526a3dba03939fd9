// The vhost-user-net device of one front-end connection: session and ring state machines, message handlers. It knows
// neither the event loop nor the store nor the switch: those are the ops. It takes whole messages and gives back whole
// replies; who reads the socket is not its business (a plain socket now, a keeper process later).
//
// Every message goes the same way (dev_handle): admission by the message's row -> prepare (check all, build aside) ->
// commit (ops) -> apply (cannot fail) -> reply. A refused message changes nothing.
#ifndef DEV_DEV_H
#define DEV_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "snap/snap.h"
#include "wire/vu_spec.h"

struct dev;
struct pring_ledger;
struct vring;

struct dev_conf {
	char port[SNAP_PORT_MAX];
	uint64_t epoch; // connection epoch, unique in the state directory
	uint64_t features; // virtio bits offered (with 26 and 30)
	uint64_t protocol_features; // protocol bits offered
	unsigned pairs; // queue pairs offered, 1..16
	bool any_memory; // memory=any
	struct pring_ledger *ledgers; // where packed rings keep their places: ledgers_of the epoch, borrowed; NULL: they die with us
	uint32_t max_mtu; // largest that NET_SET_MTU may say; 0: any
};

struct dev_msg {
	uint64_t seq; // 1, 2, 3... within the connection
	struct vu_hdr hdr;
	const uint8_t *payload; // hdr.size bytes
	int fds[VU_MAX_FDS]; // owned by the message: dev_handle takes what it keeps and closes the rest
	unsigned n_fds;
	bool fds_truncated; // the kernel dropped some (MSG_CTRUNC): the message is refused
};

#define DEV_REPLY_MAX 64

struct dev_reply {
	uint32_t len; // bytes to send, 0: none
	bool close; // after sending: the connection must be closed
	// A stop was answered that could not be stored: until a later reply says otherwise the rows of this connection
	// are behind, and nobody may adopt it.
	bool unstored;
	uint8_t bytes[DEV_REPLY_MAX];
};

enum dev_event {
	DEV_EV_NEGOTIATED, // SET_FEATURES was accepted for the first time
	DEV_EV_LOG_START, // LOG_ALL came on
	DEV_EV_LOG_STOP, // LOG_ALL went off while running
	DEV_EV_RING_START, // ring q started (kick given); detail: none
	DEV_EV_RING_STOP, // ring q stopped by GET_VRING_BASE
	DEV_EV_BASE_DIFFERS, // detail: given base and used.idx
	DEV_EV_REFUSED, // a message was refused or the stream broken; detail: message and reason
	DEV_EV_RESET, // RESET_OWNER
};

enum dev_run {
	DEV_RUN, // started and enabled: normal
	DEV_DISCARD, // started, explicitly disabled: TX is consumed and discarded, RX gets nothing
};

struct dev_ops {
	// Make the transition durable, in one transaction: next, the SNAP_ bits that changed, the message's seq and the reply that
	// will be sent. claim: with SNAP_CLAIM, the address of a SEND_RARP, whose announcements are owed from this transaction on; else
	// NULL. OURS: it could not be written, REFUSED: the address can't be claimed; the message is then refused as its row says.
	enum err (*commit)(void *arg, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
			   uint32_t reply_len, const uint8_t *claim, struct why *why);
	// Take ring q from the datapath: when it returns, no data thread touches the ring any more, and all that was fetched
	// from it is completed. Harmless if it was not published. last: GET_VRING_BASE, reset or close, not a short pause.
	void (*ring_retract)(void *arg, unsigned q, bool last);
	// Give ring q to the datapath: it is scanned once without a kick, its call descriptor is signalled once. kick_fd is
	// borrowed until the next retract; -1: none (poll).
	void (*ring_publish)(void *arg, unsigned q, struct vring *ring, int kick_fd, enum dev_run how);
	// Wait until every data thread has passed a quiescent point: what was unpublished before may be freed.
	void (*sync)(void *arg);
	// SEND_RARP for mac, which commit let through.
	void (*rarp)(void *arg, const uint8_t mac[6]);
	void (*event)(void *arg, enum dev_event ev, unsigned q, const char *detail);
};

struct dev *dev_new(const struct dev_conf *conf, const struct dev_ops *ops, void *arg); // NULL: out of memory
// Retracts all rings, frees all. The front end is gone or will be: where it was logging, the caller has called
// dev_give_up first if pages may be missing from the log. NULL is fine.
void dev_free(struct dev *dev);

// -- going on with the connection of a process that died --------------------------------------------------------------------
struct dev_adoption {
	const struct snap *snap; // as it was committed last; hostile input
	uint64_t applied; // number of the message that did
	const uint8_t *reply; // and what was, or is to be, answered to it
	uint32_t reply_len;
	// The descriptor that came as number n with message `from` of this connection: borrowed, -1: nobody kept it.
	int (*fd)(void *fd_arg, uint64_t from, uint32_t n);
	void *fd_arg;
};
// Build aside all that the snapshot says: memory map, log, descriptors (our own duplicates), rings. Writes nothing into
// the guest's memory, and asks the ops for nothing but sync. conf as for dev_new, with the port and the epoch of the
// snapshot; what was offered to this connection stays offered. REFUSED: something is missing or does not fit (any more),
// OURS: out of something. Then nothing is left of it, and the log, unless the rows are not to be believed or it can't be
// mapped, was filled with ones: the connection is to be closed.
enum err dev_adopt(struct dev **out, const struct dev_conf *conf, const struct dev_ops *ops, void *arg,
		   const struct dev_adoption *a, struct why *why);
// Of that, what can be known of another process' connection: is all that is in use there what this version has, with a port of that many
// pairs?
enum err dev_adoptable(const struct snap *s, unsigned pairs, struct why *why);
// To be called once, when no thread of the dead process can touch guest memory any more, and before the first dev_handle:
// rings take their places, what it may not have logged is logged (relog.h; the whole log in doubt), and only then they
// are published. By events only DEV_EV_BASE_DIFFERS is told, not even what the last message did: the caller looks at
// dev_snap. Messages from applied + 1 on are handled as always; one that is not above applied gets the stored reply,
// changes nothing and tells nothing.
void dev_adopt_run(struct dev *dev);

// Handle one message. msg->fds are all taken or closed on return.
void dev_handle(struct dev *dev, struct dev_msg *msg, struct dev_reply *reply);

// Fill the log with ones if one is mapped, after retracting all rings: nothing that we wrote can be lost to the front end.
void dev_give_up(struct dev *dev);

const struct snap *dev_snap(const struct dev *dev);
// Running = given to the datapath in DEV_RUN.
bool dev_ring_running(const struct dev *dev, unsigned q);
struct vring *dev_ring(const struct dev *dev, unsigned q); // NULL if none; for counters and `rings`
int dev_ring_err_fd(const struct dev *dev, unsigned q); // borrowed, -1: none given
unsigned dev_rings_running(const struct dev *dev);
bool dev_logging(const struct dev *dev); // LOG_ALL acknowledged and a log mapped
uint64_t dev_pages_logged(const struct dev *dev); // over this device's life
uint64_t dev_pages_missed(const struct dev *dev);
uint64_t dev_memory_bytes(const struct dev *dev);
// True once a page of guest memory went away under us: the session must be given up.
bool dev_memory_broken(const struct dev *dev);

// Why nothing runs, and what the user can do about it; both strings are static or inside dev, "" if all is well.
void dev_explain(const struct dev *dev, const char **reason, const char **hint);

// The names of feature bits, as `features=` and status use them ("mrg_rxbuf", "proto-mq"); NULL for an unknown bit.
const char *dev_feature_name(unsigned bit);
const char *dev_protocol_feature_name(unsigned bit);
// Without the bits that need one which is not there (virtio 1.2, 5.1.3.1): segmentation the checksum, ECN segmentation.
uint64_t dev_features_sound(uint64_t features);
// What vringd can offer: the bits of the newest compat level, without policy (announce, features=).
uint64_t dev_features_supported(void);
uint64_t dev_protocol_features_supported(void);

#endif
