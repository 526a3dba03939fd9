// A peer can shrink the file behind a mapping that we share with it; touching the page then raises SIGBUS. Guarded mappings
// survive that: a zero page takes the place, and the owner finds its broken flag set.
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

// From now on a fault in [addr, addr+len) sets *broken instead of ending the process. page is the mapping's page size (of
// hugetlbfs a larger one). False: the table is full (the mapping works, but is not guarded, and must be refused).
bool guard_add(void *addr, size_t len, size_t page, _Atomic bool *broken);
void guard_del(void *addr);
// Install the handler, once per process; a fault outside guarded mappings goes to whoever had the signal before, or takes the
// default action. -1 with errno on failure.
int guard_install(void);

#endif
