// The control socket: JSON-RPC 2.0, one message a line. Clients are local, but not trusted with our memory or time: lines, clients and
// unsent output are bounded, and nobody waits for a slow one.
#ifndef DAEMON_CTL_SERVER_H
#define DAEMON_CTL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct kept;
struct vd;
struct ctl_server;
struct ctl_client;

// Listen at path (0600; a stale socket of ours is removed). path is copied.
// With a keeper the socket outlives this process: who connects while there is no worker waits for the next one.
enum err ctl_server_new(struct ctl_server **out, struct vd *vd, struct kept *kept, const char *path, struct why *why);
void ctl_server_free(struct ctl_server *s); // NULL is fine

struct rpc_call {
	struct vd *vd;
	struct ctl_client *client;
	uid_t uid; // of the client
	json_t *params; // borrowed, an object or NULL
	json_t *result; // set by the method: an object ("api":1 is added); NULL with later: the answer comes later
	bool later;
	bool usage; // with a refusal: the parameters make no sense, whatever there is here (-32602 instead of -32000)
};
// OK, or REFUSED/OURS with the reason (becomes the error's message).
typedef enum err rpc_fn(struct rpc_call *call, struct why *why);
struct rpc_method {
	const char *name; // "port.add"
	bool owner_only; // root or the daemon's uid
	rpc_fn *fn;
};
extern const struct rpc_method rpc_methods[]; // ends with a NULL name

// For methods that go on: one more message to this client (an answer to its pending request, or a notification). takes `object`.
void ctl_client_answer(struct ctl_client *c, json_t *result, const char *error);
void ctl_client_notify(struct ctl_client *c, const char *method, json_t *params);
// Called with arg when the client goes away. One at a time per client: false if it has one; NULL takes it back.
bool ctl_client_on_gone(struct ctl_client *c, void (*fn)(void *arg), void *arg);

#endif
