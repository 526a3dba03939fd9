// The real vringd as a child process, with directories of its own, and what can be seen of it from outside: is it alive,
// how many descriptors it has open, how often its threads ran.
#ifndef PROTO_DAEMON_H
#define PROTO_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DAEMON_MAX_ARGS 160

struct daemon {
	char dir[64]; // holds run/, state/ and log
	char run[80], state[80], log[80];
	const char *bin;
	const char *arg[DAEMON_MAX_ARGS]; // after the directories; borrowed
	pid_t pid;                        // -1: not running
	int status;                       // of waitpid, once it ended
};

// Called in the child of daemon_start and daemon_again before it becomes the daemon; NULL: nothing is.
extern void (*daemon_in_child)(void);
// Make the directories (below $TMPDIR or /tmp) and start bin with the NULL-ended args. False: errno.
bool daemon_start(struct daemon *d, const char *bin, const char *const *args);
// Start again on the same directories.
bool daemon_again(struct daemon *d);
bool daemon_alive(struct daemon *d);
void daemon_kill(struct daemon *d); // SIGKILL, and wait until all of it is gone
// SIGTERM, and wait up to timeout_ms (then SIGKILL). True: it ended by itself with status 0.
bool daemon_stop(struct daemon *d, unsigned timeout_ms);
void daemon_tell(const struct daemon *d); // print the last of what it has written to stderr
void daemon_clean(struct daemon *d); // remove the directories; after the end
// Path of a port's socket, in a static buffer that the next call overwrites.
const char *daemon_path(const struct daemon *d, const char *port);
pid_t daemon_worker(const struct daemon *d); // of a daemon with a keeper the one that works; else d->pid; -1: there is none now
pid_t daemon_standby(const struct daemon *d); // the process that waits for the worker's death; -1: there is none now
// Of keeper and worker together.
int daemon_fds(const struct daemon *d);           // -1: unknown
uint64_t daemon_cpu_us(const struct daemon *d);   // run time of all threads, these two also of all other processes of it
uint64_t daemon_switches(const struct daemon *d); // voluntary and not, of all threads
uint64_t daemon_rss_kb(const struct daemon *d);
// What it has written to stderr since offset *from, which moves on. malloc'ed; "" if nothing.
char *daemon_said(const struct daemon *d, long *from);
void daemon_nap(unsigned ms);

#endif
