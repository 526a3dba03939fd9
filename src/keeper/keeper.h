// The keeper: the process that the operator starts. It starts the worker, which does everything else, and holds what must outlive a
// worker: the sockets, the descriptors that front ends gave, shared pages. It passes one message of a front end on at a time, keeps it until the
// worker says that it is done, and writes the answer itself. When a worker dies it starts another and gives it all of that.
//
// No guest memory is mapped here and nothing is parsed but the 12 bytes in front of a message; nothing is allocated after the start.
// Order of steps of a message: stored here, sent, committed by the worker, done, answered. A worker that dies before "done" leaves the
// message to its successor, which finds in the store whether it was committed.
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

// Be the keeper of a worker that is this program with these arguments. Returns the exit status.
int keeper_run(char **argv);

#endif
