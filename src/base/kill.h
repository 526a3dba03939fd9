#ifndef BASE_KILL_H
#define BASE_KILL_H

#include <sys/types.h>

// A signal to one process, or to one group. kill(2) takes a pid of 0 for the caller's own group and one of -1 for every process that
// it may signal: what a variable holds whose process has gone, or was never found, then ends who asked, and whoever stands beside.
// Here a pid of 1 or less is refused.
// 0, or -1 with errno: ESRCH for such a pid, else as kill(2).
int kill_one(pid_t pid, int signo);
int kill_group(pid_t leader, int signo);

#endif
