#include "mock_vd.h"

#include <string.h>

struct loop *vd_loop(struct vd *vd)
{
	return vd->loop;
}

unsigned vd_ports_count(const struct vd *vd)
{
	return vd->n;
}

struct port *vd_port_at(const struct vd *vd, unsigned i)
{
	return (struct port *)(uintptr_t)&vd->port[i];
}

struct port *vd_port_find(const struct vd *vd, const char *id)
{
	for (unsigned i = 0; i < vd->n; i++)
		if (strcmp(vd->port[i].spec.id, id) == 0)
			return vd_port_at(vd, i);
	return NULL;
}

const char *port_id(const struct port *p)
{
	return p->spec.id;
}

enum vd_origin port_origin(const struct port *p)
{
	return p->origin;
}

const struct port_spec *port_spec(const struct port *p)
{
	return &p->spec;
}

enum port_state port_state(const struct port *p)
{
	return p->state;
}

void port_adopt(struct port *p)
{
	p->origin = VD_ORIGIN_CONFIG;
}

const char *vd_runtime_dir(const struct vd *vd)
{
	(void)vd;
	return "/run/mock";
}

void vd_keep_failed(struct vd *vd, bool on)
{
	vd->keep_failed = on;
}

// As the real one: a path belongs to one port.
static bool path_taken(const struct vd *vd, const struct port_spec *spec)
{
	for (unsigned i = 0; i < vd->n; i++)
		if (spec->path[0] && strcmp(vd->port[i].spec.path, spec->path) == 0)
			return true;
	return false;
}

enum err vd_port_add(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why)
{
	struct port *old = vd_port_find(vd, spec->id);
	if (old)
		return spec_equal(&old->spec, spec) ? OK : refuse(why, "port '%s' is there", spec->id);
	if (vd->n == MOCK_PORTS || (vd->unaddable && strcmp(vd->unaddable, spec->id) == 0) || path_taken(vd, spec))
		return refuse(why, "port '%s' can't be added", spec->id);
	vd->port[vd->n++] = (struct port){ *spec, origin, PORT_LISTENING };
	vd->adds++;
	return OK;
}

enum err vd_port_del(struct vd *vd, const char *id, struct why *why)
{
	struct port *p = vd_port_find(vd, id);
	if (!p)
		return refuse(why, "no port '%s'", id);
	*p = vd->port[--vd->n];
	vd->dels++;
	return OK;
}

enum err vd_port_set(struct vd *vd, const char *id, const struct port_spec *spec, bool check_only, struct why *why)
{
	struct port *p = vd_port_find(vd, id);
	if (!p)
		return refuse(why, "no port '%s'", id);
	uint32_t diff = spec_diff(&p->spec, spec);
	for (unsigned k = 0; k < SPEC_N_KEYS; k++)
		if ((diff >> k & 1) && !spec_key_live((enum spec_key)k))
			return refuse(why, "port '%s': %s can't change", id, spec_key_name((enum spec_key)k));
	if (!check_only) {
		p->spec = *spec;
		vd->sets++;
	}
	return OK;
}

bool vd_keeper(const struct vd *vd, struct vd_keeper *out)
{
	(void)vd;
	out->pid = 4711;
	out->worker_restarts = 3;
	return true;
}
