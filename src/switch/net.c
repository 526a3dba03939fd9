// Broadcast domains: a net has a database, the addresses snooped in it, and a list of its ports that data threads read
// without a lock.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "switch/dp_int.h"

struct dp_net *net_get(struct dp *dp, const char *name)
{
	struct dp_net **slot = NULL;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		if (dp->net[i] && strcmp(dp->net[i]->name, name) == 0) {
			dp->net[i]->users++;
			return dp->net[i];
		}
		if (!dp->net[i] && !slot)
			slot = &dp->net[i];
	}
	struct dp_net *net = slot ? calloc(1, sizeof(*net)) : NULL;
	struct dp_members *m = net ? calloc(1, sizeof(*m)) : NULL;
	if (!m || !addrs_init(&net->addrs)) {
		free(m);
		free(net);
		return NULL;
	}
	if (!fdb_init(&net->fdb)) {
		addrs_fini(&net->addrs);
		free(m);
		free(net);
		return NULL;
	}
	snprintf(net->name, sizeof(net->name), "%s", name);
	atomic_init(&net->members, m);
	net->users = 1;
	*slot = net;
	return net;
}

void net_put(struct dp *dp, struct dp_net *net)
{
	if (--net->users != 0)
		return;
	for (unsigned i = 0; i < DP_MAX_PORTS; i++)
		if (dp->net[i] == net)
			dp->net[i] = NULL;
	fdb_fini(&net->fdb);
	addrs_fini(&net->addrs);
	free(atomic_load(&net->members));
	free(net);
}

static bool members_replace(struct dp_port *port, bool with)
{
	struct dp_net *net = port->net;
	struct dp_members *old = atomic_load(&net->members);
	struct dp_members *m = malloc(sizeof(*m) + (old->n + 1u) * sizeof(m->port[0]));
	if (!m)
		return false;
	m->n = 0;
	for (unsigned i = 0; i < old->n; i++)
		if (old->port[i] != port->index)
			m->port[m->n++] = old->port[i];
	if (with)
		m->port[m->n++] = port->index;
	atomic_store(&net->members, m);
	dp_sync(port->dp);
	free(old);
	return true;
}

bool net_join(struct dp_port *port)
{
	return members_replace(port, true);
}

void net_leave(struct dp_port *port)
{
	struct dp_net *net = port->net;
	if (!members_replace(port, false)) {
		// out of memory: shrink in place; a reader may see the last member twice for a moment, never a wrong one
		struct dp_members *m = atomic_load(&net->members);
		for (unsigned i = 0; i < m->n; i++)
			if (m->port[i] == port->index)
				m->port[i] = m->port[m->n - 1];
		m->n--;
	}
}

static uint16_t where(void *arg, uint64_t key)
{
	return fdb_find(arg, key, clock_coarse_s()).port;
}

void net_settle(struct dp_net *net, uint16_t gone)
{
	addrs_settle(&net->addrs, where, &net->fdb, gone, clock_coarse_s());
}

void net_maybe_grow(struct dp *dp)
{
	for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
		if (dp->net[i] && atomic_load(&dp->net[i]->addrs.want_sweep))
			net_settle(dp->net[i], ADDRS_ANY);
		if (!dp->net[i] || !atomic_load(&dp->net[i]->fdb.want_grow))
			continue;
		struct fdb_table *old = fdb_grow(&dp->net[i]->fdb, clock_coarse_s());
		dp_sync(dp);
		fdb_table_free(old);
	}
}
