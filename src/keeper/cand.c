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
		c->told = kp_tell(k->me.sock, KP_TRIED, 0, c->failed ? c->failed : "", c->sock, &why) == OK;
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
	k->hup &= !k->me.serving; // the worker that stays has had it
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
	k->hup &= !k->me.serving;
	forget(&k->cand); // the worker sees the end of the pair
}

// For our own place: it judges what it would find. The answer is the worker's to hear.
static void tell_self(struct keeper *k)
{
	struct why why;
	int image = -1;
	if (custody_save(&k->held, &k->me, NULL, &image, &why) != OK || !child_hello(k, k->cand.sock, KP_KEEPER) ||
	    kp_tell(k->cand.sock, KP_NAMED, 0, KP_IMAGE, image, &why) != OK || kp_tell(k->cand.sock, KP_READY, 0, "", -1, &why) != OK)
		cand_end(k);
	fd_reset(&image);
}

void cand_exec(struct keeper *k)
{
	if (k->cand.exe < 0)
		return;
	home_exec(&k->held, &k->me, k->cand.exe, k->argv);
	cand_end(k);
	k->cand.failed = "it can't be executed";
	k->cand.told = false;
	child_tell(k);
}

void cand_start(struct keeper *k, int exe, bool self)
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
	if (rc == 0 && self)
		tell_self(k);
	child_tell(k);
}

void cand_standby(struct keeper *k)
{
	struct cand *c = &k->cand;
	struct why why;
	if (c->pid || k->ending || kp_spawn(k->me.exe, k->argv, &c->pid, &c->sock) != 0)
		return; // without one a new worker takes a few milliseconds more
	c->standby = true;
	if (!child_hello(k, c->sock, KP_STANDBY) || kp_tell(c->sock, KP_READY, 0, "", -1, &why) != OK)
		cand_end(k);
}

// The process that waited is the worker.
static void become(struct keeper *k)
{
	k->me.pid = k->cand.pid;
	k->me.sock = fd_take(&k->cand.sock);
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
	epoll_ctl(k->ep, EPOLL_CTL_DEL, k->me.sock, NULL);
	fd_reset(&k->me.sock);
	if (!k->reaped)
		kill_one(k->me.pid, SIGKILL); // nothing of it is wanted any more, and what it has mapped may take long
	k->me.died_us = clock_boot_us();
	k->status = 0;
	k->me.worker++;
	fd_reset(&k->next_exe);
	k->next_exe = fd_take(&c->exe);
	become(k);
}

void cand_serves(struct keeper *k)
{
	if (k->next_exe >= 0) {
		fd_reset(&k->me.exe);
		k->me.exe = fd_take(&k->next_exe);
	}
	cand_standby(k);
}
