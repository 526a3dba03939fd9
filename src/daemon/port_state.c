// The state of a port as operators see it: which it is, why, and what to do.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core.h"

static const char *const state_names[] = {
	[PORT_LISTENING] = "listening", [PORT_CONNECTING] = "connecting", [PORT_NEGOTIATING] = "negotiating",
	[PORT_PREPARED] = "prepared",	[PORT_RUNNING] = "running",	  [PORT_STOPPED] = "stopped",
	[PORT_DRAINING] = "draining",	[PORT_PARKED] = "parked",	  [PORT_FAILED] = "failed",
};

const char *port_state_name(enum port_state s)
{
	return state_names[s];
}

int port_state_parse(const char *word)
{
	for (int i = 0; i <= PORT_FAILED; i++)
		if (strcmp(word, state_names[i]) == 0)
			return i;
	return -1;
}

enum port_state port_state(const struct port *p)
{
	if (p->failed.text[0])
		return PORT_FAILED;
	if (p->parked[0])
		return PORT_PARKED;
	if (p->drained)
		return PORT_DRAINING;
	if (p->spec.kind != SPEC_VHOST_USER)
		return PORT_RUNNING;
	if (!p->session[0])
		return p->spec.mode == SPEC_CLIENT ? PORT_CONNECTING : PORT_LISTENING;
	if (p->active && (p->active->attached & p->active->used))
		return PORT_RUNNING;
	if (p->active && !p->active->live && p->active->standing->ran)
		return PORT_STOPPED;
	const struct snap *s = dev_snap(p->session[0]->dev);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (s->ring[q].started)
			return PORT_PREPARED;
	return PORT_NEGOTIATING;
}

void port_tell(struct port *p)
{
	enum port_state now = port_state(p);
	if (now == p->told || (p->vd->adopting && now != PORT_FAILED))
		return;
	p->told = now;
	if (now == PORT_FAILED && p->spec.fd < 0)
		timer_arm(p->reopen, REOPEN_FIRST_US << p->reopens);
	char type[32];
	snprintf(type, sizeof(type), "port.%s", state_names[now]);
	const char *reason, *hint;
	port_explain(p, &reason, &hint);
	port_event(p, type, "%s", reason);
	log_debug("port %s: %s%s%s", p->spec.id, state_names[now], reason[0] ? ": " : "", reason);
}

static void explain_connecting(const struct port *p, char *text, size_t size, const char **hint)
{
	*hint = "start the front end with server=on there; we try again by ourselves";
	if (p->connect_errno == 0)
		snprintf(text, size, "connecting to %s", port_path(p));
	else
		snprintf(text, size, "connecting to %s: %s", port_path(p), strerror(p->connect_errno));
	if (p->connect_errno == EACCES || p->connect_errno == EPERM)
		*hint = "let vringd's user write to that socket and enter its folder; we try again by ourselves";
	else if (p->connect_errno != 0 && p->connect_errno != ENOENT && p->connect_errno != ECONNREFUSED)
		*hint = "mend the cause; we try again by ourselves";
}

void port_explain(const struct port *p, const char **reason, const char **hint)
{
	static char text[80 + WHY_MAX + SPEC_PATH_MAX];
	*reason = *hint = "";
	switch (port_state(p)) {
	case PORT_FAILED:
		*reason = p->failed.text;
		snprintf(text, sizeof(text), "mend the cause: it is tried again every %d s at least", REOPEN_MOST_S);
		*hint = p->spec.fd >= 0 ? "the descriptor was inherited: restart" : text;
		return;
	case PORT_PARKED:
		*reason = p->parked;
		snprintf(text, sizeof(text), "`vringctl port release %s` lets it run again; a core dump and the events tell more", p->spec.id);
		*hint = text;
		return;
	case PORT_DRAINING:
		*reason = "drained by the operator";
		*hint = "`vringctl undrain` ends it";
		return;
	case PORT_LISTENING:
		if (p->refused && p->last_refusal[0]) {
			*reason = p->last_refusal;
			*hint = "the last front end was closed for this; what it asked for can't be done here";
			if (!p->cut_for[0])
				*hint = "the last front end was refused this and left by itself; it can't be done here";
			return;
		}
		if (p->cut_for[0]) {
			snprintf(text, sizeof(text), "the last front end was closed: %s", p->cut_for);
			*reason = text;
			*hint = "mend the front end; it may connect again";
			return;
		}
		*reason = "no front end is connected";
		*hint = "start the machine with this socket; `vringctl ports ID --qemu` prints what to paste";
		return;
	case PORT_CONNECTING:
		explain_connecting(p, text, sizeof(text), hint);
		*reason = text;
		return;
	default:
		break;
	}
	char name[16];
	if (p->spec.kind == SPEC_TAP && tap_down(&p->spec, name)) { // frames go nowhere, though all is well here
		snprintf(text, sizeof(text), "the interface %s is down", name);
		*reason = text;
		*hint = "ip link set dev IFNAME up";
	}
	if (p->spec.kind != SPEC_VHOST_USER || port_state(p) == PORT_RUNNING)
		return;
	const struct session *s = p->active ? p->active : p->session[0];
	dev_explain(s->dev, reason, hint);
}
