// What is at the place of the database before sqlite sees it, and how an unusable file gets out of the way: renamed with
// its log and journal, so that it can be looked at; never deleted.
#include "store/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

static const char *const sidecars[] = { "-wal", "-shm", "-journal" };

enum { PATH_CAP = 256, ASIDE_MAX = 1000 };

static bool path_exists(const char *path, struct stat *st)
{
	return lstat(path, st) == 0;
}

static enum err sidecars_check(struct store *s, bool has_pages, bool *exists, struct why *why)
{
	for (unsigned i = 0; i < ARRAY_LEN(sidecars); i++) {
		char path[PATH_CAP];
		struct stat st;
		snprintf(path, sizeof(path), "%s%s", s->path, sidecars[i]);
		if (!path_exists(path, &st))
			continue;
		*exists = true;
		if (!S_ISREG(st.st_mode))
			return refuse(why, "its %s is not a regular file", sidecars[i] + 1);
		// sqlite would delete the log of an empty database, and with it what somebody may want back.
		if (i == 0 && !has_pages && st.st_size > 0)
			return refuse(why, "its log is there, but the database is empty or gone");
	}
	return OK;
}

enum err file_check(struct store *s, bool *exists, struct why *why)
{
	struct stat st;
	bool has_pages = false;
	*exists = path_exists(s->path, &st);
	if (*exists) {
		if (!S_ISREG(st.st_mode))
			return refuse(why, "not a regular file");
		has_pages = st.st_size > 0;
	}
	enum err e = sidecars_check(s, has_pages, exists, why);
	if (e != OK)
		return e;
	// Opened here once for the mode of a new file, and for an error text that is the system's own.
	int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ours(why, "can't open %s: %s", s->path, strerror(errno));
	fd_reset(&fd);
	return OK;
}

static bool aside_is_free(const char *aside)
{
	struct stat st;
	if (path_exists(aside, &st))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(sidecars); i++) {
		char path[PATH_CAP + 16];
		snprintf(path, sizeof(path), "%s%s", aside, sidecars[i]);
		if (path_exists(path, &st))
			return false;
	}
	return true;
}

enum err set_aside(struct store *s, char *aside, size_t cap, struct why *why)
{
	unsigned n = 1;
	for (; n <= ASIDE_MAX; n++) {
		snprintf(aside, cap, "%s.bad-%u", s->path, n);
		if (aside_is_free(aside))
			break;
	}
	if (n > ASIDE_MAX)
		return ours(why, "%s is unusable, and there are %d set aside already", s->path, ASIDE_MAX);
	// The database first: what a crash leaves behind in between is a log without a database, which is set aside next time.
	if (rename(s->path, aside) < 0 && errno != ENOENT)
		return ours(why, "%s is unusable and can't be renamed: %s", s->path, strerror(errno));
	for (unsigned i = 0; i < ARRAY_LEN(sidecars); i++) {
		char from[PATH_CAP], to[PATH_CAP + 16];
		snprintf(from, sizeof(from), "%s%s", s->path, sidecars[i]);
		snprintf(to, sizeof(to), "%s%s", aside, sidecars[i]);
		if (rename(from, to) < 0 && errno != ENOENT)
			return ours(why, "%s can't be renamed: %s", from, strerror(errno));
	}
	return OK;
}
