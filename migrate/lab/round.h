// One migration under traffic, or one that is cancelled.
#ifndef LAB_ROUND_H
#define LAB_ROUND_H

#include "lab/backend.h"
#include "lab/qemu.h"
#include "lab/result.h"
#include "lab/strikes.h"

struct lab { // what all rounds share
	const struct opts *opts;
	const struct assets *assets;
	struct backend *backend;
	struct results *results;
	const char *dir;
	char initrd[300];
	bool kvm;
	struct vm peer, mover; // the mover as it lives now
	enum place mover_at;
	unsigned movers_started;
	struct strikes *strikes; // NULL: nobody is killed in a migration
};

// The start of a QEMU for this guest at this place.
enum err lab_start_vm(struct lab *lab, struct vm *vm, const struct guest_id *guest, enum place place, bool incoming, struct why *why);
// Migrate the mover to the other place. The result is a new entry of lab->results; an error means that nothing more can be
// done, a migration that merely failed is in the entry.
enum err round_migrate(struct lab *lab, struct why *why);
// Start a migration and cancel it where the options say.
enum err round_cancel(struct lab *lab, struct why *why);

#endif
