// All that is kept, as bytes in a memfd, for another process of the keeper: the same one after an exec, or one that a service manager
// starts. Descriptors are in it by their numbers here; whoever loads it says what has become of each. The format has a version.
#ifndef CUSTODY_IMAGE_H
#define CUSTODY_IMAGE_H

#include "custody/custody.h"

struct custody_keeper { // what the keeper knows beside
	uint64_t life, started_us, died_us;
	uint32_t next_conn;
	uint32_t worker; // how many there were before the present one
	uint32_t spoken; // version of its language
	int32_t pid; // of the worker; 0: none
	int exe; // its program: one that dies is followed by the same one, whatever lies on the disk by now. -1: none
	int sock; // -1: none
	bool serving, hello_told, ready_told; // what it has said and heard
};

// same: of each descriptor's number the one to write in its place; it has CUSTODY_SAME_MAX. NULL: they are written as they are.
#define CUSTODY_SAME_MAX 65536
enum err custody_save(const struct custody *c, const struct custody_keeper *k, const int *same, int *fd, struct why *why);
// Into an empty custody. at: the descriptor that had that number, -1: it is lost; it is called once for each place where it stands in the image. A connection of which one is lost is
// closed, its log filled first. REFUSED: it is no image, or one of another version; what was loaded by then is to be thrown away.
typedef int custody_at_fn(void *arg, int number);
enum err custody_load(struct custody *c, struct custody_keeper *k, int fd, custody_at_fn *at, void *arg, struct why *why);
// Every descriptor that an image has, once each.
typedef void custody_fd_fn(void *arg, int fd);
void custody_each_fd(const struct custody *c, const struct custody_keeper *k, custody_fd_fn *fn, void *arg);

#endif
