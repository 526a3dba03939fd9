// A vhost-user front end in user space: one connection, the guest memory and rings behind it. fe.c sends and receives;
// fe_flow.c speaks the message orders that QEMU speaks. A call never blocks longer than conf.timeout_ms and never ends the
// process; what went wrong is in err.
//
// Life: fe_new, fe_connect (or fe_take), fe_negotiate, fe_driver_reset, [net_init...], fe_start, ... fe_stop, fe_start, ...
// fe_disconnect, fe_connect, ... fe_free. The rings and their contents outlive a connection, as a guest's do.
#ifndef DRIVER_FE_H
#define DRIVER_FE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "driver/conn.h"
#include "driver/gmem.h"
#include "driver/vq.h"

enum fe_style {     // which messages ask for an acknowledgement
	FE_QEMU10,  // as QEMU 10.0 does
	FE_QEMU72,  // as QEMU 7.2 does
	FE_ACK_ALL, // every message that can
};

struct fe_conf {
	unsigned pairs;     // 1..16; 0: 1
	uint16_t ring_size; // 0: 256
	uint64_t features;  // virtio bits wanted, 0: FE_FEATURES (RING_PACKED: see packed); acknowledged if offered
	uint64_t protocol;  // protocol bits wanted, 0: FE_PROTOCOL
	enum fe_style style;
	bool packed;         // packed rings; fe_negotiate refuses a back end without them
	bool log_ring;       // packed: the log address is the ring's, for DPDK; without: the device area's, as QEMU has it
	bool spread;         // rings over several pages, see vq_init
	bool poll_call;      // SET_VRING_CALL with the no-descriptor bit
	uint16_t mtu;        // sent if negotiated and not 0
	uint64_t kick_count; // what a new kick eventfd holds (QEMU: 1); 0 proves that a start needs no kick
	unsigned timeout_ms; // 0: 5000
	struct gmem_conf mem;
};

#define FE_FEATURES                                                                                  \
	(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_F_INDIRECT_DESC) | \
	 BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_NET_F_MQ))
#define FE_PROTOCOL \
	(BIT64(VU_PF_MQ) | BIT64(VU_PF_LOG_SHMFD) | BIT64(VU_PF_RARP) | BIT64(VU_PF_REPLY_ACK) | BIT64(VU_PF_MTU))

enum fe_res {
	FE_OK,
	FE_NACK,   // acknowledged with a value that is not 0
	FE_CLOSED, // the back end closed the connection
	FE_SILENT, // no answer in time
	FE_WRONG,  // an answer that the protocol does not allow
};

struct fe_ring {
	struct vq vq;
	int kick, call, err;
	uint32_t base; // to be given with SET_VRING_BASE; packed: both places with their wrap bits
	bool running;
};

struct fe;
struct fe_hook { // what a test wants to see of the wire; NULL: nothing
	void (*sends)(void *arg, struct fe *fe, uint32_t id); // a message is about to be sent
	void (*heard)(void *arg, struct fe *fe, const struct conn_msg *reply);
	void *arg;
};

struct fe {
	struct fe_conf conf;
	struct fe_hook hook;
	int sock; // -1: not connected
	struct gmem *mem;
	unsigned rings; // 2 * pairs; even: receive
	struct fe_ring ring[VU_MAX_RINGS];
	uint64_t offered, protocol_offered, queue_num;
	uint64_t features, protocol; // acknowledged; without LOG_ALL
	int log_fd;                  // borrowed, -1: not logging
	uint64_t log_size, log_offset;
	uint64_t messages; // sent
	char err_text[200];
};

struct fe *fe_new(const struct fe_conf *conf);    // NULL: no memory
void fe_free(struct fe *fe);                      // NULL is fine; closes the connection
bool fe_connect(struct fe *fe, const char *path); // retries until the time-out
void fe_take(struct fe *fe, int sock);            // a connected socket, which becomes fe's
void fe_disconnect(struct fe *fe);

// -- single messages ---------------------------------------------------------------------------------------------------
bool fe_send(struct fe *fe, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned n_fds);
// Send with need_reply and wait for the acknowledgement.
enum fe_res fe_ack(struct fe *fe, uint32_t id, const void *payload, uint32_t size, const int *fds, unsigned n_fds);
// As the style has it: with need_reply where it asks for one (and REPLY_ACK is on), else without waiting.
enum fe_res fe_tell(struct fe *fe, bool ask, uint32_t id, const void *payload, uint32_t size, const int *fds,
		    unsigned n_fds);
enum fe_res fe_get_u64(struct fe *fe, uint32_t id, uint64_t *value);
enum fe_res fe_get_base(struct fe *fe, unsigned q, uint32_t *num);
enum fe_res fe_recv(struct fe *fe, struct conn_msg *msg, uint32_t id); // a reply to id: flags and id are checked
// Everything sent so far was handled: a GET_FEATURES round trip.
enum fe_res fe_barrier(struct fe *fe);
const char *fe_res_name(enum fe_res res);
// Returns res, with err_text set.
enum fe_res fe_fail(struct fe *fe, enum fe_res res, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// -- orders of messages ------------------------------------------------------------------------------------------------
// From connect to the first SET_VRING_ERR. FE_NACK: packed rings are wanted and not offered.
enum fe_res fe_negotiate(struct fe *fe);
// A driver that initialises its rings, as the features ask for it; base as in vq_reset.
void fe_driver_reset(struct fe *fe, uint16_t base);
enum fe_res fe_start(struct fe *fe);                // all rings; with SET_LOG_BASE after the kicks if logging
enum fe_res fe_stop(struct fe *fe);                 // GET_VRING_BASE of all rings; bases are kept for the next start
enum fe_res fe_set_mem(struct fe *fe);
enum fe_res fe_ring_start(struct fe *fe, unsigned q); // NUM, BASE, ADDR, KICK, CALL
enum fe_res fe_ring_addr(struct fe *fe, unsigned q);
enum fe_res fe_ring_enable(struct fe *fe, unsigned q, bool on);
enum fe_res fe_ring_call(struct fe *fe, unsigned q); // SET_VRING_CALL with a new eventfd
enum fe_res fe_send_features(struct fe *fe);         // with LOG_ALL if logging
// Start and stop of logging as a migration source sees it; fd is borrowed until the log is stopped.
enum fe_res fe_log_start(struct fe *fe, int fd, uint64_t size, uint64_t offset);
enum fe_res fe_log_base(struct fe *fe, int fd, uint64_t size, uint64_t offset); // SET_LOG_BASE alone
enum fe_res fe_log_stop(struct fe *fe);
// After a lost connection: every base is what the rings in guest memory say, used.idx with split ones, as QEMU does it. (Of
// packed rings QEMU gives the base that it had before; the place of the last used descriptor is the right one.)
void fe_bases_from_memory(struct fe *fe);

// -- signals -----------------------------------------------------------------------------------------------------------
// Wait for a call on ring q and take it; false: none in time.
bool fe_wait_call(struct fe *fe, unsigned q, unsigned timeout_ms);
uint64_t fe_take_calls(struct fe *fe, unsigned q); // count so far, without waiting

#endif
