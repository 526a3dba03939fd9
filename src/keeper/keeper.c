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
#include "notify/notify.h"

#define MAX_EVENTS 64

void keeper_watch(struct keeper *k, int fd, enum keeper_watch kind, unsigned index, uint32_t events, bool add)
{
	// whose event it was when it comes: a connection's place may be another's by then
	uint32_t whose = kind == WATCH_CONN ? (uint32_t)k->held.conn[index].id : kind == WATCH_WORKER ? k->me.worker : 0;
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)kind << 56 | (uint64_t)index << 32 | whose };
	if (epoll_ctl(k->ep, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) != 0)
		log_err("keeper: a descriptor can't be watched: %s", strerror(errno));
}

// What a worker and we have in common.
static bool init_pages(struct keeper *k)
{
	struct why why;
	int flight, blame;
	if (flight_keep(custody_get(&k->held, KP_FLIGHT), &flight, &k->flight, &why) != OK ||
	    blame_keep(custody_get(&k->held, KP_BLAME), &blame, &k->blame, &why) != OK) {
		log_err("keeper: %s", why.text);
		return false;
	}
	if (flight >= 0)
		name_put(k, KP_FLIGHT, flight, false);
	if (blame >= 0)
		name_put(k, KP_BLAME, blame, false);
	if (custody_get(&k->held, KP_BELL) < 0)
		name_put(k, KP_BELL, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), false);
	keeper_watch(k, custody_get(&k->held, KP_BELL), WATCH_BELL, 0, EPOLLIN | EPOLLET, true); // never read
	return true;
}

static bool init(struct keeper *k, char **argv)
{
	struct rlimit r;
	sigset_t set;
	k->argv = argv;
	k->me.sock = k->next_exe = k->cand.sock = k->cand.exe = -1;
	k->me.started_us = clock_boot_us();
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
	k->me.exe = -1;
	k->home = home_load(&k->held, &k->me);
	if (k->home == HOME_STORE) { // the unit was restarted: with the configuration that there is now
		k->me.worker++;
		custody_drop(&k->held, KP_CONFIG);
		custody_drop(&k->held, KP_TABLE);
	}
	if (k->me.exe < 0)
		k->me.exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	k->ep = epoll_create1(EPOLL_CLOEXEC);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	k->spare = fcntl(k->ep, F_DUPFD_CLOEXEC, 3);
	if (k->me.exe < 0 || k->ep < 0 || k->signals < 0) {
		log_err("keeper: %s", strerror(errno));
		return false;
	}
	keeper_watch(k, k->signals, WATCH_SIGNALS, 0, EPOLLIN, true);
	names_watch(k);
	if (k->home != HOME_STORE) // those wait until a worker serves: what we had read by then would be lost with us
		conn_watch_all(k);
	return init_pages(k);
}

// All of it is still with the service manager, and has not changed: it is for the next start to find.
static bool untouched(const struct keeper *k)
{
	return k->home == HOME_STORE && !k->ever_served;
}

static void on_signal(struct keeper *k, int signo)
{
	struct why why;
	switch (signo) {
	case SIGCHLD:
		child_reap(k);
		break;
	case SIGHUP:
		if (k->me.pid && k->me.serving)
			kill_one(k->me.pid, SIGHUP);
		else
			k->hup = true;
		k->hup |= k->cand.pid && !k->cand.standby; // it has heard of the configuration as it was
		break;
	default: // it ends in order, and so do we
		notify_say("STOPPING=1");
		k->storing = k->me.life && !untouched(k) && home_has_store(); // where the connections stay
		k->ending = true;
		k->ending_us = clock_boot_us();
		if (!k->me.pid)
			k->ended = true;
		else if (!k->storing)
			kill_one(k->me.pid, SIGTERM);
		else if (!k->me.serving || kp_tell(k->me.sock, KP_LEAVE, 0, "", -1, &why) != OK)
			kill_one(k->me.pid, SIGKILL); // who takes over next takes over from a death
	}
}

static void on_event(struct keeper *k, const struct epoll_event *ev)
{
	unsigned index = (unsigned)(ev->data.u64 >> 32) & 0xffffff;
	uint32_t whose = (uint32_t)ev->data.u64;
	struct signalfd_siginfo si;
	switch ((enum keeper_watch)(ev->data.u64 >> 56)) {
	case WATCH_SIGNALS:
		while (read(k->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
			on_signal(k, (int)si.ssi_signo);
		break;
	case WATCH_WORKER:
		if (whose == k->me.worker)
			child_read(k, KEEPER_PACKETS);
		if (whose != k->me.worker)
			break; // of one that died or left in this very turn
		if ((ev->events & EPOLLHUP) && k->me.sock >= 0) { // SIGCHLD tells the rest
			k->deaf = true;
			epoll_ctl(k->ep, EPOLL_CTL_DEL, k->me.sock, NULL);
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
		if (k->held.conn[index].state != CONN_FREE && (uint32_t)k->held.conn[index].id == whose)
			conn_ready(k, &k->held.conn[index], (ev->events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0);
		break;
	}
}

static int end(struct keeper *k)
{
	bool well = WIFEXITED(k->status) && WEXITSTATUS(k->status) == 0;
	for (unsigned i = 0; i < k->held.top && !untouched(k); i++) {
		struct conn *c = &k->held.conn[i];
		if (c->state == CONN_FREE || c->state == CONN_ENDING)
			continue;
		if (k->storing && !well)
			custody_fill_log(c); // the manager may close it instead of starting us again
		if (c->behind)
			conn_give_up(k, c, "its last state could not be stored");
		else if (!k->storing && c->log_bytes)
			conn_give_up(k, c, "there is no worker"); // one that ended in order has closed all of them
	}
	if (k->storing) {
		home_store(&k->held, &k->me);
		return 0;
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
	if (k.home == HOME_EXEC)
		child_again(&k);
	else
		child_start(&k);
	while (!(k.ended && !k.me.pid)) {
		uint64_t beat = notify_beat_due(), next = child_deadline(&k);
		int ms = brisk_now(&k.brisk) ? 0 : clock_poll_ms(!next || (beat && beat < next) ? beat : next, clock_boot_us());
		int n = epoll_wait(k.ep, ev, MAX_EVENTS, ms);
		if (n == 0)
			brisk_again(&k.brisk);
		for (int i = 0; i < n; i++)
			on_event(&k, &ev[i]);
		uint64_t due = child_deadline(&k), now = clock_boot_us();
		if (due && now >= due)
			child_overdue(&k, now);
		notify_beat(now);
	}
	return end(&k);
}
