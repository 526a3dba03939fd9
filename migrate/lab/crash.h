// Kills while two guests talk.
#ifndef LAB_CRASH_H
#define LAB_CRASH_H

#include "lab/round.h"

// The calm windows and then all kills of the options, in stretches of traffic (rounds of kind ROUND_CRASH).
enum err crash_run(struct lab *lab, struct why *why);

#endif
