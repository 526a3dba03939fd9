// Another program in our place. Order: the keeper starts it beside us, it judges a copy of our rows (judge.c) and says whether it is fit; only
// then do we come to rest and leave (vd_leave), and it takes over as from a worker that died, but that nothing is half done. Whatever
// goes wrong before leaves everything as it was; what goes wrong after leads the keeper back to our program.
//
// What became of upgrades is written into a page that the keeper keeps: whoever serves next finds there that one was under way.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/fd.h"
#include "base/lease.h"
#include "daemon/core.h"
#include "daemon/kept.h"

#define JUDGE_US 8000000 // a candidate that says nothing is unfit
#define HELD_US 20000 // look again whether frames are held
#define HELD_TRIES 100

struct record { // hostile input when it is read: another program has written it
	uint32_t version, done, refused;
	uint32_t under_way;
	char program[256], last[WHY_MAX + 256];
	int32_t keeper; // pid of the one that was told of, 0: none yet; absent in what version 0.1.0 keeps
};

struct upgrade {
	struct vd *vd;
	struct record r;
	int fd; // where it is kept
	int rows, pair; // of the candidate
	struct watch *watch;
	struct timer *timer;
	unsigned tries;
	bool asked, fit, leaving;
	bool self; // for the keeper's place
	vd_upgrade_fn *fn;
	void *arg;
};

static void record_put(struct upgrade *u)
{
	ssize_t n = pwrite(u->fd, &u->r, sizeof(u->r), 0);
	if (n != (ssize_t)sizeof(u->r))
		log_err("upgrade: its record can't be kept: %s", strerror(errno));
}

static void record_get(struct upgrade *u)
{
	if (pread(u->fd, &u->r, sizeof(u->r), 0) < (ssize_t)offsetof(struct record, keeper) || u->r.version != 1)
		u->r = (struct record){ .version = 1 };
	u->r.program[sizeof(u->r.program) - 1] = u->r.last[sizeof(u->r.last) - 1] = '\0';
}

static void over(struct upgrade *u, const char *refused)
{
	u->r.under_way = 0;
	if (refused) {
		u->r.refused++;
		snprintf(u->r.last, sizeof(u->r.last), "refused: %s: %s", u->r.program, refused);
		log_warn("upgrade to %s refused: %s", u->r.program, refused);
		vd_event(u->vd, "", "upgrade.refused", "%s: %s", u->r.program, refused);
	} else {
		u->r.done++;
		snprintf(u->r.last, sizeof(u->r.last), "done: %s", u->r.program);
		if (u->self) {
			vd_event(u->vd, "", "upgrade.done", "keeper: %s, pid %d", u->r.program, (int)getppid());
			vd_event(u->vd, "", "keeper.replaced", "pid %d: %s", (int)getppid(), u->r.program);
		} else {
			vd_event(u->vd, "", "upgrade.done", "%s, version %s, pid %d", u->r.program, VRINGD_VERSION, (int)getpid());
		}
	}
	record_put(u);
}

static void reset(struct upgrade *u)
{
	watch_free(u->watch);
	u->watch = NULL;
	timer_cancel(u->timer);
	fd_reset(&u->rows);
	fd_reset(&u->pair);
	u->fit = u->asked = false;
	u->tries = 0;
}

static void refused(struct upgrade *u, const char *reason)
{
	vd_upgrade_fn *fn = u->fn;
	u->fn = NULL;
	over(u, reason);
	reset(u);
	kept_try(u->vd->kept, -1, false, NULL, NULL); // one that hangs does not see that its pair has ended
	if (fn)
		fn(u->arg, reason);
}

// The keeper is another program; we stay.
static void done(struct upgrade *u)
{
	vd_upgrade_fn *fn = u->fn;
	u->fn = NULL;
	over(u, NULL);
	reset(u);
	if (fn)
		fn(u->arg, NULL);
}

// A connection whose rows are behind can be gone on with by nobody but us.
static const char *behind(const struct vd *vd)
{
	for (unsigned i = 0; i < vd->n_ports; i++)
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++)
			if (vd->port[i]->session[k] && vd->port[i]->session[k]->unstored)
				return vd->port[i]->spec.id;
	return NULL;
}

static uint64_t held(const struct vd *vd)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < vd->n_ports; i++)
		n += vd->port[i]->dp ? dp_hold_level(vd->port[i]->dp).held : 0;
	return n;
}

static void leave(struct upgrade *u)
{
	struct vd *vd = u->vd;
	const char *id = behind(vd);
	uint64_t n = held(vd);
	if (id) {
		struct why why;
		refuse(&why, "port %s: its last state could not be stored", id);
		refused(u, why.text);
		return;
	}
	if (n && !vd->held && u->tries++ < HELD_TRIES) { // they are in our memory; most wait for hold-ms at most
		timer_arm(u->timer, HELD_US);
		return;
	}
	if (n && !vd->held)
		log_warn("upgrade: %llu held frames are lost", (unsigned long long)n);
	u->leaving = true;
	if (u->fn)
		u->fn(u->arg, NULL);
	loop_stop(vd->loop);
}

static void on_timer(void *arg)
{
	struct upgrade *u = arg;
	if (u->fit && !u->self)
		leave(u);
	else if (u->fit)
		refused(u, "the keeper has not become it");
	else
		refused(u, "it did not say in time that it is fit");
}

static void on_verdict(void *arg, int fd, int ready)
{
	struct upgrade *u = arg;
	struct kp_packet p;
	struct why why;
	(void)ready;
	enum err e = kp_recv(fd, &p, false, &why);
	if (e == AGAIN)
		return;
	if (e != OK && u->fit) {
		refused(u, "it ended before its turn came");
		return;
	}
	if (e != OK) {
		refused(u, "it ended without saying whether it is fit");
		return;
	}
	char reason[KP_REASON_MAX];
	snprintf(reason, sizeof(reason), "%.*s", KP_REASON_MAX - 1, (const char *)p.body);
	uint16_t type = p.head.type;
	kp_drop(&p);
	if (type == KP_FIT && !u->fit) {
		crash_here(CRASH_leave_told);
		u->fit = true;
		if (u->self)
			kept_exec(u->vd->kept); // on_tried hears what came of it
		else
			leave(u);
	} else {
		refused(u, type == KP_UNFIT ? reason : "it does not speak our language");
	}
}

static enum err tell_candidate(struct upgrade *u, struct why *why)
{
	const struct kp_hello *mine = kept_hello(u->vd->kept);
	struct kp_hello b = *mine; // versions are the keeper's
	struct kp_head h = { .type = KP_HELLO, .len = sizeof(b) };
	b.role = KP_CANDIDATE;
	b.worker = mine->worker + 1;
	enum err e = kp_send(u->pair, &h, &b, NULL, false, why);
	if (e == OK)
		e = kp_tell(u->pair, KP_NAMED, 0, KP_ROWS, u->rows, why);
	if (e == OK && u->vd->config_fd >= 0)
		e = kp_tell(u->pair, KP_NAMED, 0, KEPT_CONFIG, u->vd->config_fd, why);
	if (e == OK && u->vd->table_fd >= 0)
		e = kp_tell(u->pair, KP_NAMED, 0, KEPT_TABLE, u->vd->table_fd, why);
	return e == OK ? kp_tell(u->pair, KP_READY, 0, "", -1, why) : e;
}

static void on_tried(void *arg, int pair, const char *reason)
{
	struct upgrade *u = arg;
	struct why why = { "" };
	if (!vd_upgrading(u->vd)) { // an earlier one's, that was over by then
		fd_reset(&pair);
		return;
	}
	if (u->self && u->fit && pair < 0 && !reason[0]) {
		done(u);
		return;
	}
	if (pair < 0) {
		refused(u, reason);
		return;
	}
	u->pair = pair;
	u->watch = watch_new(u->vd->loop, pair, LOOP_READ, on_verdict, u);
	enum err e = u->watch && !u->self ? tell_candidate(u, &why) : OK;
	if (!u->watch || (e != OK && e != DESYNC)) // if it is gone already, on_verdict reads what it said last, or that it said nothing
		refused(u, why.text[0] ? why.text : "no memory");
	fd_reset(&u->rows);
	crash_here(CRASH_leave_sent);
}

// The file that we were started from, as it is now: a package may have put another in its place.
static enum err own_program(char *path, size_t room, struct why *why)
{
	static const char gone[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", path, room - 1);
	if (n <= 0)
		return ours(why, "our own program can't be found: %s", strerror(errno));
	path[n] = '\0';
	size_t len = (size_t)n, tail = sizeof(gone) - 1;
	if (len > tail && strcmp(path + len - tail, gone) == 0)
		path[len - tail] = '\0';
	return OK;
}

static enum err open_program(struct upgrade *u, const char *path, int *fd, struct why *why)
{
	char own[sizeof(u->r.program)];
	struct stat st;
	enum err e = path ? OK : own_program(own, sizeof(own), why);
	if (e != OK)
		return e;
	path = path ? path : own;
	if (path[0] != '/' || strlen(path) >= sizeof(u->r.program))
		return refuse(why, "%.60s: a program's path begins with / and has at most %zu bytes", path, sizeof(u->r.program) - 1);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return refuse(why, "%s: %s", path, strerror(errno));
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
		fd_reset(fd);
		return refuse(why, "%s is no program", path);
	}
	memmove(u->r.program, path, strlen(path) + 1);
	return OK;
}

enum err vd_upgrade(struct vd *vd, const char *program, bool self, vd_upgrade_fn *fn, void *arg, struct why *why)
{
	struct upgrade *u = vd->upgrade;
	int exe = -1;
	if (!u)
		return refuse(why, "there is no keeper (--no-keeper): restart the daemon, front ends reconnect by themselves");
	if (vd_upgrading(vd))
		return refuse(why, "an upgrade is under way: %s", u->r.program);
	if (!self && behind(vd))
		return refuse(why, "port %s: its last state could not be stored: nobody else could go on with it", behind(vd));
	enum err e = open_program(u, program, &exe, why);
	if (e != OK)
		return e;
	u->r.under_way = 1;
	record_put(u);
	u->self = self;
	u->asked = true;
	vd_event(vd, "", "upgrade.started", "%s%s", self ? "keeper: " : "", u->r.program);
	vd_migrations_flush(vd);
	e = self ? OK : store_image(vd->store, &u->rows, why);
	if (e != OK) {
		fd_reset(&exe);
		over(u, why->text);
		reset(u);
		return e;
	}
	u->fn = fn;
	u->arg = arg;
	timer_arm(u->timer, JUDGE_US);
	kept_try(vd->kept, exe, self, on_tried, u);
	fd_reset(&exe);
	crash_here(CRASH_leave_asked);
	return OK;
}

void vd_upgrade_unheard(struct vd *vd)
{
	vd->upgrade->fn = NULL;
}

bool vd_upgrading(const struct vd *vd)
{
	const struct upgrade *u = vd->upgrade;
	return u && u->asked;
}

void vd_leave(struct vd *vd)
{
	if (vd->macs_timer && timer_armed(vd->macs_timer))
		vd_macs_flush(vd);
	vd_migrations_flush(vd);
	vd->ending = true;
	dp_stop(vd->dp);
	crash_here(CRASH_leave_quiet);
	store_leave(vd->store);
	crash_here(CRASH_leave_closed);
	lease_close(vd->lease);
}

void vd_rest(struct vd *vd)
{
	vd->upgrade->leaving = true;
	loop_stop(vd->loop);
}

bool vd_leaving(const struct vd *vd)
{
	return vd->upgrade && vd->upgrade->leaving;
}

void vd_upgrades(const struct vd *vd, struct vd_upgrades *out)
{
	static const struct record none;
	const struct record *r = vd->upgrade ? &vd->upgrade->r : &none;
	*out = (struct vd_upgrades){ r->done, r->refused, r->last };
}

void vd_keep_config(struct vd *vd, int fd)
{
	fd_reset(&vd->config_fd);
	vd->config_fd = fd;
}

void vd_first_worker(struct vd *vd)
{
	if (!vd->upgrade)
		return;
	vd->upgrade->r.keeper = 0;
	record_put(vd->upgrade);
}

// Another process than the last worker's: the service manager had kept what this one goes on with, or it is the first of all.
static void tell_keeper(struct upgrade *u)
{
	if (u->r.keeper == (int32_t)getppid())
		return;
	u->r.keeper = (int32_t)getppid();
	record_put(u);
	vd_event(u->vd, "", "keeper.started", "pid %d", (int)getppid());
}

void vd_served(struct vd *vd)
{
	struct upgrade *u = vd->upgrade;
	if (!u)
		return;
	tell_keeper(u);
	if (!u->r.under_way)
		return;
	if (kept_was_candidate(vd->kept))
		over(u, NULL);
	else
		over(u, "it died before it served, or the worker did that was to leave: the program that served goes on");
}

enum err upgrade_init(struct vd *vd, struct why *why)
{
	struct upgrade *u = calloc(1, sizeof(*u));
	if (!u)
		return ours(why, "no memory");
	vd->upgrade = u;
	u->vd = vd;
	u->rows = u->pair = -1;
	u->timer = timer_new(vd->loop, on_timer, u);
	u->fd = kept_take(vd->kept, KEPT_UPGRADE);
	if (u->fd < 0) {
		u->fd = memfd_create("vringd-upgrade", MFD_CLOEXEC);
		if (u->fd < 0 || !u->timer)
			return ours(why, "no memory");
		kept_put(vd->kept, KEPT_UPGRADE, u->fd, false);
	}
	record_get(u);
	return u->timer ? OK : ours(why, "no memory");
}

void upgrade_free(struct vd *vd)
{
	struct upgrade *u = vd->upgrade;
	vd->upgrade = NULL;
	if (!u)
		return;
	reset(u);
	timer_free(u->timer);
	fd_reset(&u->fd);
	free(u);
}
