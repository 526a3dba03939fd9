// What keeper and worker say to each other: packets of a SOCK_SEQPACKET pair, each with a head, a body and descriptors. The
// keeper never waits for the worker; the worker may wait for the keeper, which always reads.
//
// The worker's start: KP_HELLO, KP_NAMED for each thing in custody, for each connection KP_CONN, KP_KEPTs and KP_MESSAGE if one is not
// done, then KP_READY. The worker answers KP_IAM before it puts or opens anything.
//
// An upgrade: the worker gives a program (KP_TRY). The keeper starts it, as a candidate, and gives the worker the other end of its pair, too
// (KP_TRIED). On that end the worker speaks as a keeper would: KP_HELLO, KP_NAMED for its rows and its configuration, KP_READY, and is answered
// KP_FIT or KP_UNFIT. If fit, it comes to rest, closes the store and says KP_LEAVE to the keeper; from then on the candidate is
// the worker, and hears what any worker hears at its start. One whose pair ends before has been refused, and ends.
//
// A standby is the same program as the worker's, started beside it: KP_HELLO, KP_READY, and no answer. It is a candidate that nobody judges, and takes
// over when the worker dies.
//
// Another keeper: KP_TRY with KP_SELF. The candidate is told by the keeper itself (KP_HELLO, KP_IMAGE, KP_READY) and answers to the worker, which then says
// KP_EXEC; KP_TRIED without a descriptor says that the new program is the keeper, or why it is not. Worker, pair and connections stay.
//
// Rest: the keeper that is to end, and whose connections a service manager keeps meanwhile, says KP_LEAVE; the worker leaves as for a
// candidate.
//
// Versions: KP_HELLO says what is spoken, the other side answers with one of these (kp_common) or ends the talk. Head, KP_HELLO up to role,
// KP_IAM up to version, KP_FIT and KP_UNFIT are the same in all of them, and what grows grows at its end.
#ifndef KP_KP_H
#define KP_KP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "wire/vu_reply.h"
#include "wire/vu_spec.h"

#define KP_VERSION 1
#define KP_OLDEST 1 // what this program speaks, too
#define KP_MAX_FDS 16 // in one packet, far below the kernel's 253
#define KP_MAX_BODY 4608
#define KP_NAME_MAX 48 // of a thing in custody, with its NUL
#define KP_REASON_MAX 256 // of KP_UNFIT, with its NUL
#define KP_MAX_KEPT 112 // descriptors of a connection: 8 regions, a log and its bell, kick, call and err of 32 rings
#define KP_CONFIG ":config" // what was read from configuration files; it does not outlive the keeper
#define KP_TABLE ":table" // of ports, as operators left it; the same
#define KP_ROWS ":rows" // for a candidate: a copy of the worker's
#define KP_FLIGHT ":flight" // what the keeper puts there itself, before the first worker: struct flight_page,
#define KP_BLAME ":blame" // struct blame_page,
#define KP_BELL ":bell" // an eventfd
#define KP_IMAGE ":image" // for a candidate for the keeper's place: custody as bytes
#define KP_IMAGE_ENV "VRINGD_IMAGE" // and for that keeper, in its environment
#define KP_ENV "VRINGD_KEEPER_FD" // the worker's end of the pair, in its environment

enum kp_type {
	// keeper to worker
	KP_HELLO = 1, // struct kp_hello
	KP_NAMED, // the name; one descriptor
	KP_CONN, // conn; struct kp_conn
	KP_KEPT, // conn; struct kp_ref for each descriptor
	KP_MESSAGE, // conn, seq; header and payload as the front end sent them; its descriptors
	KP_READY, // all that was in custody is told
	KP_GONE, // conn; KP_CLEAN or not, the reason: the front end closed, or the connection was given up. It is forgotten
	// worker to keeper
	KP_IAM, // struct kp_iam
	KP_PUT, // the name; one descriptor: keep it, in place of what had the name. KP_LISTEN: accept front ends on it
	KP_DROP, // the name
	KP_OPEN, // a connected socket: a connection from now on, told by KP_CONN; the body is its port
	KP_DONE, // conn, seq; struct kp_done and its refs: committed and applied
	KP_CLOSE, // conn: close it, all of it is over
	KP_RELEASE, // a port's id: it is parked no more (blame.h)
	KP_SERVING, // ports are open, connections adopted
	KP_END, // this end is on purpose: do not start another
	// an upgrade, see above
	KP_TRY = 64, // worker; one descriptor: the program. None: the candidate is not wanted
	KP_TRIED, // keeper; one descriptor: the pair; the body is a reason if there is none
	KP_FIT, // candidate; struct kp_iam: it could go on here
	KP_UNFIT, // candidate; the reason
	KP_LEAVE, // worker: the store is closed, no ring is touched any more. Keeper: do so
	KP_EXEC, // worker: be the candidate's program
};

enum kp_role { KP_WORKER, KP_CANDIDATE, KP_STANDBY, KP_KEEPER };

enum kp_flag {
	KP_LISTEN = 1, // KP_PUT, KP_NAMED
	KP_CLEAN = 2, // KP_GONE: between two messages
	KP_HANG_UP = 4, // KP_DONE: close the connection when the reply is out
	KP_FILL = 16, // KP_CLOSE: after the dirty log is all ones
	KP_BEHIND = 32, // KP_DONE: it was answered and could not be stored: no other worker can take this connection over
	KP_SELF = 64, // KP_TRY: for the keeper's own place
	KP_KEEP = 8, // KP_DONE: the refs are all that rows of this connection refer to; drop what is not among them
};

struct kp_head {
	uint16_t type;
	uint8_t flags, n_fds;
	uint32_t len; // of the body
	uint64_t conn; // the connection: its epoch in the store
	uint64_t seq;
};

struct kp_hello {
	uint32_t version, oldest;
	uint32_t role; // enum kp_role
	uint32_t worker; // 0 for the first of this keeper; a candidate's: what it would be
	uint64_t life; // of the store, as the first one found it; 0: you are the first
	int32_t status; // of the last one's death, as waitpid gives it
	uint64_t started_us; // the keeper, CLOCK_BOOTTIME
	uint64_t died_us; // the last worker; 0: there was none
};

struct kp_iam {
	uint32_t version; // what is spoken from now on
	uint32_t pad;
	uint64_t life; // 0 in KP_FIT; connections are numbered life << 32 | n
};

struct kp_conn {
	char port[KP_NAME_MAX];
	int32_t pid;
	uint32_t uid;
	uint64_t since_us;
	uint64_t done; // last message that is done
	uint32_t deaths; // of workers by the message that is not done, or by taking this over: see blame.h
	uint32_t pad;
};

// A descriptor's name within a connection: the message that brought it, and its place there.
struct kp_ref {
	uint64_t seq;
	uint32_t place;
	uint32_t pad;
};

struct kp_done {
	uint32_t reply_len;
	uint32_t n_keep; // refs that follow
	// The dirty log that must be all ones before the connection may be closed without the worker's doing: which descriptor, and
	// where in it. No bytes: none is in use.
	uint64_t log_from, log_offset, log_bytes;
	uint8_t reply[VU_REPLY_MAX];
};

static_assert(sizeof(struct kp_done) + KP_MAX_KEPT * sizeof(struct kp_ref) <= KP_MAX_BODY, "a whole keep-set fits");
static_assert(sizeof(struct vu_hdr) + VU_MAX_PAYLOAD <= KP_MAX_BODY, "a whole message fits");
static_assert(VU_MAX_FDS <= KP_MAX_FDS, "and its descriptors");

// The newest version that this program and one that speaks oldest to version both do. 0: there is none.
static inline uint32_t kp_common(uint32_t version, uint32_t oldest)
{
	uint32_t use = version < KP_VERSION ? version : KP_VERSION;
	return use >= KP_OLDEST && use >= oldest ? use : 0;
}

struct kp_packet {
	struct kp_head head; // checked: len and n_fds are those of what came
	int fds[KP_MAX_FDS]; // the receiver's
	bool fds_lost; // the kernel could not give us all (our limit of open files)
	_Alignas(8) uint8_t body[KP_MAX_BODY + 1]; // and a NUL, for names
};

// Send a packet; body and descriptors stay the caller's. wait: until there is room. OK; AGAIN: no room; DESYNC: the other side is
// gone; OURS: it can't be sent (why).
enum err kp_send(int sock, const struct kp_head *head, const void *body, const int *fds, bool wait, struct why *why);
// OK, AGAIN (only without wait), DESYNC: the other side is gone, or speaks another language.
enum err kp_recv(int sock, struct kp_packet *p, bool wait, struct why *why);
void kp_drop(struct kp_packet *p); // closes the descriptors that nobody took
// A packet of a text, and a descriptor unless it is -1. Does not wait.
enum err kp_tell(int sock, uint16_t type, uint8_t flags, const char *text, int fd, struct why *why);
// Start the program that is open as exe, with one end of a new pair in its environment (KP_ENV); the other is *sock. Allocates
// nothing. 0, or an errno.
char **kp_environment(const char *name, int value); // ours, and that; valid until the next call
int kp_spawn(int exe, char *const *argv, pid_t *pid, int *sock);

#endif
