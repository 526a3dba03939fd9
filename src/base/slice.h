// The CPU scheduler's slice: how long a thread is left running where others want its CPU.
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stdint.h>

#define SLICE_SHORT_US 100u // the least that Linux takes

// The calling thread asks for a short slice. On Linux 6.12 and newer it then gets the CPU of a thread with a longer one (a data
// thread that polls) when it wakes, instead of at that one's next tick; its share of the CPU stays the same, and no right is
// needed. Its scheduling policy and niceness stay; threads that it makes from now on inherit the slice. False: this kernel
// knows no slices, or the policy is not the usual one; nothing was changed.
bool slice_short(void);
// The slice of the calling thread in us; 0: the kernel does not say.
uint32_t slice_now_us(void);

#endif
