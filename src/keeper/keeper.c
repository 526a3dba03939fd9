#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "base/log.h"
#include "keeper/inner.h"

#define MAX_EVENTS 64

void keeper_watch(struct keeper *k, int fd, enum keeper_watch kind, unsigned index, uint32_t events, bool add)
{
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)kind << 32 | index };
	if (epoll_ctl(k->ep, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) != 0)
		log_err("keeper: a descriptor can't be watched: %s", strerror(errno));
}

// What a worker and we have in common.
static bool init_pages(struct keeper *k)
{
	struct why why;
	int flight, blame, bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (flight_make(&flight, &k->flight, &why) != OK || blame_make(&blame, &k->blame, &why) != OK) {
		log_err("keeper: %s", why.text);
		return false;
	}
	name_put(k, KP_FLIGHT, flight, false);
	name_put(k, KP_BLAME, blame, false);
	name_put(k, KP_BELL, bell, false);
	keeper_watch(k, bell, WATCH_BELL, 0, EPOLLIN | EPOLLET, true); // never read
	return true;
}

static bool init(struct keeper *k, char **argv)
{
	struct rlimit r;
	sigset_t set;
	k->argv = argv;
	k->sock = k->next_exe = k->cand.sock = k->cand.exe = -1;
	k->started_us = clock_boot_us();
	custody_init(&k->held);
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) { // the worker's, too
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	k->exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	k->ep = epoll_create1(EPOLL_CLOEXEC);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	k->spare = fcntl(k->ep, F_DUPFD_CLOEXEC, 3);
	if (k->exe < 0 || k->ep < 0 || k->signals < 0) {
		log_err("keeper: %s", strerror(errno));
		return false;
	}
	keeper_watch(k, k->signals, WATCH_SIGNALS, 0, EPOLLIN, true);
	return init_pages(k);
}

static void on_signal(struct keeper *k, int signo)
{
	switch (signo) {
	case SIGCHLD:
		child_reap(k);
		break;
	case SIGHUP:
		if (k->pid && k->serving)
			kill_one(k->pid, SIGHUP);
		else
			k->hup = true;
		break;
	default: // it ends in order, and so do we
		k->ending = true;
		if (k->pid)
			kill_one(k->pid, SIGTERM);
		else
			k->ended = true;
	}
}

static void on_event(struct keeper *k, const struct epoll_event *ev)
{
	unsigned index = (unsigned)ev->data.u64;
	struct signalfd_siginfo si;
	switch ((enum keeper_watch)(ev->data.u64 >> 32)) {
	case WATCH_SIGNALS:
		while (read(k->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
			on_signal(k, (int)si.ssi_signo);
		break;
	case WATCH_WORKER:
		if (index == k->worker)
			child_read(k);
		if (index != k->worker)
			break; // of one that died or left in this very turn
		if ((ev->events & EPOLLHUP) && k->sock >= 0) { // SIGCHLD tells the rest
			k->deaf = true;
			epoll_ctl(k->ep, EPOLL_CTL_DEL, k->sock, NULL);
		} else if (ev->events & EPOLLOUT) {
			child_tell(k);
		}
		break;
	case WATCH_BELL:
		hang_wake(&k->hang, clock_boot_us());
		break;
	case WATCH_NAME:
		if (k->held.name[index].fd >= 0 && k->held.name[index].listens)
			conn_accept(k, &k->held.name[index]);
		break;
	case WATCH_CONN:
		conn_ready(k, &k->held.conn[index], (ev->events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0);
		break;
	}
}

static int until(uint64_t due, uint64_t now)
{
	if (!due)
		return -1;
	return due > now ? (int)((due - now + 999) / 1000) : 0;
}

static int end(struct keeper *k)
{
	for (unsigned i = 0; i < k->held.top; i++) {
		struct conn *c = &k->held.conn[i];
		if (c->state != CONN_FREE && c->state != CONN_ENDING && c->log_bytes)
			conn_give_up(k, c, "there is no worker"); // one that ended in order has closed all of them
	}
	if (k->ending && WIFSIGNALED(k->status) && WTERMSIG(k->status) == SIGTERM)
		return 0; // as it was told, before it could do so in order
	return WIFEXITED(k->status) ? WEXITSTATUS(k->status) : 1;
}

int keeper_run(char **argv)
{
	static struct keeper k; // what is not used is never touched
	struct epoll_event ev[MAX_EVENTS];
	if (!init(&k, argv))
		return 1;
	child_start(&k);
	while (!(k.ended && !k.pid)) {
		int n = epoll_wait(k.ep, ev, MAX_EVENTS, until(child_deadline(&k), clock_boot_us()));
		for (int i = 0; i < n; i++)
			on_event(&k, &ev[i]);
		uint64_t due = child_deadline(&k), now = clock_boot_us();
		if (due && now >= due)
			child_overdue(&k, now);
	}
	return end(&k);
}
