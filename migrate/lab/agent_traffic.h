// The agent's datagrams: one receiving thread, and one sending thread per stream while a run is on.
#ifndef LAB_AGENT_TRAFFIC_H
#define LAB_AGENT_TRAFFIC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tally.h"

struct traffic;

// Opens the sockets and starts receiving. NULL with errno.
struct traffic *traffic_new(struct in_addr own, struct in_addr peer);
// Forget what was received and count this run; returns the time of bin 0.
uint64_t traffic_prepare(struct traffic *t, uint32_t run, uint32_t size, unsigned streams);
// Send `rate` datagrams a second, spread evenly over the streams. false if a run is on or a thread can't be had.
bool traffic_start(struct traffic *t, uint32_t run, unsigned rate, uint32_t size, unsigned streams);
// Ends the sending; sent[] takes what was given to the kernel per stream. Returns the number of streams, 0 if none ran.
unsigned traffic_stop(struct traffic *t, uint64_t sent[LAB_STREAMS_MAX], uint64_t *refused);
// The tally, to be read between lock and unlock.
const struct tally *traffic_lock(struct traffic *t);
void traffic_unlock(struct traffic *t);
struct tally_window traffic_look(struct traffic *t); // tally_look
uint64_t traffic_now_us(void);

#endif
