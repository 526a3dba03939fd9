// Where a session's messages come from and its replies go: the seam between the device and whoever holds the socket. A source
// gives whole messages, numbered 1, 2, 3... within the connection, one at a time, and takes the reply of each. The source here is
// a plain socket of this process; one that is fed by another process fits the same calls.
#ifndef DAEMON_MSGSRC_H
#define DAEMON_MSGSRC_H

#include "base/err.h"
#include "dev/dev.h"

struct loop;
struct msgsrc;

// Handle msg (its descriptors are taken or closed) and fill reply.
typedef void msgsrc_message_fn(void *arg, struct dev_msg *msg, struct dev_reply *reply);
// The connection is over: reason is a text, clean tells a peer that closed between two messages. Called once, last.
typedef void msgsrc_end_fn(void *arg, bool clean, const char *reason);

// fd: a connected stream socket, taken on success. NULL: out of memory.
struct msgsrc *msgsrc_new(struct loop *loop, int fd, msgsrc_message_fn *on_message, msgsrc_end_fn *on_end, void *arg);
// Closes the socket; on_end is not called any more. May be called from the callbacks.
void msgsrc_free(struct msgsrc *src);

// The peer has closed its end; what it may have left unread is of no use to anybody.
bool msgsrc_hung_up(const struct msgsrc *src);

#endif
