// A candidate for the worker's place: started beside it, judged by it, and told all when the worker has left. Until it serves, a
// death leads back to the program that served before.
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "base/log.h"
#include "keeper/inner.h"

bool cand_tell(struct keeper *k)
{
	struct why why;
	struct cand *c = &k->cand;
	if (c->standby)
		return true;
	if (!c->told && (c->pid || c->failed))
		c->told = kp_tell(k->sock, KP_TRIED, 0, c->failed ? c->failed : "", c->sock, &why) == OK;
	return c->told || (!c->pid && !c->failed);
}

static void forget(struct cand *c)
{
	fd_reset(&c->sock);
	fd_reset(&c->exe);
	c->pid = 0;
	c->failed = NULL;
	c->standby = false;
}

void cand_end(struct keeper *k)
{
	if (k->cand.pid)
		kill_one(k->cand.pid, SIGKILL);
	forget(&k->cand);
}

void cand_status(struct keeper *k, int status)
{
	if (WIFSTOPPED(status))
		cand_end(k); // it would be of no use when its turn comes
	if (WIFSTOPPED(status) || WIFCONTINUED(status))
		return;
	if (WIFSIGNALED(status))
		log_warn("keeper: candidate %d died of signal %d (%s)", (int)k->cand.pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	forget(&k->cand); // the worker sees the end of the pair
}

void cand_start(struct keeper *k, int exe)
{
	struct cand *c = &k->cand;
	cand_end(k);
	if (exe < 0) {
		cand_standby(k);
		return;
	}
	int rc = kp_spawn(exe, k->argv, &c->pid, &c->sock);
	c->exe = exe;
	c->failed = rc ? strerrordesc_np(rc) : NULL;
	c->told = false;
	child_tell(k);
}

void cand_standby(struct keeper *k)
{
	struct cand *c = &k->cand;
	struct why why;
	if (c->pid || k->ending || kp_spawn(k->exe, k->argv, &c->pid, &c->sock) != 0)
		return; // without one a new worker takes a few milliseconds more
	c->standby = true;
	if (!child_hello(k, c->sock, KP_STANDBY) || kp_tell(c->sock, KP_READY, 0, "", -1, &why) != OK)
		cand_end(k);
}

// The process that waited is the worker.
static void become(struct keeper *k)
{
	k->pid = k->cand.pid;
	k->sock = fd_take(&k->cand.sock);
	forget(&k->cand);
	child_begin(k);
}

bool cand_stand_in(struct keeper *k)
{
	if (!k->cand.pid || !k->cand.standby)
		return false;
	become(k);
	return true;
}

void cand_take_over(struct keeper *k)
{
	struct cand *c = &k->cand;
	if (!c->pid || c->standby)
		return; // the worker ends, and what it runs is started again
	epoll_ctl(k->ep, EPOLL_CTL_DEL, k->sock, NULL);
	fd_reset(&k->sock);
	if (!k->reaped)
		kill_one(k->pid, SIGKILL); // nothing of it is wanted any more, and what it has mapped may take long
	k->died_us = clock_boot_us();
	k->status = 0;
	k->worker++;
	fd_reset(&k->next_exe);
	k->next_exe = fd_take(&c->exe);
	become(k);
}

void cand_serves(struct keeper *k)
{
	if (k->next_exe >= 0) {
		fd_reset(&k->exe);
		k->exe = fd_take(&k->next_exe);
	}
	cand_standby(k);
}
