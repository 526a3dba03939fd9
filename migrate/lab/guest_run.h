// A stretch of traffic between the two guests: both forget, both send, both stop, both report; what is missing is exact.
#ifndef LAB_GUEST_RUN_H
#define LAB_GUEST_RUN_H

#include "lab/qemu.h"
#include "lab/result.h"

enum err stretch_begin(struct stretch *s, struct vm *peer, struct vm *mover, const struct opts *o, struct why *why);
// mover is the process in which the guest lives now. On failure some of the stretch may be filled.
enum err stretch_end(struct stretch *s, struct vm *peer, struct vm *mover, const struct opts *o, struct why *why);
// Let both guests find each other (ARP, ND), so that traffic starts with known addresses.
enum err guests_greet(struct vm *peer, struct vm *mover, struct why *why);

#endif
