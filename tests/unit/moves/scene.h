// One running daemon, some guests of our own on its ports, and what the store says afterwards.
#ifndef UNIT_SCENE_H
#define UNIT_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/fe.h"
#include "driver/net.h"
#include "proto/daemon.h"

struct guest {
	struct daemon *d;
	const char *port;
	struct fe *fe;
	struct net net;
	uint8_t mac[6];
	uint64_t sent; // numbered frames
};

// Start the daemon with these ports (each a SPEC), NULL-ended.
void scene_start(struct daemon *d, const char *const *ports);
// End it well, and open what it left; scene_clean after that.
struct store *scene_end(struct daemon *d);
void scene_clean(struct daemon *d, struct store *s);

// Connect, negotiate, lay out; rings begin at base. mac is that of frame_mac(n).
void guest_open(struct guest *g, struct daemon *d, const char *port, uint32_t n, uint16_t base);
void guest_start(struct guest *g);
void guest_stop(struct guest *g);
void guest_close(struct guest *g);
void guest_hello(struct guest *g); // one broadcast
void guest_send(struct guest *g, const struct guest *to, unsigned count);
// Takes frames for ms (or until `numbered` numbered ones and `rarps` announcements of mac are in).
struct heard {
	unsigned numbered, rarps;
	uint64_t first, last; // numbers
	bool in_order;
};
struct heard guest_hear(struct guest *g, const uint8_t mac[6], unsigned numbered, unsigned rarps, unsigned ms);
void guest_rarp(struct guest *g, const uint8_t mac[6]); // SEND_RARP, handled when it returns

// Ask the control socket: a method and its params (JSON). The answer's line, in a static buffer.
const char *scene_call(const struct daemon *d, const char *method, const char *params);

// Counts of the store.
unsigned scene_events(struct store *s, const char *port, const char *type);
unsigned scene_owed(struct store *s);
// The most of them within any window of that length.
unsigned scene_events_within(struct store *s, const char *port, const char *type, uint64_t window_us);
// The outcome in the newest record of port in that role: "left", ...; "none" without a record. Static buffer.
const char *scene_outcome(struct store *s, const char *port, const char *role);
// A number of that record ("held", "dropped", ...); UINT64_MAX: none.
uint64_t scene_figure(struct store *s, const char *port, const char *role, const char *name);

#endif
