// A process that has mapped and touched gigabytes takes tens of milliseconds to die: the kernel takes the mappings down before it closes
// descriptors, gives locks back and tells the parent. A second process that shares the address space, and nothing else, makes that its own
// business: the first one is dead at once. The second one lets a successor come up first, then takes shared memory down in pieces (unmap.h), and
// follows.
#ifndef BASE_LINGER_H
#define BASE_LINGER_H

#include <stdbool.h>

// Start it; to be called once. It keeps one descriptor, the end of a pipe whose other end is ours; it blocks all signals, sleeps until
// this process has ended, and touches no memory of ours until then. False: there is none, and dying takes as long as it does.
bool linger_start(void);

#endif
