// What carries the guests' frames: vringd (one, or two joined by a bridge), another vhost-user back end, or none.
#ifndef LAB_BACKEND_H
#define LAB_BACKEND_H

#include "lab/ctl.h"
#include "lab/opts.h"
#include "lab/proc.h"

enum backend_kind { BACKEND_VRINGD, BACKEND_COMMAND, BACKEND_NONE };
enum place { PLACE_PEER, PLACE_SRC, PLACE_DST };

struct backend {
	enum backend_kind kind;
	unsigned n; // processes: 1, or 2 with two daemons
	struct proc proc[2];
	char control[2][256];
	char socket[3][256]; // by enum place; "" with BACKEND_NONE
	char group[40];      // QEMU's multicast net with BACKEND_NONE
	char what[200];      // for people
};

enum err backend_start(struct backend *b, const struct opts *o, const char *dir, struct why *why);
void backend_end(struct backend *b);
// Still there? If not, how it ended.
bool backend_running(struct backend *b, char *how, size_t size);
// Which daemon a port belongs to.
unsigned backend_of(const struct backend *b, enum place place);
const char *place_name(enum place place); // the port's id

#endif
