#include "base/linger.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/unmap.h"

#define STACK 16384
#define NICER 10
#define NAP_MS 20 // a successor serves within a few
#define PAUSE_US 100 // after a piece, which takes about as long

// What runs in the second process: nothing of a sanitizer's, and while the first one lives no call that fails, for errno is its own.
#define SECOND __attribute__((no_sanitize("address", "thread", "undefined"))) static

struct mapping {
	uintptr_t from, to;
	bool shared;
};

struct maps { // /proc/self/maps, of which each line begins with FROM-TO rwxs
	int fd;
	size_t at, n;
	char text[1024];
};

SECOND int next_char(struct maps *m)
{
	if (m->at == m->n) {
		long n = syscall(SYS_read, m->fd, m->text, sizeof(m->text));
		if (n <= 0)
			return -1;
		m->n = (size_t)n;
		m->at = 0;
	}
	return m->text[m->at++];
}

SECOND uintptr_t next_number(struct maps *m)
{
	uintptr_t v = 0;
	for (;;) {
		int c = next_char(m);
		if (c >= '0' && c <= '9')
			v = v << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return v;
	}
}

SECOND bool next_mapping(struct maps *m, struct mapping *out)
{
	out->from = next_number(m);
	out->to = next_number(m);
	for (unsigned i = 0; i < 3; i++)
		next_char(m);
	int c = next_char(m);
	out->shared = c == 's';
	while (c >= 0 && c != '\n')
		c = next_char(m);
	return c >= 0;
}

// Guest memory: a few large mappings that are shared. All else goes at the end.
SECOND void let_go(void)
{
	static struct maps m;
	static const struct timespec pause = { 0, PAUSE_US * 1000L };
	struct mapping at;
	struct unmap u;
	m.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while (m.fd >= 0 && next_mapping(&m, &at)) {
		if (!at.shared || at.to - at.from < UNMAP_LARGE)
			continue;
		unmap_begin(&u, (void *)at.from, at.to - at.from);
		while (unmap_next(&u))
			syscall(SYS_nanosleep, &pause, NULL); // whoever has had more than his share of the CPU gets in, too
	}
}

// The thread-local storage under it is the caller's. The other end of the pipe is closed when the last thread of the process has let go of the
// descriptors, and before that of the address space; told by the death of one thread we might be gone before another, which would then have the work.
SECOND int wait_for_end(void *arg)
{
	const unsigned fd = *(const unsigned *)arg;
	const struct timespec nap = { 0, NAP_MS * 1000000L };
	char byte;
	if (fd > 0)
		syscall(SYS_close_range, 0, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
	syscall(SYS_prctl, PR_SET_NAME, "vringd-memory", 0, 0, 0);
	// the successor wants the CPU more: of one, this takes about a tenth
	syscall(SYS_setpriority, PRIO_PROCESS, 0, 20 - (int)syscall(SYS_getpriority, PRIO_PROCESS, 0) + NICER);
	syscall(SYS_read, fd, &byte, 1); // no signal gets here
	syscall(SYS_nanosleep, &nap, NULL);
	let_go();
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
