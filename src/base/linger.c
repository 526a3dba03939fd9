#include "base/linger.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#define STACK 16384
#define NICER 10

// The thread-local storage under it is the caller's: no call that fails, for errno is there, and nothing of a sanitizer's.
// The other end of the pipe is closed when the last thread of the process has let go of the descriptors, and before that of the
// address space; told by the death of one thread we might be gone before another, which would then have the work.
__attribute__((no_sanitize("address", "thread", "undefined"))) static int wait_for_end(void *arg)
{
	const unsigned fd = *(const unsigned *)arg;
	char byte;
	if (fd > 0)
		syscall(SYS_close_range, 0, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
	syscall(SYS_prctl, PR_SET_NAME, "vringd-memory", 0, 0, 0);
	// the successor wants the CPU more: of one, this takes about a tenth
	syscall(SYS_setpriority, PRIO_PROCESS, 0, 20 - (int)syscall(SYS_getpriority, PRIO_PROCESS, 0) + NICER);
	syscall(SYS_read, fd, &byte, 1); // no signal gets here
	syscall(SYS_exit, 0);
	return 0;
}

bool linger_start(void)
{
#ifdef __SANITIZE_THREAD__
	return false; // it takes a second process on its memory for a thread of its own, and no signal arrives any more
#endif
	static _Alignas(64) char stack[STACK];
	static unsigned fd; // the other process may look at it at any time
	int end[2], pid = -1;
	sigset_t all, old;
	if (pipe2(end, O_CLOEXEC) != 0)
		return false;
	fd = (unsigned)end[0];
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	// without CLONE_FILES: its copy of the descriptors is closed at once, and ours are closed when we die
	if (end[0] >= 0)
		pid = clone(wait_for_end, stack + STACK, CLONE_VM, &fd);
	sigprocmask(SIG_SETMASK, &old, NULL);
	fd_reset(&end[0]);
	if (pid < 0)
		fd_reset(&end[1]); // else it is closed by our end alone
	return pid > 0;
}
