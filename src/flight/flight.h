// Who does what right now: a page in a memfd that outlives the worker. The worker's threads say in it what they have in hand; when
// one of them dies by its own fault, the handler of fatal signals says there whose it was. The keeper reads it, after a death
// (blame.h) and while something is under way (hang.h).
//
// Our own memory, never a guest's: whoever reads it still believes nothing but that it is there, since a worker that goes
// wrong may have written anything. Cost: a store for each ring and batch, one for each turn; no system call, but one for a thread
// that wakes while nobody watches.
#ifndef FLIGHT_FLIGHT_H
#define FLIGHT_FLIGHT_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define FLIGHT_THREADS 16u // data threads
#define FLIGHT_CONTROL FLIGHT_THREADS
#define FLIGHT_SLOTS (FLIGHT_THREADS + 1u)
#define FLIGHT_PORTS 256u
#define FLIGHT_NAME_MAX 48

enum flight_doing { FLIGHT_NOTHING, FLIGHT_MESSAGE, FLIGHT_ADOPTION };

struct flight_thread { // a line of its own; written by its thread
	_Atomic uint64_t at; // FLIGHT_AT of the ring in hand; 0: none
	_Atomic uint64_t beat; // raised each turn
	_Atomic uint32_t awake; // 0, 1 or
#define FLIGHT_WAITS 2u // for a ring that another thread has
	_Atomic int32_t tid;
} __attribute__((aligned(64)));

struct flight_hand { // the control thread's
	_Atomic uint32_t doing; // enum flight_doing
	_Atomic uint64_t conn, seq; // the connection by its epoch, the message; 0 for none
	char port[FLIGHT_NAME_MAX];
};

struct flight_fault {
	_Atomic uint32_t claimed, whole; // by the first thread; all of it is there
	int32_t slot, signal, code; // slot -1: a thread that is none of those
	uint32_t doing;
	uint64_t addr, at, conn, seq;
};

struct flight_page {
	uint64_t magic;
	_Atomic uint32_t watched; // somebody looks at the beats
	_Atomic uint32_t parks_told; // see blame_port.parked: for which an event was entered
	struct flight_hand hand;
	struct flight_fault fault;
	_Atomic uint32_t dying; // of that fatal signal, whoever sent it: a core may be under way
	struct flight_thread thread[FLIGHT_SLOTS];
	char port[FLIGHT_PORTS][FLIGHT_NAME_MAX]; // by the datapath's number
};

// Port, ring and where in it a batch begins: the position of its first chain (with a packed ring the wrap bit on top).
#define FLIGHT_AT(port, q, pos) (UINT64_C(1) << 63 | (uint64_t)(port) << 32 | (uint64_t)(q) << 16 | (uint16_t)(pos))
#define FLIGHT_AT_PORT(at) ((unsigned)((at) >> 32 & 0xffff))
#define FLIGHT_AT_RING(at) ((unsigned)((at) >> 16 & 0xffff))
#define FLIGHT_AT_POS(at) ((unsigned)((at) & 0xffff))

static inline void flight_at(struct flight_thread *t, uint64_t at)
{
	atomic_store_explicit(&t->at, at, memory_order_relaxed);
}

// -- the keeper ---------------------------------------------------------------------------------------------------------------
// A memfd of that many bytes that nobody can resize, all zeros but for magic in front, and mapped. OURS: no memory or descriptor.
enum err flight_share(int *fd, const char *name, uint64_t magic, size_t bytes, void **map, struct why *why);
enum err flight_make(int *fd, struct flight_page **page, struct why *why);
// The same, or map the one that an earlier keeper has made, if have (-1: none) is of this version; *fd is -1 then.
enum err flight_keep(int have, int *fd, struct flight_page **page, struct why *why);
void flight_reset(struct flight_page *page); // another worker is about to start, and the last one is dead

// -- the worker ---------------------------------------------------------------------------------------------------------------
// Map what flight_share made. REFUSED: it is none, or of another size.
enum err flight_map(int fd, uint64_t magic, size_t bytes, bool writable, void **map, struct why *why);
// From now on this process says in the page of fd (borrowed) what it does, and rings bell (an eventfd, taken) when a thread wakes and
// nobody watches. Before any thread is started. Without it all of this goes to memory of our own.
enum err flight_use(int fd, int bell, struct why *why);
struct flight_page *flight_page(void);
// The handler of fatal signals: it notes whose fault it was, if it is one of ours and not a kill from outside, and lets the
// process die of the signal. Before guard_install, which passes on what is not its. -1 with errno on failure.
int flight_install(void);
void flight_unblock(sigset_t *set); // takes out of a set to be blocked what flight_install catches
// The calling thread is that one. Returns its line.
struct flight_thread *flight_here(unsigned slot);
// The control thread takes something up, and has done with it. port: its id.
void flight_take(enum flight_doing doing, uint64_t conn, uint64_t seq, const char *port);
void flight_done(void);
void flight_port(unsigned index, const char *id); // what the datapath's number means
// A data thread is awake. (It lies down with flight_asleep.) The caller fences between this and what it loads afterwards.
void flight_awake(struct flight_thread *t);
// It spins for what another thread holds, and does so no more.
static inline void flight_waits(struct flight_thread *t, bool waits)
{
	atomic_store_explicit(&t->awake, waits ? FLIGHT_WAITS : 1, memory_order_relaxed);
}
// A data thread is awake: it has a CPU, or wants one.
static inline bool flight_busy(const struct flight_page *page)
{
	uint32_t any = 0;
	for (unsigned i = 0; i < FLIGHT_THREADS; i++)
		any |= atomic_load_explicit(&page->thread[i].awake, memory_order_relaxed);
	return any != 0;
}
static inline void flight_asleep(struct flight_thread *t)
{
	atomic_store_explicit(&t->at, 0, memory_order_relaxed);
	atomic_store_explicit(&t->awake, 0, memory_order_release);
}

#endif
