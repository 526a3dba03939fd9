#include "base/nudge.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NUDGE_SIGNAL (SIGRTMIN + 3)
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static _Thread_local struct {
	timer_t timer;
	bool made;
	volatile sig_atomic_t awake, armed;
} self;

static void arm(bool on)
{
	struct itimerspec t = { .it_value = { .tv_nsec = on ? NUDGE_LIMIT_MS * 1000000L : 0 } };
	timer_settime(self.timer, 0, &t, NULL);
	self.armed = on;
}

// Its only purpose is that a system call in this thread returns. While the thread is awake it comes again.
static void on_signal(int sig)
{
	int saved = errno;
	(void)sig;
	if (self.made)
		arm(self.awake);
	errno = saved;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool installed;

static void install(void)
{
	struct sigaction sa = { .sa_handler = on_signal }; // without SA_RESTART
	sigemptyset(&sa.sa_mask);
	installed = sigaction(NUDGE_SIGNAL, &sa, NULL) == 0;
}

static bool have_timer(void)
{
	if (self.made)
		return true;
	sigset_t ours;
	pthread_once(&once, install);
	if (!installed)
		return false;
	sigemptyset(&ours);
	sigaddset(&ours, NUDGE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &ours, NULL); // data threads block all others
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = NUDGE_SIGNAL };
	ev.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	self.made = timer_create(CLOCK_MONOTONIC, &ev, &self.timer) == 0;
	return self.made;
}

void nudge_awake(void)
{
	self.awake = 1;
	if (!self.armed && have_timer())
		arm(true);
}

void nudge_asleep(void)
{
	self.awake = 0;
}

void nudge_end(void)
{
	if (self.made)
		timer_delete(self.timer);
	self.made = false;
}

bool nudge(int fd)
{
	uint64_t one = 1;
	bool alone = !self.awake;
	if (alone)
		nudge_awake();
	ssize_t n = write(fd, &one, sizeof(one));
	bool stuck = n < 0 && errno == EINTR;
	if (alone) {
		nudge_asleep();
		if (self.made)
			arm(false);
	}
	return !stuck;
}

bool nudge_is_eventfd(int fd)
{
	char link[40], name[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = 0;
	return strcmp(name, "anon_inode:[eventfd]") == 0;
}
