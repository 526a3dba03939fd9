// How each connection stands with its port: does the guest run there, did it before, when did its rings stop. None of it is in the
// connection's rows, and a worker that takes it over can't find it out; so it is in memory that outlives a worker (a memfd that the
// keeper has). On the control thread.
#ifndef DAEMON_STANDING_H
#define DAEMON_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct standing { // all zeroes: its rings never ran
	uint64_t epoch; // of the connection
	uint64_t taking; // the device's generation since its rings run; 0: they do not. Written before the device's row
	uint64_t stopped_us; // 0: they run, or never did
	uint32_t ran; // they run, or did
	uint32_t logged; // when they stopped
};

struct standings;

enum err standings_make(int *fd, struct why *why); // an empty page, as a sealed memfd whose descriptor is the caller's
enum err standings_open(struct standings **out, int fd, struct why *why); // of fd (borrowed). REFUSED: it is none
void standings_close(struct standings *s); // NULL is fine
// That of a connection (not 0): as an earlier worker left it, or zeroes. NULL: all are taken, or s is NULL.
struct standing *standings_of(struct standings *s, uint64_t epoch);
void standings_drop(struct standings *s, uint64_t epoch); // it is gone
void standings_keep_only(struct standings *s, const uint64_t *epochs, unsigned n);

#endif
