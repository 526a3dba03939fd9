// A private directory for one test, and the snap that the tests commit.
#ifndef TMPDIR_H
#define TMPDIR_H

#include "store/store.h"

const char *tmpdir_new(void); // valid until the next call
void tmpdir_free(const char *dir); // with all files in it
// Message seq of a connection: everything in the image follows from seq, so that a reader can tell a torn state.
void snap_at(struct snap *s, uint64_t epoch, uint64_t seq);
#define SNAP_WHAT (SNAP_CONN | SNAP_MEM | SNAP_RING(0) | SNAP_RING(1) | SNAP_RING(2) | SNAP_RING(3))

#endif
