// Inside the device: the object, a transition under way, the handlers.
//
// A handler only prepares: it checks everything and writes what shall be into txn (the whole next snapshot, and the objects that
// go with it). dev_ring_plan then builds the rings that the next snapshot wants. Only when all of that is there is the transition
// committed, and dev_apply, which cannot fail, makes it true.
#ifndef DEV_DEV_INT_H
#define DEV_DEV_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "dev/dev.h"
#include "dirty/dirty.h"
#include "guest/mem.h"
#include "guest/ring.h"
#include "snap/snap.h"
#include "wire/vu_admit.h"
#include "wire/vu_table.h"

enum dev_want { DEV_WANT_NO, DEV_WANT_RUN, DEV_WANT_DISCARD };

struct dev_ring {
	struct vring *ring; // while published; of an adopted device, also before
	enum dev_want now; // how the datapath has it
	bool has_at; // it was in the datapath since it started (snap's ran), and rests behind the log gate:
	uint32_t at; // this is where it goes on: a base
	int kick, call, err; // owned, -1: none
};

struct dev {
	struct dev_conf conf;
	const struct dev_ops *ops;
	void *arg;
	struct snap snap; // what is true and durable
	uint64_t unstored; // SNAP_ bits that are true but could not be stored (a stop is answered all the same): the next commit takes them
	struct mem_map *mem;
	struct dirty_log *log;
	int log_fd; // of SET_LOG_FD, -1: none
	struct dev_ring ring[SNAP_MAX_RINGS];
	unsigned n_rings;
	uint64_t marked_past, missed_past; // of logs that are gone
	bool negotiated; // DEV_EV_NEGOTIATED was told
	uint64_t applied; // adopted: the last message that was committed before, 0: none; it and those before it are not handled again
	uint32_t applied_len;
	uint8_t applied_reply[DEV_REPLY_MAX];
	char reason[WHY_MAX];
#ifdef VRINGD_MUTANT_ACK_BEFORE_COMMIT
	struct snap late; // seeded bug: committed with the next message only
	uint64_t late_what, late_seq;
#endif
};

enum dev_fd_kind { DEV_FD_NONE, DEV_FD_KICK, DEV_FD_CALL, DEV_FD_ERR, DEV_FD_LOG };

struct dev_req {
	const struct vu_row *row;
	const union vu_body *body;
	uint32_t q; // ring, or VU_NO_RING
	struct dev_msg *msg;
};

struct dev_txn {
	struct snap next;
	bool mem_set, log_set; // the objects below replace the present ones (log may be NULL: it goes)
	struct mem_map *mem;
	struct dirty_log *log;
	enum dev_fd_kind fd_kind; // which descriptor of ring fd_q is replaced by fd (owned, may be -1)
	uint32_t fd_q;
	int fd;
	uint64_t answer; // of a U64 reply
	struct vu_state state; // of GET_VRING_BASE
	struct vu_log log_echo;
	bool rarp;
	uint8_t rarp_mac[6];
	bool reset;
	// filled by dev_ring_plan
	struct vring *ring[SNAP_MAX_RINGS]; // built aside
	enum dev_want want[SNAP_MAX_RINGS];
	uint32_t touch; // rings that must leave the datapath for a moment or for good
};

static inline bool dev_packed(const struct snap *s)
{
	return bits_has(s->features_acked, VIRTIO_F_RING_PACKED);
}

typedef enum err dev_prepare_fn(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why);

// dev_ring.c
enum err dev_ring_plan(struct dev *dev, struct dev_txn *txn, struct why *why);
void dev_apply(struct dev *dev, struct dev_txn *txn);
enum dev_want dev_ring_want(const struct snap *s, unsigned q, bool has_mem, bool has_log);
// Build ring q of txn->next aside, into txn->ring[q].
enum err dev_ring_build(struct dev *dev, struct dev_txn *txn, unsigned q, struct why *why);
// Set the position of a ring that was built and was in no datapath just now. ran: since it started it had been in one, of
// this process or of one before. True: the place is certain.
bool dev_ring_place(struct dev *dev, unsigned q, struct vring *ring, bool ran);
// The last step before a ring that was built is published, and the first that writes into it. was_in: it takes the place of one
// that left the datapath only for a moment.
void dev_ring_finish(struct dev *dev, unsigned q, struct vring *ring, bool was_in);
// dev.c: ones for all that can have been written, where a log is mapped
void dev_log_fill(struct dev *dev);
// dev_mem.c: a log that does not reach to the end of memory would lose pages in silence
enum err dev_log_covers(const struct mem_map *mem, uint64_t log_bytes, struct why *why);
// dev_queue.c: only an eventfd can be polled and written without ever filling up or being waited for (see nudge.h)
enum err dev_check_notifier(int fd, unsigned q, struct why *why);
void dev_txn_abort(struct dev_txn *txn); // frees what was built aside
void dev_event(struct dev *dev, enum dev_event ev, unsigned q, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

// handlers, one for each row that works (named by the table)
dev_prepare_fn dev_on_get_features, dev_on_set_features, dev_on_set_owner, dev_on_reset_owner, dev_on_set_mem_table,
	dev_on_set_log_base, dev_on_set_log_fd, dev_on_set_vring_num, dev_on_set_vring_addr, dev_on_set_vring_base,
	dev_on_get_vring_base, dev_on_set_vring_kick, dev_on_set_vring_call, dev_on_set_vring_err, dev_on_get_protocol_features,
	dev_on_set_protocol_features, dev_on_get_queue_num, dev_on_set_vring_enable, dev_on_send_rarp, dev_on_net_set_mtu;

#endif
