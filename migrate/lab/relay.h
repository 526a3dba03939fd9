// A relay on the way from front ends to a socket of the back end: whole messages go on with their descriptors, one after the other, so that
// something can be done between two of them. Frames do not come this way: they go by the descriptors. A thread of its own.
#ifndef LAB_RELAY_H
#define LAB_RELAY_H

#include "base/err.h"
#include "wire/vu_spec.h"

struct relay;

// On the relay's thread, before the message goes on. conn: a connection's number on this relay, from 1.
typedef void relay_fn(void *arg, const struct relay *r, unsigned conn, const struct vu_hdr *hdr, const uint8_t *payload);

// Listen on `path` and connect to `to` for each front end that comes. An end on either side ends the other.
enum err relay_open(struct relay **out, const char *path, const char *to, relay_fn *fn, void *arg, struct why *why);
void relay_close(struct relay *r); // NULL is fine

#endif
