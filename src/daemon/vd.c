// The whole: store, datapath, ports, and the notes that data threads leave.
#include "daemon/vd.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/guard.h"
#include "base/nudge.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "daemon/table.h"
#include "guest/letgo.h"
#include "guest/vring.h"

#define QUIET_US UINT64_C(200000) // without a change of state

static void raise_limits(bool tell)
{
	struct rlimit r;
	signal(SIGXFSZ, SIG_IGN); // a file that may not grow is a full disk, not our end
	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_max < 65536 && tell)
		log_info("at most %llu open files: enough for about %llu ports of one queue pair; raise LimitNOFILE for more",
			 (unsigned long long)r.rlim_max, (unsigned long long)(r.rlim_max > 64 ? (r.rlim_max - 64) / 16 : 0));
}

// A ring broke a rule: the front end is told by its err descriptor, the operator by an event; the ring rests until it starts anew.
static void on_ring_broken(struct port *p)
{
	struct session *s = p->active;
	for (unsigned q = 0; s && q < SNAP_MAX_RINGS; q++) {
		struct vring *r = dev_ring(s->dev, q);
		const char *broken = r ? vring_broken(r) : NULL;
		if (!broken)
			continue;
		log_rated(&p->rate, LOG_LWARN, "port %s: ring %u: broken by the guest: %s", p->spec.id, q, broken);
		if (log_rate_allows(&p->journal_rate))
			vd_event(p->vd, p->spec.id, "port.ring_broken", "ring %u: %s", q, broken);
		int fd = dev_ring_err_fd(s->dev, q);
		if (fd >= 0 && !nudge(fd))
			log_rated(&p->rate, LOG_LWARN, "port %s: ring %u: its err descriptor blocks", p->spec.id, q);
	}
}

// The note is the port's, and may be late: only a session whose own memory went away is over.
static void close_broken(struct port *p)
{
	for (unsigned i = 0; i < PORT_MAX_SESSIONS; i++)
		if (p->session[i] && dev_memory_broken(p->session[i]->dev))
			session_close(p->session[i], "the file behind guest memory was cut short");
}

static void on_notes(void *arg, int fd, int ready)
{
	struct vd *vd = arg;
	struct dp_port *dp_port;
	unsigned notes;
	(void)fd;
	(void)ready;
	while ((notes = dp_notes_take(vd->dp, &dp_port)) != 0) {
		struct port *p = vd_port_by_index(vd, dp_port_index(dp_port));
		if (!p)
			continue;
		if (notes & (DP_NOTE_FIRST_KICK | DP_NOTE_FIRST_IN | DP_NOTE_FIRST_OUT))
			migration_note(p, notes);
		if (notes & DP_NOTE_HOLD) {
			if (log_rate_allows(&p->journal_rate))
				vd_event(vd, p->spec.id, "hold.level", "%llu frames held", (unsigned long long)dp_hold_level(p->dp).held);
			port_arm_hold(p);
		}
		if (notes & DP_NOTE_MACS)
			macs_noted(p);
		if (notes & DP_NOTE_RING_BROKEN)
			on_ring_broken(p);
		if (notes & DP_NOTE_TAP_GONE) {
			snprintf(p->failed.text, sizeof(p->failed.text), "the tap's descriptor failed: was the interface deleted?");
			log_err("port %s: %s", p->spec.id, p->failed.text);
			port_tell(p);
		}
		if (notes & DP_NOTE_MEM_BROKEN)
			close_broken(p);
	}
}

static enum err open_parts(struct vd *vd, const struct vd_conf *conf, struct why *why)
{
	if (vd->kept)
		blamed_open(vd); // whose handler of SIGBUS the guard passes on to
	if (guard_install() != 0)
		return ours(why, "the handler for vanishing guest memory can't be installed");
	struct store_life as = { .lock_fd = -1 };
	if (vd->kept) {
		as.life = kept_hello(vd->kept)->life;
		as.lock_fd = kept_take(vd->kept, KEPT_LOCK);
		as.pid = (int)getppid();
	}
	enum err e = store_open_as(&vd->store, conf->state_dir, conf->durability, &as, &vd->opened, why);
	if (e != OK)
		return e;
	if (vd->kept) {
		kept_iam(vd->kept, vd->opened.keeper_epoch);
		kept_put(vd->kept, KEPT_LOCK, store_lock_fd(vd->store), false);
		vd->adopting = vd->opened.resumed;
	}
	if (vd->opened.set_aside)
		log_warn("store: the database was unusable (%s) and was set aside as %s; starting with an empty one",
			 vd->opened.aside_why.text, vd->opened.aside_path);
	struct dp_conf dp = conf->dp;
	e = pages_open(vd, conf->dp.hold_total, why);
	if (e != OK)
		return e;
	dp.lease = vd->lease;
	dp.counters = vd->counters;
	dp.held = vd->held;
	vd->dp = dp_new(&dp, why);
	if (!vd->dp)
		return OURS;
	vd->notes = watch_new(vd->loop, dp_notes_fd(vd->dp), LOOP_READ, on_notes, vd);
	if (!vd->notes || !announcer_init(vd))
		return ours(why, "no memory");
	return vd->kept ? upgrade_init(vd, why) : OK;
}

static void let_some(void *arg)
{
	struct vd *vd = arg;
	if (letgo_some() && !vd->ending) // else the process' end is the end of it
		loop_defer(vd->loop, let_some, vd);
}

static void on_letgo(void *arg)
{
	struct vd *vd = arg;
	loop_defer(vd->loop, let_some, vd);
}

enum err vd_new(struct vd **out, struct loop *loop, const struct vd_conf *conf, struct why *why)
{
	struct vd *vd = calloc(1, sizeof(*vd));
	if (!vd)
		return ours(why, "no memory");
	vd->loop = loop;
	letgo_ask(on_letgo, vd);
	vd->kept = conf->kept;
	vd->config_fd = vd->table_fd = -1;
	vd->started_us = conf->kept ? kept_hello(conf->kept)->started_us : clock_boot_us();
	vd->state_dir = strdup(conf->state_dir);
	vd->runtime_dir = strdup(conf->runtime_dir);
	vd->end_with_port = conf->end_with_port ? strdup(conf->end_with_port) : NULL;
	raise_limits(!conf->kept || kept_hello(conf->kept)->worker == 0); // once
	enum err e = vd->state_dir && vd->runtime_dir ? open_parts(vd, conf, why) : ours(why, "no memory");
	if (e != OK) {
		vd_free(vd);
		return e;
	}
	*out = vd;
	return OK;
}

static void add_stored(void *arg, const char *id, const char *spec)
{
	struct vd *vd = arg;
	struct port_spec s;
	struct why why;
	const struct port *p = vd_port_find(vd, id);
	if (p && p->origin == VD_ORIGIN_RUNTIME)
		return; // of the table
	if (p)
		log_info("port %s: the configuration wins over what was added at run time", id);
	if (p && p->origin == VD_ORIGIN_CONFIG && store_port_forget(vd->store, id, &why) != OK) // it is the file's from now on
		vd_store_failed(vd, id, &why);
	if (p)
		return;
	if (spec_parse(spec, &s, &why) != OK || vd_port_add(vd, &s, VD_ORIGIN_RUNTIME, &why) != OK)
		log_err("port %s: added at run time, can't be added now: %s", id, why.text);
}

struct stored_port {
	char id[SNAP_PORT_MAX], spec[SPEC_TEXT_MAX];
};
struct stored_ports {
	unsigned n;
	struct stored_port p[DP_MAX_PORTS];
};

static void remember_port(void *arg, const char *id, const char *spec)
{
	struct stored_ports *s = arg;
	if (s->n == DP_MAX_PORTS || strlen(id) >= sizeof(s->p[0].id) || strlen(spec) >= sizeof(s->p[0].spec))
		return;
	strcpy(s->p[s->n].id, id);
	strcpy(s->p[s->n++].spec, spec);
}

// A death between table and store: the table is the truth.
static void store_table(struct vd *vd, const struct stored_ports *s)
{
	char text[SPEC_TEXT_MAX];
	struct why why;
	for (unsigned i = 0; i < vd->n_ports; i++) {
		const struct port *p = vd->port[i];
		bool there = p->origin != VD_ORIGIN_RUNTIME;
		spec_format(&p->spec, text, sizeof(text));
		for (unsigned k = 0; k < s->n && !there; k++)
			there = strcmp(s->p[k].id, p->spec.id) == 0 && strcmp(s->p[k].spec, text) == 0;
		if (!there && store_port_put(vd->store, p->spec.id, text, &why) != OK)
			vd_store_failed(vd, p->spec.id, &why);
	}
}

// A front end of the last life: what it acknowledged stays offered.
static void pin_stored(void *arg, const struct snap *snap, uint64_t seq)
{
	struct vd *vd = arg;
	struct port *p = vd_port_find(vd, snap->port);
	if (!p || !snap->has_features)
		return;
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		p->lost_any = p->lost_any || snap->ring[q].started;
	struct store_device *d = &p->device;
	memcpy(d->port, snap->port, sizeof(d->port));
	d->features_offered |= snap->features_offered;
	d->features_acked |= bits_without(snap->features_acked, VHOST_F_LOG_ALL);
	d->protocol_features |= snap->protocol_features;
	d->pinned = true;
	p->has_device = true;
	vd_event(vd, snap->port, "store.recovered", "connection %llu, message %llu", (unsigned long long)snap->epoch,
		 (unsigned long long)seq);
}

#ifdef VRINGD_MUTANT_TICK // seeded bug for the idle oracle: a timer that nobody needs
static struct timer *tick;
static void on_tick(void *arg)
{
	(void)arg;
	timer_arm(tick, 1000000);
}
#endif

// With frames on their way there is time to look.
static void settle(void *arg)
{
	struct vd *vd = arg;
	struct why why;
	enum err e = vd->ending ? OK : store_settle(vd->store, &why);
	if (e == OURS) // each use tries again, and says so
		vd_store_failed(vd, "", &why);
	if (e != REFUSED)
		return;
	log_err("store: %s: connections go on, but what is stored may be lost at a death; a new start of the daemon sets the file aside", why.text);
	vd_event(vd, "", "store.damaged", "%s", why.text);
}

void vd_begin(struct vd *vd)
{
#ifdef VRINGD_MUTANT_TICK
	tick = timer_new(vd->loop, on_tick, vd);
	timer_arm(tick, 1000000);
#endif
	struct why why;
	struct stored_ports *s = calloc(1, sizeof(*s));
	if (s && store_each_port(vd->store, remember_port, s, &why) != OK)
		vd_store_failed(vd, "", &why);
	if (s)
		store_table(vd, s);
	for (unsigned i = 0; s && i < s->n; i++)
		add_stored(vd, s->p[i].id, s->p[i].spec);
	free(s);
	bool first = !vd->opened.resumed;
	if (first && store_each_connection(vd->store, pin_stored, vd, &why) != OK)
		vd_store_failed(vd, "", &why);
	macs_restore(vd);
	vd_drained_restore(vd);
	if (vd->kept)
		adopt_connections(vd);
	migrations_resume(vd);
	vd->adopting = false;
	blamed_tell(vd);
	announcer_resume(vd);
	if (vd->kept && kept_begin(vd->kept, vd->loop, adopt_on_conn, vd, &why) != OK)
		log_err("%s", why.text);
	vd->begun = true;
	loop_defer(vd->loop, settle, vd);
	if (table_keep(vd, NULL, NULL, VD_ORIGIN_CONFIG, &why) != OK)
		log_err("%s: what operators change is lost if this worker dies", why.text);
	unsigned before = vd->kept ? kept_hello(vd->kept)->worker : 0;
	if (before && kept_was_candidate(vd->kept))
		return; // vd_served tells it
	if (before)
		vd_event(vd, "", "worker.restarted", "pid %d, restart %u: the last one %s", (int)getpid(), before, vd->blame ? vd->blame->last : "died");
	else
		vd_event(vd, "", "worker.started", "pid %d%s", (int)getpid(), vd->opened.fresh ? ", new store" : "");
}

void vd_free(struct vd *vd)
{
	if (!vd)
		return;
	vd->ending = true;
	if (vd->store && vd->dp) {
		if (vd->macs_timer && timer_armed(vd->macs_timer))
			vd_macs_flush(vd);
		vd_migrations_flush(vd);
	}
	while (vd->n_ports) {
		vd->n_ports--;
		port_free(vd->port[vd->n_ports]);
	}
	letgo_ask(NULL, NULL); // after the ports: what they had mapped goes with the process
	announcer_fini(vd);
	macs_fini(vd);
	upgrade_free(vd);
	fd_reset(&vd->config_fd);
	fd_reset(&vd->table_fd);
	timer_free(vd->quiet_timer);
	watch_free(vd->notes);
	dp_free(vd->dp);
	pages_close(vd);
	store_close(vd->store);
	free(vd->state_dir);
	free(vd->runtime_dir);
	free(vd->end_with_port);
	free(vd);
}

static void on_quiet(void *arg)
{
	struct vd *vd = arg;
	if (vd->ending)
		return;
	if (vd->changed)
		timer_arm(vd->quiet_timer, QUIET_US);
	else
		store_quiet(vd->store);
	vd->changed = false;
}

static void on_idle(void *arg)
{
	struct vd *vd = arg;
	vd->idle_asked = false;
	if (vd->migrations_dirty)
		vd_migrations_flush(vd);
	store_idle(vd->store);
	if (!store_quiet_pays(vd->store))
		return;
	if (!vd->quiet_timer)
		vd->quiet_timer = timer_new(vd->loop, on_quiet, vd);
	vd->changed = vd->quiet_timer && timer_armed(vd->quiet_timer);
	if (vd->quiet_timer && !vd->changed)
		timer_arm(vd->quiet_timer, QUIET_US);
}

void vd_idle_soon(struct vd *vd)
{
	if (vd->idle_asked || vd->ending)
		return;
	vd->idle_asked = true;
	loop_defer(vd->loop, on_idle, vd);
}

void vd_store_failed(struct vd *vd, const char *what, const struct why *why)
{
	static struct log_rate rate;
	(void)vd;
	log_rated(&rate, LOG_LERR, "store: %s%s%s: running ports go on, new transitions are refused until it is mended", what,
		  what[0] ? ": " : "", why->text);
}

struct loop *vd_loop(struct vd *vd)
{
	return vd->loop;
}

struct store *vd_store(struct vd *vd)
{
	return vd->store;
}

struct dp *vd_dp(struct vd *vd)
{
	return vd->dp;
}

const struct store_opened *vd_opened(const struct vd *vd)
{
	return &vd->opened;
}

const char *vd_state_dir(const struct vd *vd)
{
	return vd->state_dir;
}

const char *vd_runtime_dir(const struct vd *vd)
{
	return vd->runtime_dir;
}

bool vd_keeper(const struct vd *vd, struct vd_keeper *out)
{
	if (!vd->kept)
		return false;
	out->pid = (int)getppid();
	out->worker_restarts = kept_hello(vd->kept)->worker;
	return true;
}

uint64_t vd_uptime_us(const struct vd *vd)
{
	return clock_boot_us() - vd->started_us;
}
