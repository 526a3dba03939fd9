// Where a session's messages come from and its replies go: the seam between the device and whoever holds the socket. A source
// gives whole messages, numbered 1, 2, 3... within the connection, one at a time, and takes the reply of each. There are two: a plain
// socket of this process (msgsrc.c), and the keeper, which numbers, holds and answers them itself (msgsrc_kept.c).
#ifndef DAEMON_MSGSRC_H
#define DAEMON_MSGSRC_H

#include "base/err.h"
#include "daemon/kept.h"
#include "dev/dev.h"

struct loop;
struct msgsrc;

struct msgsrc_user {
	// Handle msg (its descriptors are taken or closed) and fill reply.
	void (*message)(void *arg, struct dev_msg *msg, struct dev_reply *reply);
	// What the connection is now, of which a keeper keeps the descriptors. Called after message.
	const struct snap *(*snap)(void *arg);
	// The connection is over: reason is a text, clean tells a peer that closed between two messages. Called once, last.
	void (*end)(void *arg, bool clean, const char *reason);
};

// fd: a connected stream socket, taken on success. NULL: out of memory.
struct msgsrc *msgsrc_new(struct loop *loop, int fd, const struct msgsrc_user *user, void *arg);
// c stays the keeper's until msgsrc_free, which closes it there. A message that waits is handled once the loop runs.
struct msgsrc *msgsrc_kept_new(struct loop *loop, struct kept *k, struct kept_conn *c, const struct msgsrc_user *user, void *arg);
// Closes the socket; no callback is made any more. May be called from the callbacks.
void msgsrc_free(struct msgsrc *src);

// The peer has closed its end; what it may have left unread is of no use to anybody. The keeper tells that by itself, before it tells
// of a newer connection.
bool msgsrc_hung_up(const struct msgsrc *src);

// A message is there that an earlier worker left undone, and was not handled yet.
bool msgsrc_waits(const struct msgsrc *src);

// What both kinds begin with.
struct msgsrc {
	void (*free)(struct msgsrc *src);
	bool (*hung_up)(const struct msgsrc *src); // NULL: never
	bool waits;
	const struct msgsrc_user *user;
	void *arg;
	bool inside, dead; // in a callback; freed there
};

#endif
