// The right of way on the CPUs that are measured: who else runs on the machine then takes little of them.
#ifndef BENCH_PRIO_H
#define BENCH_PRIO_H

#include <stdbool.h>

// Highest niceness for this process and what it starts, also among the groups that the kernel makes of sessions. False: no
// right to that (stretches that others disturb are left out in any case).
bool prio_raise(void);
void prio_own_session(void); // the same for a session just begun, by the process that leads it
void prio_lower(void); // the session's group as it was

#endif
