// A device with fake ops around it: guest memory and log are real memfds of the test's own, the datapath is a record of what
// was asked of it. The ops check by themselves what may never happen (a ring published twice, a kick that is closed).
#ifndef DEVBED_H
#define DEVBED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dev/dev.h"
#include "guest/ledger.h"
#include "guest/vring.h"
#include "wire/vu_table.h"

#define BED_MEM (UINT64_C(4) << 20)
#define BED_UADDR UINT64_C(0x7f1200000000)
#define BED_LOG 4096u // bytes: covers 128 MiB
#define BED_NUM 64u

enum bed_step { STEP_COMMIT, STEP_RETRACT, STEP_PUBLISH, STEP_SYNC, STEP_RARP, STEP_EVENT };
struct step {
	enum bed_step what;
	unsigned q; // ring; of STEP_EVENT: the event
	uint64_t bits; // what of the commit, how of the publish, last of the retract
};

struct devbed {
	struct dev_conf conf;
	struct pring_ledger *ledgers; // conf's
	struct dev *dev;
	int mem_fd, log_fd;
	uint8_t *mem, *log;
	uint64_t seq;
	// the record: of the last message
	struct step step[256];
	unsigned n_steps;
	struct snap committed; // as of the last commit
	uint64_t committed_seq;
	uint8_t committed_reply[DEV_REPLY_MAX];
	uint32_t committed_reply_len;
	unsigned commits, commit_calls; // done, asked for
	bool fail_commit;
	// the datapath
	struct vring *ring[SNAP_MAX_RINGS];
	int kick[SNAP_MAX_RINGS];
	enum dev_run how[SNAP_MAX_RINGS];
	char refused[400]; // last DEV_EV_REFUSED
	char differs[400]; // last DEV_EV_BASE_DIFFERS
	const char *broken; // an op was misused
	bool keeps; // custody of descriptors, as a keeper has it
	struct {
		uint64_t seq;
		uint32_t n;
		int fd;
	} kept[SNAP_MAX_NAMES + VU_MAX_FDS];
	unsigned n_kept;
	bool dead; // of the device: what it asks for does not happen
};

struct request {
	struct vu_hdr hdr;
	uint8_t payload[VU_MAX_PAYLOAD];
	int fds[VU_MAX_FDS];
	unsigned n_fds;
	bool truncated;
};

void bed_open(struct devbed *b, unsigned pairs);
void bed_close(struct devbed *b);
unsigned bed_maps(void); // memfd mappings of this process: 0 when all is closed
// Does it leave the descriptor count as it was when bed_open was called?
int bed_setup(void **state); // 2 pairs
int bed_setup_kept(void **state); // and descriptors are kept, so that it can be adopted
int bed_teardown(void **state);

// A good request of this id about ring q, with descriptors of its own; in a session set up by bed_configure it is accepted.
void request_good(struct devbed *b, struct request *r, uint32_t id, unsigned q);
// Send it (the descriptors go with it). The record starts anew.
void bed_send(struct devbed *b, struct request *r, struct dev_reply *reply);
// Send a good one, with another 64-bit payload (u64, or index | num << 32); it must be accepted. Returns the reply's u64.
uint64_t bed_ok(struct devbed *b, uint32_t id, unsigned q);
uint64_t bed_ok64(struct devbed *b, uint32_t id, uint64_t payload);
// The same, expected to be refused: need_reply is set, REPLY_ACK must be negotiated. True if it was nacked.
bool bed_nacked64(struct devbed *b, uint32_t id, uint64_t payload);
uint64_t state_u64(uint32_t index, uint32_t num);

// Sessions: protocol features, owner | + features (packed rings and LOG_ALL only if extra has them), memory | + rings 0..n-1 sized, based, addressed | + enabled and kicked.
void bed_negotiate(struct devbed *b, uint64_t extra_features);
void bed_memory(struct devbed *b);
void bed_configure(struct devbed *b, unsigned n_rings);
void bed_run(struct devbed *b, unsigned n_rings);
void bed_start_log(struct devbed *b); // SET_LOG_BASE, LOG_ALL, ring addresses with the flag, as QEMU does

uint64_t bed_ring_gpa(unsigned q);
void bed_used_idx(struct devbed *b, unsigned q, uint16_t idx); // in guest memory
// The datapath completes n chains of a published ring.
void bed_progress(struct devbed *b, unsigned q, uint16_t n);
// The process dies: nothing is retracted, completed or logged; the datapath is gone.
void bed_crash(struct devbed *b);
// Another one builds the device from what was committed and kept. The record starts anew. bed_adopted: and runs it.
enum err bed_adopt(struct devbed *b, struct why *why);
void bed_adopted(struct devbed *b);
unsigned bed_count(const struct devbed *b, enum bed_step what, unsigned q); // q UINT32_MAX: any
bool eventfd_take(int fd); // was it signalled?

#endif
