#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "kp/kp.h"

#define MAX_ENV 512
#define ROOM (1 << 20) // of the pair: what all front ends may say at once

extern char **environ;

char **kp_environment(const char *name, int value)
{
	static char *env[MAX_ENV];
	static char own[48];
	unsigned n = 0;
	snprintf(own, sizeof(own), "%s=%d", name, value);
	env[n++] = own;
	for (char **e = environ; *e && n + 1 < MAX_ENV; e++)
		if (strncmp(*e, KP_ENV "=", sizeof(KP_ENV)) != 0 && strncmp(*e, KP_IMAGE_ENV "=", sizeof(KP_IMAGE_ENV)) != 0)
			env[n++] = *e;
	env[n] = NULL;
	return env;
}

static int spawn(int exe, char *const *argv, int fd, pid_t *pid)
{
	posix_spawn_file_actions_t act;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char path[40];
	sigemptyset(&none);
	sigfillset(&all);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	posix_spawn_file_actions_init(&act);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&act, fd, fd); // no longer closed by exec
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int rc = posix_spawn(pid, path, &act, &attr, argv, kp_environment(KP_ENV, fd));
	posix_spawn_file_actions_destroy(&act);
	posix_spawnattr_destroy(&attr);
	return rc;
}

int kp_spawn(int exe, char *const *argv, pid_t *pid, int *sock)
{
	int pair[2] = { -1, -1 }, room = ROOM;
	*pid = 0;
	*sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return errno;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	int rc = spawn(exe, argv, pair[1], pid);
	fd_reset(&pair[1]);
	if (rc != 0) {
		*pid = 0;
		fd_reset(&pair[0]);
	}
	*sock = pair[0];
	return rc;
}
