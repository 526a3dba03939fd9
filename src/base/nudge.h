// Adding one to an eventfd that a peer shares, without ever waiting for the peer. O_NONBLOCK belongs to the open file, not to our
// descriptor: the peer can clear it, fill the counter, and the next write of ours would wait for it for ever. So a timer of the
// thread interrupts a write that does not come back.
#ifndef BASE_NUDGE_H
#define BASE_NUDGE_H

#include <stdbool.h>

// Is fd an eventfd? Nothing else is taken from a peer: a file, a pipe or a socket can hang or fill up.
bool nudge_is_eventfd(int fd);
// For a thread that nudges often: between awake and asleep its timer runs, from one end to the other at most NUDGE_LIMIT_MS past
// asleep, and costs a system call each NUDGE_LIMIT_MS. Calls may repeat.
void nudge_awake(void);
void nudge_asleep(void);
void nudge_end(void); // the thread ends
// Add one. In a thread that is not awake the timer is set for this one write. False: the write did not come back in
// NUDGE_LIMIT_MS, so the peer holds it on purpose and this descriptor must not be written again. A full counter is
// fine: the peer is signalled anyway.
bool nudge(int fd);

#define NUDGE_LIMIT_MS 100

#endif
