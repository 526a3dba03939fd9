// Guest memory that a device has let go of, on its way out of the address space. Four gigabytes that were touched take the kernel some 100 ms: in one go
// they would delay every other port's messages, and the reply to the message that replaced them. All of it belongs to the control thread.
#ifndef GUEST_LETGO_H
#define GUEST_LETGO_H

#include <stdbool.h>
#include <stddef.h>

// From now on letgo() leaves large mappings to letgo_some(), which whoever is asked here calls from the loop until nothing is left; it is
// asked when there is something and there was nothing. NULL, and at first: letgo() unmaps at once. What is left stays left: for letgo_some(), or the
// process' end.
typedef void letgo_fn(void *arg);
void letgo_ask(letgo_fn *fn, void *arg);
// [at, at + len): what munmap would take. Not guarded any more, and nobody uses it.
void letgo(void *at, size_t len);
// One piece (base/unmap.h). False: nothing is left.
bool letgo_some(void);

#endif
