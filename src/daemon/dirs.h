// Where state and sockets are when nobody says it.
#ifndef DAEMON_DIRS_H
#define DAEMON_DIRS_H

#include <stddef.h>

#include "base/err.h"

// The defaults for this user: $RUNTIME_DIRECTORY, /run/vringd for root, $XDG_RUNTIME_DIR/vringd; $STATE_DIRECTORY, /var/lib/vringd
// for root, ${XDG_STATE_HOME:-~/.local/state}/vringd. With private_name (of --socket-path or --fd) a folder of that name inside.
enum err dirs_runtime(char *out, size_t size, const char *private_name, struct why *why);
enum err dirs_state(char *out, size_t size, const char *private_name, struct why *why);
// The private_name of a daemon that serves this one socket path: the same for each spelling of it from each folder ('.' and '//' are nothing; '..' and
// links are not followed), another for another path, and short however long the path is. out has DIRS_PRIVATE bytes.
#define DIRS_PRIVATE 48
enum err dirs_private(char *out, const char *path, struct why *why);
// Create it and its parents, mode 0755 for the parents.
enum err dirs_make(const char *path, unsigned mode, struct why *why);
// Remove a folder and the files in it (no folders in it); what can't be removed stays.
void dirs_remove(const char *path);

#endif
