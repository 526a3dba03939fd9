// Whose fault a worker's death was, and what follows from it. Kept by the keeper in a page that workers read only; what is said
// there holds until the keeper ends, or somebody releases the port.
//
// A kill from outside is nobody's fault. A message (or what a connection brings at its adoption) is counted with its connection, by the
// caller: BLAME_SAFE deaths, and the next try is made with the port's datapath off; BLAME_CLOSE, and the connection is closed. A ring that
// did it BLAME_RING times parks its port; so do BLAME_DEATHS of one port, whatever it was each time. What lies further back
// than BLAME_WINDOW_US is forgiven: one odd frame a month must not take a guest from the network.
#ifndef FLIGHT_BLAME_H
#define FLIGHT_BLAME_H

#include "flight/flight.h"

#define BLAME_SAFE 2u
#define BLAME_CLOSE 3u
#define BLAME_RING 2u
#define BLAME_DEATHS 5u
#define BLAME_WINDOW_US UINT64_C(600000000)
#define BLAME_RINGS 32u
#define BLAME_TEXT 160

struct blame_port {
	char port[FLIGHT_NAME_MAX]; // "": free
	uint32_t crashes; // deaths that were its fault, over the keeper's life
	uint32_t parked; // 0: it is not; else how many were parked before, and 1
	int32_t ring; // that parked it; -1: none
	char reason[BLAME_TEXT];
	uint64_t death_us[BLAME_DEATHS]; // the last ones
	struct {
		uint32_t n;
		uint64_t last_us;
	} ringed[BLAME_RINGS];
};

struct blame_page {
	uint64_t magic;
	uint32_t parks;
	char last[2 * BLAME_TEXT]; // what the last worker died of, and at what: behind "worker N "
	struct blame_port port[FLIGHT_PORTS];
};

enum err blame_make(int *fd, struct blame_page **page, struct why *why); // the keeper
enum err blame_keep(int have, int *fd, struct blame_page **page, struct why *why); // see flight_keep
enum err blame_open(int fd, const struct blame_page **page, struct why *why); // a worker

// A worker is dead: status as waitpid gives it, hung the slot that stood still when the keeper ended it (-1: none did). Returns the
// connection that the death must be counted with; 0: none. Texts in flight are not trusted.
uint64_t blame_death(struct blame_page *page, const struct flight_page *flight, int status, int hung, uint64_t now_us);
void blame_release(struct blame_page *page, const char *port); // parked no more, and all is forgiven
// What is known of a port; NULL: nothing.
const struct blame_port *blame_of(const struct blame_page *page, const char *port);

#endif
