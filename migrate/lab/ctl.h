// A connection that talks lines of JSON: QMP, and vringd's control socket. Blocking, with a time limit for each read.
#ifndef LAB_CTL_H
#define LAB_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct lines { // a unix stream socket, read by lines
	int fd;
	char *buf;
	size_t have, room;
};

// Connect, trying again until the time (CLOCK_BOOTTIME) is over.
enum err lines_open(struct lines *l, const char *path, uint64_t until_us, struct why *why);
void lines_close(struct lines *l);
enum err lines_send(struct lines *l, const char *data, size_t n, struct why *why);
// The next line without its end, to be freed. AGAIN: none until then. DESYNC: the other side closed.
enum err lines_take(struct lines *l, uint64_t until_us, char **line, struct why *why);

// One JSON-RPC 2.0 request to vringd's control socket at `path`; params may be NULL (owned here). *result is the caller's.
enum err ctl_call(const char *path, const char *method, json_t *params, json_t **result, struct why *why);

#endif
