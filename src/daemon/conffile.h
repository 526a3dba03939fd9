// The configuration file and FILE.d/*.conf: one long option a line, without dashes; # starts a comment.
#ifndef DAEMON_CONFFILE_H
#define DAEMON_CONFFILE_H

#include "base/err.h"
#include "daemon/options.h"
#include "daemon/vd.h"

// REFUSED names file:line. FILE.d may be missing.
enum err conffile_read(struct options *o, const char *path, struct why *why);
// What an earlier worker of this daemon had read (options.read), in a file of its own. What lies on the disk by now is for SIGHUP: a worker that
// follows one that died must not meet an edit that was never taken in.
enum err conffile_replay(struct options *o, int fd, struct why *why);
int conffile_keep(const struct options *o); // the file for conffile_replay: a descriptor of the caller's, or -1
// SIGHUP: read now->config again and apply what differs, all or nothing: ports (those added at run time and on the command line
// stay; one of them that the file names is the file's from now on) and the log level. A port that is not changed is not touched.
// A port whose socket or tap a new one takes over goes first, and comes back if the reload is refused. What would need a
// reconnect or a restart is refused by name, and nothing is changed.
enum err conffile_reload(struct vd *vd, struct options *now, struct why *why);

#endif
