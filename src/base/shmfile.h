// Files that a peer gives us to map: what must hold before mmap.
#ifndef BASE_SHMFILE_H
#define BASE_SHMFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

// [offset, offset+size) must lie inside the regular file fd, without wrapping, size not 0. Unless any_file, the file must be
// memfd, tmpfs or hugetlbfs: a fault on a page of a FUSE or network file can hang the thread that takes it. *page, if not
// NULL, is the file system's page size: the alignment that mmap wants. what ("log", "region 2") goes into the reason.
enum err shmfile_check(int fd, uint64_t offset, uint64_t size, bool any_file, const char *what, uint64_t *page,
		       struct why *why);

#endif
