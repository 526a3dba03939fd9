// What follows from the deaths of earlier workers, as the keeper counts them (blame.h): ports that are parked, connections that are tried
// once more with the port's datapath off, bytes that are put aside.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/nudge.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "daemon/msgsrc.h"
#include "wire/vu_table.h"

// A keeper of another version may have other pages: then nothing is anybody's fault.
void blamed_open(struct vd *vd)
{
	struct why why;
	int flight = kept_take(vd->kept, KP_FLIGHT), blame = kept_take(vd->kept, KP_BLAME), bell = kept_take(vd->kept, KP_BELL);
	enum err e = blame_open(blame, &vd->blame, &why);
	if (e == OK)
		e = flight_use(flight, bell, &why);
	if (e == OK && flight_install() != 0)
		e = ours(&why, "the handler of fatal signals can't be installed");
	if (e == OK)
		flight_here(FLIGHT_CONTROL);
	else
		log_warn("%s: what ends a worker can't be told", why.text);
	fd_reset(&flight);
	fd_reset(&blame);
}

void blamed_port_new(struct port *p)
{
	const struct blame_port *b = p->vd->blame ? blame_of(p->vd->blame, p->spec.id) : NULL;
	if (b && b->parked)
		snprintf(p->parked, sizeof(p->parked), "%s", b->reason);
}

unsigned port_crashes(const struct port *p)
{
	const struct blame_port *b = p->vd->blame ? blame_of(p->vd->blame, p->spec.id) : NULL;
	return b ? b->crashes : 0;
}

void blamed_tell(struct vd *vd)
{
	_Atomic uint32_t *told = &flight_page()->parks_told;
	uint32_t last = atomic_load(told), most = last;
	for (unsigned i = 0; vd->blame && i < vd->n_ports; i++) {
		const struct port *p = vd->port[i];
		const struct blame_port *b = blame_of(vd->blame, p->spec.id);
		if (!b || b->parked <= last)
			continue;
		log_err("port %s: parked: %s; `vringctl port release %s` ends that", p->spec.id, p->parked, p->spec.id);
		vd_event(vd, p->spec.id, "port.parked", "%s", p->parked);
		most = b->parked > most ? b->parked : most;
	}
	atomic_store(told, most);
}

void blamed_signal(struct port *p, const struct snap *snap, const struct kept_conn *kept)
{
	const struct blame_port *b = p->vd->blame ? blame_of(p->vd->blame, p->spec.id) : NULL;
	if (!b || b->ring < 0 || b->ring >= SNAP_MAX_RINGS || snap->ring[b->ring].err != SNAP_FD_GIVEN)
		return;
	int fd = kept_fd(kept, snap->ring[b->ring].err_from, 0);
	if (fd >= 0 && nudge_is_eventfd(fd))
		nudge(fd);
}

// -- the datapath is off for one try -------------------------------------------------------------------------------------------

static void on_tried(void *arg)
{
	struct vd *vd = arg;
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *p = vd->port[i];
		bool suspects = false;
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++)
			suspects = suspects || (p->session[k] && p->session[k]->suspect);
		if (!p->safe || suspects)
			continue;
		p->safe = false;
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++)
			if (p->session[k])
				session_trusted(p->session[k]);
		port_tell(p);
	}
}

void blamed_tried(struct session *s)
{
	if (s->suspect && !s->port->vd->ending)
		loop_defer(s->port->vd->loop, on_tried, s->port->vd); // not before the keeper was told that the message is done
	s->suspect = false;
}

// One that has no message to be tried with has been tried by now. Frames that were held for a front end that was not taken over have
// nobody to wait for.
void blamed_settle(struct vd *vd)
{
	for (unsigned i = 0; i < vd->n_ports; i++) {
		struct port *p = vd->port[i];
		for (unsigned k = 0; k < PORT_MAX_SESSIONS; k++)
			if (p->session[k] && !msgsrc_waits(p->session[k]->src))
				p->session[k]->suspect = false;
		if (p->spec.kind == SPEC_VHOST_USER && !p->session[0])
			dp_port_rx_state(p->dp, DP_RX_OFF);
	}
	loop_defer(vd->loop, on_tried, vd);
}

enum err blamed_release(struct port *p, struct why *why)
{
	struct why inner;
	if (!p->parked[0])
		return refuse(why, "port '%s' is not parked", p->spec.id);
	kept_release(p->vd->kept, p->spec.id);
	p->parked[0] = '\0';
	vd_event(p->vd, p->spec.id, "port.released", "%s", "");
	if (p->spec.kind == SPEC_TAP && port_open(p, &inner) != OK)
		p->failed = inner;
	if (p->spec.mode == SPEC_CLIENT && p->retry)
		timer_arm(p->retry, 0);
	port_tell(p);
	return OK;
}

// -- quarantine ----------------------------------------------------------------------------------------------------------------

#define QUARANTINE_BYTES 131072 // the oldest lines go

// Drop whole lines from the front until n bytes are at most room.
static size_t cut_front(char *text, size_t n, size_t room)
{
	size_t from = n > room ? n - room : 0;
	while (from && from < n && text[from - 1] != '\n')
		from++;
	memmove(text, text + from, n - from);
	return n - from;
}

static size_t entry(char *to, size_t room, const struct vd *vd, const struct kept_conn *c)
{
	const struct kp_packet *p = c->pending;
	struct vu_hdr hdr = { 0 };
	if (p && p->head.len >= sizeof(hdr))
		memcpy(&hdr, p->body, sizeof(hdr));
	size_t n = (size_t)snprintf(to, room, "{\"time_us\":%llu,\"port\":\"%s\",\"pid\":%d,\"message\":%llu,\"request\":\"%s\",\"fds\":%u,\"worker\":\"%s\",\"bytes\":\"",
				    (unsigned long long)clock_wall_us(), c->about.port, (int)c->about.pid,
				    (unsigned long long)(p ? p->head.seq : 0), p ? vu_name(hdr.request) : "", p ? p->head.n_fds : 0,
				    vd->blame ? vd->blame->last : "");
	for (uint32_t i = 0; p && i < p->head.len && n + 8 < room; i++)
		n += (size_t)snprintf(to + n, room - n, "%02x", p->body[i]);
	return n + (size_t)snprintf(to + n, room - n, "\"}\n");
}

void blamed_quarantine(struct vd *vd, const struct kept_conn *c)
{
	char path[4200], next[4210];
	char *text = malloc(2 * QUARANTINE_BYTES);
	snprintf(path, sizeof(path), "%s/quarantine", vd->state_dir);
	snprintf(next, sizeof(next), "%s.new", path);
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t n = 0;
	if (text) {
		ssize_t got = from >= 0 ? read(from, text, QUARANTINE_BYTES) : 0;
		size_t more = entry(text + QUARANTINE_BYTES, QUARANTINE_BYTES, vd, c);
		n = cut_front(text, got > 0 ? (size_t)got : 0, QUARANTINE_BYTES - more);
		memmove(text + n, text + QUARANTINE_BYTES, more);
		n += more;
	}
	if (!text || to < 0 || write(to, text, n) != (ssize_t)n || rename(next, path) != 0)
		log_err("port %s: its message can't be put aside in %s: %s", c->about.port, path, strerror(errno));
	else
		log_warn("port %s: what ended the workers is put aside in %s", c->about.port, path);
	fd_reset(&from);
	fd_reset(&to);
	free(text);
}
