// A service manager's datagrams (sd_notify(3), systemd's "File Descriptor Store"), by hand: nothing is allocated, and without a manager
// ($NOTIFY_SOCKET) every call is harmless.
#ifndef NOTIFY_NOTIFY_H
#define NOTIFY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define NOTIFY_MAX_FDS 16 // in one datagram

bool notify_wanted(void); // somebody listens
// Lines as sd_notify has them ("READY=1\nMAINPID=7"), and descriptors. Waits for room, at most a second. OURS: it is not sent.
enum err notify_send(const char *text, const int *fds, unsigned n_fds, struct why *why);
void notify_say(const char *text); // the same without descriptors; what fails is logged
// Wait until the manager has handled all that was sent before. OURS: it has not within that time.
enum err notify_barrier(unsigned timeout_ms, struct why *why);
// WATCHDOG_USEC, if it is this process that is watched; 0: none is.
uint64_t notify_watchdog_us(void);
// When it must hear of us next, CLOCK_BOOTTIME; 0: never. And tell it, if that is due.
uint64_t notify_beat_due(void);
void notify_beat(uint64_t now_us);

// What the manager has kept, or listens on, for this process ($LISTEN_FDS): how many, the first is descriptor NOTIFY_FIRST_FD.
#define NOTIFY_FIRST_FD 3
unsigned notify_fds(void);
typedef void notify_each_fn(void *arg, const char *name, unsigned len, int fd); // a name is no string: it has len bytes
void notify_each(notify_each_fn *fn, void *arg);
// Those whose names begin so need not be kept by the manager any more. OURS: it was not told of all of them.
enum err notify_unstore(const char *prefix, struct why *why);
void notify_forget(void); // all of it out of the environment

#endif
