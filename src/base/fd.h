// Owned file descriptors. An owned fd has one holder; -1 is the only "none".
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

// Close *fd if it is one and set it to -1. errno is kept.
void fd_reset(int *fd);
// Take the fd out of its holder, which is left with -1.
int fd_take(int *fd);
// Close what *slot holds and store fd (which may be -1) in it: ownership moves in.
void fd_replace(int *slot, int fd);
// Close all n and set them to -1.
void fd_reset_all(int *fds, size_t n);
// Both return 0, or -1 with errno.
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd);
// How many descriptors this process has open, by /proc/self/fd; -1 if that cannot be read. For tests and status.
int fd_count_open(void);

#endif
