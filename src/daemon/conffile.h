// The configuration file and FILE.d/*.conf: one long option a line, without dashes; # starts a comment.
#ifndef DAEMON_CONFFILE_H
#define DAEMON_CONFFILE_H

#include "base/err.h"
#include "daemon/options.h"
#include "daemon/vd.h"

// REFUSED names file:line. FILE.d may be missing.
enum err conffile_read(struct options *o, const char *path, struct why *why);
// SIGHUP: read now->config again and apply what differs, all or nothing: ports (those added at run time and on the command line stay)
// and the log level. What would need a reconnect or a restart is refused by name, and nothing is changed.
enum err conffile_reload(struct vd *vd, struct options *now, struct why *why);

#endif
