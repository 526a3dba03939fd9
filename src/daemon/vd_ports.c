// Ports by name: added, changed, deleted by the configuration and by operators.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/core.h"
#include "daemon/kept.h"
#include "daemon/table.h"

const char *vd_origin_name(enum vd_origin o)
{
	static const char *const names[] = { [VD_ORIGIN_CONFIG] = "config", [VD_ORIGIN_CLI] = "cli", [VD_ORIGIN_RUNTIME] = "runtime" };
	return names[o];
}

unsigned vd_ports_count(const struct vd *vd)
{
	return vd->n_ports;
}

struct port *vd_port_at(const struct vd *vd, unsigned i)
{
	return vd->port[i];
}

struct port *vd_port_find(const struct vd *vd, const char *id)
{
	for (unsigned i = 0; i < vd->n_ports; i++)
		if (strcmp(vd->port[i]->spec.id, id) == 0)
			return vd->port[i];
	return NULL;
}

struct port *vd_port_by_index(const struct vd *vd, unsigned index)
{
	for (unsigned i = 0; i < vd->n_ports; i++)
		if (vd->port[i]->dp && dp_port_index(vd->port[i]->dp) == index)
			return vd->port[i];
	return NULL;
}

// The store has refused what the table has already.
static enum err undo(struct vd *vd, enum err e)
{
	struct why why;
	if (table_keep(vd, NULL, NULL, VD_ORIGIN_CONFIG, &why) != OK)
		log_err("%s", why.text);
	return e;
}

static struct port *find(struct vd *vd, const char *id, struct why *why)
{
	struct port *p = vd_port_find(vd, id);
	if (!p)
		refuse(why, "no port '%.40s'", id);
	return p;
}

enum err vd_port_add(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why)
{
	struct port *old = vd_port_find(vd, spec->id);
	if (old && spec_equal(&old->spec, spec))
		return OK;
	if (old)
		return refuse(why, "port '%s' is there with another SPEC: change it with `port set`, or delete it first", spec->id);
	if (vd->n_ports == DP_MAX_PORTS)
		return refuse(why, "%u ports are the most that are possible", DP_MAX_PORTS);
	struct port *p = port_new(vd, spec, origin, why);
	if (!p)
		return REFUSED;
	char text[SPEC_TEXT_MAX];
	spec_format(spec, text, sizeof(text));
	enum err e = table_keep(vd, NULL, spec, origin, why);
	if (e == OK && origin == VD_ORIGIN_RUNTIME && vd->begun && (e = store_port_put(vd->store, spec->id, text, why)) != OK)
		undo(vd, e);
	if (e != OK) {
		port_free(p);
		return e;
	}
	vd->port[vd->n_ports++] = p;
	if (!vd->adopting)
		vd_event(vd, spec->id, "port.added", "%s", text);
	return OK;
}

// Which ports are drained is told to the keeper only: it holds until the daemon ends, whatever becomes of a worker.
static void drained_keep(const struct vd *vd)
{
	int fd = vd->kept ? memfd_create("vringd-drained", MFD_CLOEXEC) : -1;
	if (fd < 0)
		return;
	for (unsigned i = 0; i < vd->n_ports; i++)
		if (vd->port[i]->drained)
			dprintf(fd, "%s\n", vd->port[i]->spec.id);
	kept_put(vd->kept, KEPT_DRAINED, fd, false);
	close(fd);
}

enum err vd_port_del(struct vd *vd, const char *id, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	char name[DP_NAME_MAX];
	memcpy(name, p->spec.id, sizeof(name));
	enum err e = table_keep(vd, p, NULL, p->origin, why);
	if (e != OK)
		return e;
	e = store_port_del(vd->store, name, why);
	if (e != OK)
		return undo(vd, e);
	if (p->parked[0])
		kept_release(vd->kept, name);
	announcer_cancel(p, NULL);
	migration_port_goes(p);
	for (unsigned i = 0; i < vd->n_ports; i++) {
		if (vd->port[i] != p)
			continue;
		memmove(&vd->port[i], &vd->port[i + 1], (vd->n_ports - i - 1) * sizeof(vd->port[0]));
		vd->n_ports--;
		break;
	}
	bool drained = p->drained;
	port_free(p);
	if (drained) // one of that name that is added later is not
		drained_keep(vd);
	macs_changed(vd);
	vd_event(vd, name, "port.deleted", "%s", "");
	return OK;
}

static enum err may_change(const struct port_spec *from, const struct port_spec *to, struct why *why)
{
	if (from->kind != to->kind)
		return refuse(why, "a port's kind can't change: delete it and add it anew");
	uint32_t diff = spec_diff(from, to);
	for (unsigned k = 0; k < SPEC_N_KEYS; k++)
		if ((diff >> k & 1) && !spec_key_live((enum spec_key)k))
			return refuse(why, "port '%s': %s can't change while the port is there: delete it and add it anew", from->id,
				      spec_key_name((enum spec_key)k));
	return OK;
}

enum err vd_port_set(struct vd *vd, const char *id, const struct port_spec *spec, bool check_only, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	enum err e = may_change(&p->spec, spec, why);
	if (e != OK || check_only || spec_equal(&p->spec, spec))
		return e; // what is equal changes nothing, and is no event
	char text[SPEC_TEXT_MAX];
	spec_format(spec, text, sizeof(text));
	e = table_keep(vd, p, spec, p->origin, why);
	if (e == OK && p->origin == VD_ORIGIN_RUNTIME && (e = store_port_put(vd->store, id, text, why)) != OK)
		return undo(vd, e);
	if (e != OK)
		return e;
	struct dp_port_conf conf;
	if (spec->n_macs != p->spec.n_macs || memcmp(spec->macs, p->spec.macs, sizeof(spec->macs)) != 0)
		p->home = false; // other addresses: the next start announces them
	p->spec = *spec;
	port_dp_conf(spec, &conf);
	dp_port_reconf(vd->dp, p->dp, &conf);
	macs_changed(vd);
	vd_event(vd, id, "port.changed", "%s", text);
	return OK;
}

enum err vd_port_release(struct vd *vd, const char *id, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	return blamed_release(p, why);
}

enum err vd_port_unpin(struct vd *vd, const char *id, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	enum err e = store_device_unpin(vd->store, id, why);
	if (e == OK) {
		p->device.pinned = false;
		p->device.compat = 0;
		vd_event(vd, id, "port.unpinned", "%s", "");
	}
	return e;
}

void vd_drained_restore(struct vd *vd)
{
	char id[SNAP_PORT_MAX];
	int fd = kept_take(vd->kept, KEPT_DRAINED);
	FILE *f = fd >= 0 && lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;
	while (f && fscanf(f, "%32s", id) == 1) {
		struct port *p = vd_port_find(vd, id);
		if (p) {
			p->drained = true;
			dp_port_drain(p->dp, true);
		}
	}
	if (f)
		fclose(f);
}

enum err vd_port_drain(struct vd *vd, const char *id, bool on, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	if (p->spec.kind != SPEC_VHOST_USER)
		return refuse(why, "port '%s' is a %s: only ports of guests can be drained, for nothing is held for others", id,
			      spec_kind_name(p->spec.kind));
	p->drained = on;
	dp_port_drain(p->dp, on);
	if (!on && p->muted) { // the guest came while nothing was to be said
		p->muted = false;
		announcer_start_all(p);
	}
	port_arm_hold(p);
	port_tell(p);
	drained_keep(vd);
	return OK;
}

enum err vd_port_announce(struct vd *vd, const char *id, unsigned *n, struct why *why)
{
	struct port *p = find(vd, id, why);
	if (!p)
		return REFUSED;
	if (p->drained)
		return refuse(why, "port '%s' is drained: nothing is announced until `vringctl undrain %s`", id, id);
	*n = announcer_start_all(p);
	return OK;
}
