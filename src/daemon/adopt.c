// Taking over from a worker that died: its connections are with the keeper, what they were is in the store. Both together are a session; one
// without the other is not. Order: addresses are known, every session is built, then rings start (each logs first what its predecessor may have
// written unlogged), then the messages that were not done are handled.
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "base/lease.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "guest/ledger.h"

struct rows {
	struct vd *vd;
	struct store_connection **row;
	unsigned n, room;
	bool short_of_memory;
};

static void add_row(void *arg, const struct store_connection *c)
{
	struct rows *r = arg;
	if (r->n == r->room) {
		unsigned room = r->room ? 2 * r->room : 64;
		struct store_connection **more = realloc(r->row, room * sizeof(*more));
		if (!more) {
			r->short_of_memory = true;
			return;
		}
		r->row = more;
		r->room = room;
	}
	r->row[r->n] = malloc(sizeof(*c));
	if (r->row[r->n])
		memcpy(r->row[r->n++], c, sizeof(*c));
	else
		r->short_of_memory = true;
}

static const struct store_connection *row_of(const struct rows *r, uint64_t epoch)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->row[i]->snap.epoch == epoch)
			return r->row[i];
	return NULL;
}

static int fd_of(void *arg, uint64_t seq, uint32_t place)
{
	return kept_fd(arg, seq, place);
}

struct dev *adopt_device(struct session *s, const struct dev_conf *conf, const struct dev_ops *ops, struct kept_conn *kept,
			 const struct store_connection *row, struct why *why)
{
	struct dev_adoption a = { .snap = &row->snap, .applied = row->seq, .reply = row->reply, .reply_len = row->reply_len,
				  .fd = fd_of, .fd_arg = kept };
	struct dev *dev = NULL;
	return dev_adopt(&dev, conf, ops, s, &a, why) == OK ? dev : NULL;
}

// Nothing of it can be gone on with: the front end takes all pages for written, and begins anew.
static void give_up(struct vd *vd, struct kept_conn *c, const char *reason)
{
	struct why why;
	log_err("port %s: connection of pid %d can't be taken over: %s", c->about.port, c->about.pid, reason);
	vd_event(vd, vd_port_find(vd, c->about.port) ? c->about.port : "", "worker.not_adopted", "pid %d: %s", c->about.pid, reason);
	if (store_connection_end(vd->store, c->about.port, c->id, &why) != OK)
		vd_store_failed(vd, c->about.port, &why);
	kept_give_up(vd->kept, c);
}

static void adopt(void *arg, struct kept_conn *c)
{
	struct rows *r = arg;
	struct vd *vd = r->vd;
	struct port *p = vd_port_find(vd, c->about.port);
	const struct store_connection *row = row_of(r, c->id);
	struct why why = { "" };
	if (!p || p->spec.kind != SPEC_VHOST_USER) {
		give_up(vd, c, "its port is gone");
		return;
	}
	if (row && row->seq > c->about.done + 1) { // a service manager gave back what is long past
		give_up(vd, c, "its rows are ahead of what was kept");
		return;
	}
	if (p->parked[0]) {
		if (row)
			blamed_signal(p, &row->snap, c);
		give_up(vd, c, "its port is parked");
		return;
	}
	if (c->about.deaths >= BLAME_CLOSE) {
		blamed_quarantine(vd, c);
		give_up(vd, c, c->pending ? "its message ended one worker after the other" : "one worker after the other died of that");
		return;
	}
	p->safe = p->safe || c->about.deaths >= BLAME_SAFE;
	if (!row && !r->short_of_memory && c->n_refs == 0) { // it has changed nothing yet
		port_on_kept(p, c);
		return;
	}
	struct session *s = row && !port_full(p) ? session_adopt(p, c, row, &why) : NULL;
	if (!s) {
		give_up(vd, c, !row ? "its rows are lost" : why.text[0] ? why.text : "the port has no room for it any more");
		return;
	}
	kept_release_fds(c);
	port_add_session(p, s);
}

static void adopt_one(void *arg, struct kept_conn *c)
{
	flight_take(FLIGHT_ADOPTION, c->id, 0, c->about.port);
	adopt(arg, c);
	flight_done();
}

static void refuse_all(void *arg, struct kept_conn *c)
{
	give_up(arg, c, "the store was lost");
}

// A connection that ended while there was no worker.
static void forget_row(struct vd *vd, const struct store_connection *row)
{
	struct why why;
	struct port *p = vd_port_find(vd, row->snap.port);
	for (unsigned q = 0; p && q < SNAP_MAX_RINGS; q++)
		p->lost_any = p->lost_any || row->snap.ring[q].started;
	if (store_connection_end(vd->store, row->snap.port, row->snap.epoch, &why) != OK)
		vd_store_failed(vd, row->snap.port, &why);
}

struct epochs {
	uint64_t epoch[LEDGER_BLOCKS];
	unsigned n;
};

static void add_epoch(void *arg, struct kept_conn *c)
{
	struct epochs *e = arg;
	if (e->n < LEDGER_BLOCKS)
		e->epoch[e->n++] = c->id;
}

static void keep_pages(struct vd *vd)
{
	struct epochs e = { .n = 0 };
	kept_each(vd->kept, add_epoch, &e);
	ledgers_keep_only(vd->ledgers, e.epoch, e.n);
	standings_keep_only(vd->standings, e.epoch, e.n);
}

static void each_session(struct vd *vd, void (*fn)(struct session *s))
{
	for (unsigned i = 0; i < vd->n_ports; i++)
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++) {
			struct session *s = vd->port[i]->session[k];
			if (!s)
				continue;
			flight_take(FLIGHT_ADOPTION, s->epoch, 0, vd->port[i]->spec.id);
			fn(s);
			flight_done();
		}
}

static void adopt_all(struct vd *vd)
{
	struct rows r = { .vd = vd };
	struct why why;
	if (!vd->opened.resumed) {
		kept_each(vd->kept, refuse_all, vd);
		return;
	}
	if (store_each_adoptable(vd->store, add_row, &r, &why) != OK) {
		vd_store_failed(vd, "", &why);
		r.short_of_memory = true;
	}
	keep_pages(vd);
	crash_here(CRASH_adopt_opened);
	kept_each(vd->kept, adopt_one, &r);
	crash_here(CRASH_adopt_built);
	for (unsigned i = 0; i < r.n; i++) {
		if (!kept_find(vd->kept, r.row[i]->snap.epoch))
			forget_row(vd, r.row[i]);
		free(r.row[i]);
	}
	free(r.row);
	each_session(vd, session_resume);
	each_session(vd, session_resume_tx);
	sched_yield(); // with one CPU for both the frames that wait go before what is left to do here
	crash_here(CRASH_adopt_run);
	blamed_settle(vd);
	for (unsigned i = 0; i < vd->n_ports; i++)
		vd->port[i]->told = port_state(vd->port[i]);
}

void adopt_connections(struct vd *vd)
{
	adopt_all(vd);
	if (kept_hello(vd->kept)->worker == 0)
		return; // an inherited connection is on its way to the keeper
	for (unsigned i = 0; i < vd->n_ports; i++)
		port_may_end_daemon(vd->port[i]);
}

struct expects {
	const struct port *port;
	bool found;
};

static void look(void *arg, struct kept_conn *c)
{
	struct expects *x = arg;
	x->found = x->found || strcmp(c->about.port, x->port->spec.id) == 0;
}

bool adopt_expects(const struct port *p)
{
	struct expects x = { .port = p };
	kept_each(p->vd->kept, look, &x);
	return x.found;
}

void adopt_on_conn(void *arg, struct kept_conn *c)
{
	struct vd *vd = arg;
	struct port *p = vd_port_find(vd, c->about.port);
	if (p)
		port_on_kept(p, c);
	else
		kept_close(vd->kept, c); // it came while its port was being deleted
}
