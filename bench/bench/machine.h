// The machine that figures come from: enough to judge them, nothing that names it or its user.
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <jansson.h>

#include "bench/opts.h"

// Cycles (of base/cycles.h) a second, measured against the clock once; takes 20 ms the first time.
double machine_cycle_hz(void);
// CPU, microcode, mitigations, governor, NUMA, memory, huge pages, kernel and those words of its command line that bear on
// speed. New reference.
json_t *machine_json(const struct opts *o);

#endif
