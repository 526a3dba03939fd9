// Which mappings a SIGBUS may come from. Used by mem.c; mem_guard_install (mem.h) is public.
#ifndef GUEST_GUARD_H
#define GUEST_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

// From now on a fault in [addr, addr+len) sets *broken instead of ending the process. page is the mapping's page size (of
// hugetlbfs a larger one). False: the table is full (the mapping works, but is not guarded, and must be refused).
bool guard_add(void *addr, size_t len, size_t page, _Atomic bool *broken);
void guard_del(void *addr);

#endif
