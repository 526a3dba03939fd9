// Sockets that somebody else serves, or a shell command that is started for each row.
#include <stdio.h>
#include <string.h>

#include "bench/backend.h"
#include "bench/usage.h"

static enum err start(struct backend *b, const struct need *n, struct why *why)
{
	unsigned ports = b->spec.sock[1][0] ? 2 : 1;
	if (n->ports > ports)
		return refuse(why, "%u sockets are given and %u wanted", ports, n->ports);
	memcpy(b->sock, b->spec.sock, sizeof(b->spec.sock));
	if (b->spec.exec[0]) {
		char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", b->spec.exec, NULL };
		enum err e = backend_spawn(b, argv, false, why);
		if (e != OK)
			return e;
	} else {
		snprintf(b->command, sizeof(b->command), "(given sockets)");
	}
	enum err e = backend_await(b, n->ports, 15000, why);
	if (e == OK)
		b->pid = usage_listener(b->sock[0]);
	snprintf(b->version, sizeof(b->version), "as given");
	return e;
}

const struct backend_ops backend_given = { .start = start };
