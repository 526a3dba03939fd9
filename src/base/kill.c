#include "base/kill.h"

#include <errno.h>
#include <signal.h>

int kill_one(pid_t pid, int signo)
{
	if (pid <= 1) {
		errno = ESRCH;
		return -1;
	}
	return kill(pid, signo);
}

int kill_group(pid_t leader, int signo)
{
	if (leader <= 1) {
		errno = ESRCH;
		return -1;
	}
	return kill(-leader, signo);
}
