// The whole of `vringlab migrate`, from probing the machine to the last round.
#ifndef LAB_SCENARIO_H
#define LAB_SCENARIO_H

#include "lab/result.h"

// OK: it ran, all that was seen is in r (r->failure if it ended early). OURS: it cannot run here, and why.
enum err scenario_run(const struct opts *o, const struct assets *a, const char *dir, struct results *r, struct why *why);

#endif
