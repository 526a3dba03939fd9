// Another program in our place, as operators ask for it. The answer comes when it is known whether this worker leaves; what comes of that
// is told by the next one (status).
#include <stdlib.h>

#include "daemon/rpc.h"

struct asked {
	struct vd *vd;
	struct ctl_client *client;
	bool self;
};

static void on_gone(void *arg)
{
	struct asked *a = arg;
	vd_upgrade_unheard(a->vd);
	free(a);
}

static void on_known(void *arg, const char *refused)
{
	struct asked *a = arg;
	struct vd_upgrades n;
	vd_upgrades(a->vd, &n);
	ctl_client_on_gone(a->client, NULL, NULL);
	ctl_client_answer(a->client,
			  refused ? NULL : json_pack("{s:s,s:i,s:i}", "state", a->self ? "done" : "leaving", "done", (int)n.done, "refused", (int)n.refused),
			  refused);
	free(a);
}

enum err rpc_upgrade(struct rpc_call *call, struct why *why)
{
	struct asked *a = calloc(1, sizeof(*a));
	if (!a)
		return ours(why, "no memory");
	*a = (struct asked){ call->vd, call->client, json_is_true(json_object_get(call->params, "keeper")) };
	if (!ctl_client_on_gone(call->client, on_gone, a)) {
		free(a);
		return refuse(why, "this connection waits for something else");
	}
	enum err e = vd_upgrade(call->vd, rpc_text(call, "program"), a->self, on_known, a, why);
	if (e == OK) {
		call->later = true;
		return OK;
	}
	ctl_client_on_gone(call->client, NULL, NULL);
	free(a);
	return e;
}
