// vringctl upgrade: asked of the worker that is to leave, and what became of it of the one that serves then.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static int told(const struct ctl *c, const json_t *status, long long done)
{
	const json_t *u = json_object_get(status, "upgrades");
	const char *last = text_of(u, "last");
	if (int_of(u, "done") <= done) {
		complain(c, "upgrade %s", last);
		return 1;
	}
	if (c->json)
		json_dumpf(status, stdout, JSON_COMPACT), putchar('\n');
	else
		printf("upgrade %s: version %s, worker %lld\n", last, text_of(status, "version"), int_of(status, "worker_pid"));
	return 0;
}

int run_upgrade(struct ctl *c, const struct verb *v)
{
	char path[PATH_MAX];
	if (c->argc && !realpath(c->argv[0], path)) { // the daemon is in another folder
		complain(c, "%s: %s", c->argv[0], strerror(errno));
		return 1;
	}
	struct client *cl = client_open(c);
	json_t *params = json_pack("{s:s*,s:b}", "program", c->argc ? path : NULL, "keeper", c->keeper);
	json_t *r = cl ? client_call(cl, v->method, params) : NULL;
	long long done = int_of(r, "done") - c->keeper; // of the keeper's it is answered when it is over
	int rc = r ? 0 : client_status(cl);
	client_close(cl);
	json_decref(r);
	cl = rc == 0 ? client_open(c) : NULL; // answered by the one that serves next
	json_t *status = cl ? client_call(cl, "status", NULL) : NULL;
	if (rc == 0)
		rc = status ? told(c, status, done) : 1;
	client_close(cl);
	json_decref(status);
	return rc;
}
