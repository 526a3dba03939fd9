// Where packed rings stand, in memory that outlives the process: no index in guest memory says it. A ledger is a ring's; a
// block has those of a connection; a page of blocks (a memfd that somebody keeps) has all. Nothing of it is in guest
// memory, so nothing that a guest or front end writes gets here; what an earlier worker left is checked all the same.
//
// A batch of chains is given back by overwriting the first descriptor of each, that of the first chain last, which shows
// them all. Overwriting takes away the buffer's length, and what the chain had else. So before a descriptor is overwritten
// what was in it is saved here, and a batch that was not shown is taken back as a whole: then the ring is as if nothing
// had been fetched. A process that is killed stops between two instructions, so the order below, kept by the compiler,
// decides each case:
//
//   word[i], slot[i], state = place | i     before descriptor i of the batch (1, 2, ...) is overwritten
//   end                                     when all but the first are
//   (the first: all are shown)
//   state = end                             the batch is done
//
//   end == the place in state      nothing is shown: entries 1 to i go back
//   end != it, the first available nothing is shown: they go back
//   end != it, the first not       all is shown: end is the place, whatever the driver has done with the ring since
//
// What was fetched and not given back needs no record: it is fetched again, from the place on.
#ifndef GUEST_LEDGER_H
#define GUEST_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LEDGER_BATCH 256u // most chains in a batch
#define LEDGER_RINGS 32u // of a connection
#define LEDGER_BLOCKS 512u // connections at a time: 256 ports, two sessions each

struct pring_ledger { // written by the ring's owner (pring.c, gwrite.c)
	_Atomic uint32_t live; // the ring's size; 0: nothing is known
	_Atomic uint32_t state; // place of the next used descriptor that the driver will see (slot | wrap << 15) << 16 | entries
	_Atomic uint32_t end; // place behind the batch
	_Atomic uint64_t ring; // guest-physical address of the descriptors: entries are of no other ring
	uint16_t slot[LEDGER_BATCH]; // entry 0 is not used
	uint64_t word[LEDGER_BATCH]; // length, id and flags, as the driver wrote them
} __attribute__((aligned(64)));

// The ring stands still for good (GET_VRING_BASE): its next start is a new one. NULL is fine.
void pring_forget(struct pring_ledger *l);
// The place of a ring of that size, as a base. False: nothing is known. A batch may be unfinished: only pring_resume ends
// it.
bool pring_told(const struct pring_ledger *l, uint32_t num, uint32_t *base);

// The blocks, on the control thread.
struct ledgers;

// Make an empty page of blocks, as a sealed memfd whose descriptor is the caller's; it takes memory as it is used.
enum err ledgers_make(int *fd, struct why *why);
// Map that of fd (borrowed). REFUSED: it is none.
enum err ledgers_open(struct ledgers **out, int fd, struct why *why);
void ledgers_close(struct ledgers *l); // no ring uses a ledger of it any more; NULL is fine
// The ledgers of that connection (not 0), LEDGER_RINGS of them: those that an earlier worker left, or new ones, which know
// nothing. NULL: all blocks are taken (or l is NULL).
struct pring_ledger *ledgers_of(struct ledgers *l, uint64_t epoch);
// That connection is gone: its block is free.
void ledgers_drop(struct ledgers *l, uint64_t epoch);
// All but these n are gone: for a new worker that knows which connections there are.
void ledgers_keep_only(struct ledgers *l, const uint64_t *epochs, unsigned n);

#endif
