// A process that has mapped and touched gigabytes takes tens of milliseconds to die: the kernel takes the mappings down before it closes
// descriptors, gives locks back and tells the parent. A second process that shares the address space, and nothing else, makes that its own
// business: the first one is dead at once, and the mappings go when the second one follows it.
#ifndef BASE_LINGER_H
#define BASE_LINGER_H

#include <stdbool.h>

// Start it; to be called once. It keeps one descriptor, the end of a pipe whose other end is ours; it blocks all signals, sleeps until
// this process has ended, and runs no code that touches memory. False: there is none, and dying takes as long as it does.
bool linger_start(void);

#endif
