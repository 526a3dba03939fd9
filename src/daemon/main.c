// The daemon's life: an ordered list of steps, and its reverse.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/fd.h"
#include "base/linger.h"
#include "base/log.h"
#include "base/slice.h"
#include "daemon/conffile.h"
#include "daemon/ctl_server.h"
#include "daemon/dirs.h"
#include "daemon/judge.h"
#include "daemon/kept.h"
#include "daemon/options.h"
#include "daemon/table.h"
#include "daemon/vd.h"
#include "keeper/keeper.h"
#include "loop/loop.h"

struct life {
	struct options o;
	struct loop *loop;
	struct vd *vd;
	struct kept *kept; // NULL: without a keeper
	struct ctl_server *ctl;
	struct watch *term, *intr, *hup;
	char state_dir[256], runtime_dir[256], control[300];
};

static void on_end(void *arg, int fd, int ready)
{
	struct life *l = arg;
	(void)fd;
	log_info("signal %d: ending", ready);
	loop_stop(l->loop);
}

static void keep_config(struct life *l);

static void reload(struct life *l)
{
	struct why why;
	vd_table_hold(l->vd);
	enum err e = conffile_reload(l->vd, &l->o, &why);
	if (e == OK)
		keep_config(l);
	else
		log_err("reload refused, nothing was changed: %s", why.text);
	if (vd_table_keep(l->vd, &why) != OK)
		log_err("reload: %s: if this worker dies the ports are again what they were before", why.text);
	if (e == OK)
		log_info("configuration read again"); // now a death is no matter
}

static void on_reload(void *arg, int fd, int ready)
{
	struct life *l = arg;
	(void)fd;
	(void)ready;
	if (vd_upgrading(l->vd))
		log_warn("SIGHUP: an upgrade is under way: send it again when that is over");
	else if (!l->o.config)
		log_warn("SIGHUP: there is no --config to read again");
	else
		reload(l);
}

// Private directories of a daemon that serves one socket: named after it. "": it uses the common ones.
static enum err private_name(const struct options *o, bool kept, char name[DIRS_PRIVATE], struct why *why)
{
	name[0] = '\0';
	if (o->socket_path)
		return dirs_private(name, o->socket_path, why);
	if (o->fd >= 0)
		snprintf(name, DIRS_PRIVATE, "fd%d-%d", o->fd, (int)(kept ? getppid() : getpid()));
	return OK;
}

static enum err find_runtime_dir(struct life *l, struct why *why)
{
	char name[DIRS_PRIVATE];
	if (l->o.runtime_dir) {
		snprintf(l->runtime_dir, sizeof(l->runtime_dir), "%s", l->o.runtime_dir);
		return OK;
	}
	enum err e = private_name(&l->o, l->kept != NULL, name, why);
	return e == OK ? dirs_runtime(l->runtime_dir, sizeof(l->runtime_dir), name[0] ? name : NULL, why) : e;
}

// What the directories make of default paths: wrong usage, not a cause that may go away.
static enum err check_paths(struct life *l, struct why *why)
{
	char path[SPEC_PATH_MAX];
	struct why inner;
	if (find_runtime_dir(l, &inner) != OK)
		return OK; // told at the start, and none of the configuration's business
	for (unsigned i = 0; i < l->o.n_ports; i++)
		if (spec_path(&l->o.ports[i].spec, l->runtime_dir, path, &inner) != OK)
			return refuse(why, "%s: port %s: %s", l->o.ports[i].where, l->o.ports[i].spec.id, inner.text);
	size_t n = l->o.control ? strlen(l->o.control) : strlen(l->runtime_dir) + strlen("/control.sock");
	if (n >= SPEC_PATH_MAX)
		return refuse(why, "control socket: its path has %zu bytes, 107 are possible: give a shorter --control", n);
	return OK;
}

// A thread that can't be where it was told to be runs all the same: said once, by name.
static void check_cpus(const struct options *o)
{
	cpu_set_t may;
	CPU_ZERO(&may);
	if (sched_getaffinity(0, sizeof(may), &may) != 0)
		return;
	for (unsigned i = 0; i < o->threads && i < o->n_cpus; i++)
		if (!CPU_ISSET((size_t)o->cpus[i], &may))
			log_warn("--cpus: data thread %u is not pinned: there is no CPU %d, or we may not use it", i,
				 o->cpus[i]);
}

static enum err find_dirs(struct life *l, struct why *why)
{
	char name[DIRS_PRIVATE];
	enum err e = find_runtime_dir(l, why);
	if (e == OK)
		e = private_name(&l->o, l->kept != NULL, name, why);
	if (e == OK && l->o.state_dir)
		snprintf(l->state_dir, sizeof(l->state_dir), "%s", l->o.state_dir);
	else if (e == OK)
		e = dirs_state(l->state_dir, sizeof(l->state_dir), name[0] ? name : NULL, why);
	if (e == OK)
		e = dirs_make(l->runtime_dir, 0755, why);
	if (e == OK)
		e = dirs_make(l->state_dir, 0700, why);
	if (l->o.control)
		snprintf(l->control, sizeof(l->control), "%s", l->o.control);
	else
		snprintf(l->control, sizeof(l->control), "%s/control.sock", l->runtime_dir);
	return e;
}

// Those of a worker before us, as they were when it ended.
static enum err add_kept(struct life *l, const struct table *t, struct why *why)
{
	bool alone = l->o.socket_path || l->o.fd >= 0;
	enum err e = OK;
	for (unsigned i = 0; e == OK && i < t->n; i++) {
		const struct table_port *p = &t->port[i];
		struct why inner;
		vd_keep_failed(l->vd, !alone || strcmp(p->spec.id, "vm0") != 0);
		e = vd_port_add(l->vd, &p->spec, p->origin, &inner);
		if (e != OK && p->origin == VD_ORIGIN_RUNTIME) {
			log_err("port %s: added at run time, can't be added now: %s", p->spec.id, inner.text);
			e = OK;
		}
		if (e != OK)
			refuse(why, "%s port %s: %s", vd_origin_name(p->origin), p->spec.id, inner.text);
	}
	log_set_level(t->log_level);
	return e;
}

// A port that can't be opened does not keep the others from their work; but who starts a daemon for one socket wants it.
static enum err add_ports(struct life *l, struct why *why)
{
	bool alone = l->o.socket_path || l->o.fd >= 0;
	struct table *t;
	enum err e = table_take(l->kept, &t, why);
	if (e != OK)
		log_err("%s: ports are again what they were at the start", why->text);
	else if (!t)
		vd_first_worker(l->vd);
	e = t ? add_kept(l, t, why) : OK;
	for (unsigned i = 0; !t && e == OK && i < l->o.n_ports; i++) {
		const struct options_port *p = &l->o.ports[i];
		struct why inner;
		vd_keep_failed(l->vd, !alone || strcmp(p->spec.id, "vm0") != 0);
		e = vd_port_add(l->vd, &p->spec, p->origin, &inner);
		if (e != OK)
			refuse(why, "%s: port %s: %s", p->where, p->spec.id, inner.text);
	}
	vd_keep_failed(l->vd, true); // those of an earlier life come next
	free(t);
	return e;
}

static void on_leave(void *arg)
{
	struct life *l = arg;
	log_info("at rest: connections wait for the next start");
	vd_rest(l->vd);
}

static enum err start(struct life *l, struct why *why)
{
	struct vd_conf conf = { .state_dir = l->state_dir, .runtime_dir = l->runtime_dir, .durability = l->o.durability, .kept = l->kept,
				.end_with_port = l->o.fd >= 0 ? "vm0" : NULL,
				.dp = { .threads = l->o.threads, .poll_us = l->o.poll_us, .hold_total = l->o.hold_total,
					.general_only = getenv("VRINGD_GENERAL_ONLY") != NULL } };
	memcpy(conf.dp.cpus, l->o.cpus, sizeof(l->o.cpus));
	enum err e = find_dirs(l, why);
	if (e != OK)
		return e;
	l->loop = loop_new();
	if (!l->loop)
		return ours(why, "no event loop");
	e = vd_new(&l->vd, l->loop, &conf, why);
	if (e != OK)
		return e;
	e = add_ports(l, why);
	if (e != OK)
		return e;
	vd_begin(l->vd);
	vd_keep_failed(l->vd, false);
	e = ctl_server_new(&l->ctl, l->vd, l->kept, l->control, why);
	l->term = loop_signal(l->loop, SIGTERM, on_end, l);
	l->intr = loop_signal(l->loop, SIGINT, on_end, l);
	l->hup = loop_signal(l->loop, SIGHUP, on_reload, l);
	if (e != OK)
		return e;
	keep_config(l);
	kept_serving(l->kept);
	if (l->kept)
		kept_on_leave(l->kept, on_leave, l);
	vd_served(l->vd);
	return e;
}

static void stop(struct life *l)
{
	watch_free(l->hup);
	watch_free(l->intr);
	watch_free(l->term);
	ctl_server_free(l->ctl);
	vd_free(l->vd);
	kept_free(l->kept);
	loop_free(l->loop);
	if (l->o.fd >= 0) { // named after this process: of no use to the next
		if (!l->o.state_dir)
			dirs_remove(l->state_dir);
		if (!l->o.runtime_dir)
			dirs_remove(l->runtime_dir);
	}
}

// Another is to go on with all of it: nothing is closed but by the process' end.
static void leave(struct life *l)
{
	vd_leave(l->vd);
	kept_leave(l->kept);
	_exit(0);
}

static int run(struct life *l)
{
	struct why why = { "" };
	enum err e = start(l, &why);
	if (e == OK) {
		if (!l->kept || kept_hello(l->kept)->worker == 0)
			log_info("version %s: %u ports, control socket %s", VRINGD_VERSION, vd_ports_count(l->vd), l->control);
		slice_short(); // an answer is not to wait for a data thread that polls; after those were made, which would inherit it
		loop_run(l->loop);
		if (vd_leaving(l->vd))
			leave(l);
		kept_end(l->kept);
	} else {
		log_err("%s", why.text);
	}
	stop(l);
	return e == OK ? 0 : 1;
}

// A worker that follows another reads what that one had read.
static enum err read_config(struct life *l, struct why *why)
{
	int fd = kept_take(l->kept, KEPT_CONFIG);
	enum err e = fd >= 0 ? conffile_replay(&l->o, fd, why) : conffile_read(&l->o, l->o.config, why);
	fd_reset(&fd);
	return e;
}

static void keep_config(struct life *l)
{
	int fd = l->kept ? conffile_keep(&l->o) : -1;
	if (fd >= 0)
		kept_put(l->kept, KEPT_CONFIG, fd, false);
	vd_keep_config(l->vd, fd);
}

// Everything is parsed: can this program go on where another one is? If so it becomes the worker here.
static enum err be_candidate(struct life *l, struct why *why)
{
	crash_here(CRASH_cand_told);
	enum err e = judge_rows(l->kept, &l->o, why);
	if (e != OK)
		return e;
	if (kept_fit(l->kept, why) != OK)
		exit(1); // not wanted: nobody is there to be told
	int fd = kept_take(l->kept, KEPT_CONFIG); // it is what was read already
	fd_reset(&fd);
	return OK;
}

static void linger(void)
{
	if (!linger_start())
		log_warn("the end of this process will take as long as guest memory takes to unmap");
}

// Whatever can be done before the worker's death: the program is mapped and linked, what sqlite needs has been used once.
static enum err stand_by(struct life *l, struct why *why)
{
	linger();
	store_warm();
	if (kept_stand_by(l->kept, why) == OK)
		return OK;
	exit(0); // not wanted, or the keeper is gone
}

// Is what this keeper would find something that it can go on with?
static int be_keeper_candidate(struct life *l, enum err e, struct why *why)
{
	if (e == OK)
		e = judge_image(l->kept, why);
	if (e == OK)
		kept_fit(l->kept, why); // waits for its end
	else
		kept_unfit(l->kept, why->text);
	_exit(e == OK ? 0 : 1);
}

// The keeper's program was exchanged: nothing is read again that could keep it from going on.
static int be_next_keeper(struct life *l, int argc, char **argv, struct why *why)
{
	if (options_parse_argv(&l->o, argc, argv, why) == OK)
		log_set_level(l->o.log_level);
	options_free(&l->o);
	return keeper_run(argv);
}

int main(int argc, char **argv)
{
	struct life l;
	struct why why = { "" };
	memset(&l, 0, sizeof(l));
	options_init(&l.o);
	bool worker = kept_wanted();
	if (!worker && getenv(KP_IMAGE_ENV))
		return be_next_keeper(&l, argc, argv, &why);
	enum err e = worker ? kept_open(&l.kept, &why) : OK;
	if (kept_role(l.kept) == KP_KEEPER)
		return be_keeper_candidate(&l, e, &why);
	if (e == OK)
		e = options_parse_argv(&l.o, argc, argv, &why);
	if (e == OK && kept_role(l.kept) == KP_STANDBY)
		e = stand_by(&l, &why);
	else if (worker)
		linger();
	if (l.kept)
		crash_life(kept_hello(l.kept)->worker);
	if (e == OK && l.o.action <= OPTIONS_CHECK && l.o.config)
		e = read_config(&l, &why);
	if (e == OK && l.o.action <= OPTIONS_CHECK)
		e = options_check(&l.o, &why);
	if (e == OK && l.o.action <= OPTIONS_CHECK)
		e = check_paths(&l, &why);
	if (e == OK && kept_role(l.kept) == KP_CANDIDATE)
		e = be_candidate(&l, &why);
	if (e != OK) {
		log_err("%s%s", kept_role(l.kept) == KP_CANDIDATE ? "as a candidate: " : "", why.text);
		if (kept_role(l.kept) == KP_CANDIDATE)
			kept_unfit(l.kept, why.text);
		options_free(&l.o);
		kept_free(l.kept);
		return 2;
	}
	if (l.kept)
		crash_here(CRASH_adopt_told);
	int rc = 0;
	switch (l.o.action) {
	case OPTIONS_HELP:
		options_help(stdout);
		break;
	case OPTIONS_VERSION:
		printf("vringd %s\n", VRINGD_VERSION);
		break;
	case OPTIONS_CAPABILITIES:
		printf("{\"type\": \"net\"}\n");
		break;
	case OPTIONS_CHECK:
		check_cpus(&l.o);
		options_print(&l.o, stdout);
		break;
	case OPTIONS_RUN:
		log_set_level(l.o.log_level);
		if (!worker && !l.o.no_keeper) {
			options_free(&l.o); // the worker reads all of it anew
			return keeper_run(argv);
		}
		check_cpus(&l.o);
		signal(SIGPIPE, SIG_IGN);
		rc = run(&l);
		break;
	}
	options_free(&l.o);
	return rc;
}
