// One daemon per state directory: DIR/lock is flocked for the life of the store and holds the pid. The lock goes with its
// holder, however it dies; the pid is only for the message.
#include "store/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#define ORPHAN_TRIES 500 // of 10 ms

static enum err dir_make(const char *dir, struct why *why)
{
	char path[sizeof(((struct store *)0)->dir)];
	snprintf(path, sizeof(path), "%s", dir);
	for (char *p = path + 1;; p++) {
		char c = *p;
		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return ours(why, "can't make the state directory %s: %s", path, strerror(errno));
		if (c == '\0')
			break;
		*p = c;
	}
	struct stat st;
	if (stat(dir, &st) < 0)
		return ours(why, "can't use the state directory %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return ours(why, "%s is not a directory", dir);
	return OK;
}

static long lock_pid(int fd)
{
	char buf[24];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);
	buf[n > 0 ? n : 0] = '\0';
	return strtol(buf, NULL, 10);
}

// Who is named is dead, but a process of its is still dying: of a large guest's memory the kernel lets go for some time.
static bool lock_take(int fd)
{
	struct timespec nap = { 0, 10000000 };
	for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK)
			return false;
		long pid = lock_pid(fd);
		if (i == ORPHAN_TRIES || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) {
			errno = EWOULDBLOCK;
			return false;
		}
		nanosleep(&nap, NULL);
	}
	return true;
}

static enum err lock_held(int fd, const char *dir, struct why *why)
{
	long pid = lock_pid(fd);
	if (pid > 0)
		return refuse(why, "%s is in use by another daemon, pid %ld", dir, pid);
	return refuse(why, "%s is in use by another daemon", dir);
}

// What was handed in must be the file that others would try to lock.
static enum err lock_is(int fd, const char *path, struct why *why)
{
	struct stat held, there;
	if (fstat(fd, &held) < 0 || lstat(path, &there) < 0 || held.st_dev != there.st_dev || held.st_ino != there.st_ino)
		return refuse(why, "the lock that was handed over is not %s", path);
	if (fd_set_cloexec(fd) < 0)
		return ours(why, "can't use the lock that was handed over: %s", strerror(errno));
	return OK;
}

enum err lock_dir(struct store *s, const struct store_life *as, struct why *why)
{
	char path[sizeof(s->dir) + 8];
	char pid[24];
	enum err e = dir_make(s->dir, why);
	if (e != OK)
		return e;
	snprintf(path, sizeof(path), "%s/lock", s->dir);
	if (s->lock_fd < 0)
		s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	else if ((e = lock_is(s->lock_fd, path, why)) != OK)
		return e;
	if (s->lock_fd < 0)
		return ours(why, "can't open %s: %s", path, strerror(errno));
	if (!lock_take(s->lock_fd)) // of an open file that has it: nothing changes
		return errno == EWOULDBLOCK ? lock_held(s->lock_fd, s->dir, why) : ours(why, "can't lock %s: %s", path, strerror(errno));
	// On a full disk the lock holds all the same, without a pid to tell.
	int n = snprintf(pid, sizeof(pid), "%ld\n", as->pid > 0 ? (long)as->pid : (long)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) != n)
		errno = 0;
	return OK;
}

enum err lock_probe(const char *db_path, struct why *why)
{
	const char *slash = strrchr(db_path, '/');
	const char *name = slash ? slash + 1 : db_path;
	char dir[512], path[520];
	if (strcmp(name, "state.db") != 0)
		return OK;
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - db_path) : 1, slash ? db_path : ".");
	snprintf(path, sizeof(path), "%s/lock", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return OK;
	enum err e = OK;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		e = lock_held(fd, dir, why);
	fd_reset(&fd);
	return e;
}
