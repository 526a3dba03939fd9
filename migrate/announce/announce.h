// When to announce a guest's addresses: the schedule of the rounds, for many (port, MAC) at once. Pure: time comes in, the
// due rounds go out; who builds and sends the frames, keeps them in the store and arms a timer is the caller.
//
// QEMU's own schedule: 5 rounds, the first at once, then after 50 ms, 150, 250, 350 ms (initial 50 ms, step 100 ms, at most
// 550 ms). A trigger inside a running schedule adds nothing.
#ifndef ANNOUNCE_ANNOUNCE_H
#define ANNOUNCE_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#define ANNOUNCE_ROUNDS 5
#define ANNOUNCE_INITIAL_US 50000
#define ANNOUNCE_STEP_US 100000
#define ANNOUNCE_MAX_US 550000
#define ANNOUNCE_PORT_MAX 33

struct announce; // the set of running schedules

struct announce_job {
	char port[ANNOUNCE_PORT_MAX];
	uint8_t mac[6];
	uint32_t round; // of this due moment, 1..rounds
	uint32_t rounds;
	uint64_t next_due_us; // of the round after this one; 0: this was the last
};

struct announce *announce_new(unsigned max_jobs); // NULL: no memory; at most max_jobs schedules run at once
void announce_free(struct announce *a);

// Start a schedule for (port, mac), first round due at now. False: one runs already (nothing changed), or the set is full
// (*full, if not NULL, tells).
bool announce_start(struct announce *a, const char *port, const uint8_t mac[6], uint64_t now_us, bool *full);
// Go on with a schedule of an earlier life: rounds_done are sent, the next is due at due_us. False as above, or nothing is
// owed.
bool announce_resume(struct announce *a, const char *port, const uint8_t mac[6], uint32_t rounds_done, uint64_t due_us);
// The port is gone, or the MAC is another port's now.
void announce_cancel(struct announce *a, const char *port, const uint8_t *mac_or_null);
// The earliest due time, or 0: nothing runs (arm no timer).
uint64_t announce_next_due(const struct announce *a);
// Take one round that is due at now: fills *job and moves that schedule on (or ends it). False: none is due. The next round
// is due an interval after this one was due, however late it is taken; if that is over already, ANNOUNCE_INITIAL_US after
// now (so one turn of "take all that is due" never sends two rounds of one schedule).
bool announce_take_due(struct announce *a, uint64_t now_us, struct announce_job *job);
bool announce_running(const struct announce *a, const char *port, const uint8_t mac[6]);

#endif
