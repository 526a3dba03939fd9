// Kills in the course of a migration: the source's messages come by a relay, so that what is killed when is exact. All kills but one are spread over
// the time in which the log is on (what is left of them when the guest stops goes to the GET_VRING_BASEs, one each), the last one comes between two
// GET_VRING_BASEs, and the message that waits there goes on while nobody is there to take it.
#ifndef LAB_STRIKES_H
#define LAB_STRIKES_H

#include "lab/backend.h"
#include "lab/result.h"

struct strikes;

// Puts relays in front of the sockets of the guest that moves: b's socket paths change. rounds of `kills` each.
enum err strikes_open(struct strikes **out, struct backend *b, const struct opts *o, uint64_t seed, const char *dir, struct why *why);
void strikes_close(struct strikes *s); // NULL is fine
// A migration is about to start; kills go into r, which has room for them.
enum err strikes_begin(struct strikes *s, struct round *r, struct why *why);
// Until so many have been done in this round, or the time is over.
void strikes_wait(struct strikes *s, unsigned n, uint64_t until_us);
// It is over; waits until nobody has to be waited for any more.
enum err strikes_end(struct strikes *s, struct why *why);

#endif
