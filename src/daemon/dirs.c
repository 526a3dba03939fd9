#include "daemon/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *env(const char *name)
{
	const char *v = getenv(name);
	return v && v[0] ? v : NULL;
}

static enum err place(char *out, size_t size, const char *base, const char *tail, const char *private_name, struct why *why)
{
	int first = (int)strcspn(base, ":"); // systemd gives a list
	int n = snprintf(out, size, "%.*s%s%s%s", first, base, tail, private_name ? "/" : "", private_name ? private_name : "");
	return n >= 0 && (size_t)n < size ? OK : refuse(why, "directory %s%s is too long", base, tail);
}

// FNV-1a: nobody but the operator chooses these paths.
static uint64_t hash_more(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t hash_path(uint64_t h, const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");
		if (n && !(n == 1 && path[0] == '.'))
			h = hash_more(hash_more(h, "/", 1), path, n);
		path += n + (path[n] == '/');
	}
	return h;
}

enum err dirs_private(char *out, const char *path, struct why *why)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	char *cwd = path[0] != '/' ? getcwd(NULL, 0) : NULL;
	if (path[0] != '/' && !cwd)
		return ours(why, "the folder that we are in: %s", strerror(errno));
	h = hash_path(h, cwd ? cwd : "");
	free(cwd);
	h = hash_path(h, path);
	const char *last = strrchr(path, '/');
	int n = snprintf(out, DIRS_PRIVATE, "path-%016llx-%.20s", (unsigned long long)h, last ? last + 1 : path); // for people who look for theirs
	return n > 0 && n < DIRS_PRIVATE ? OK : ours(why, "no name for %.60s", path);
}

enum err dirs_runtime(char *out, size_t size, const char *private_name, struct why *why)
{
	if (env("RUNTIME_DIRECTORY"))
		return place(out, size, env("RUNTIME_DIRECTORY"), "", private_name, why);
	if (geteuid() == 0)
		return place(out, size, "/run/vringd", "", private_name, why);
	if (env("XDG_RUNTIME_DIR"))
		return place(out, size, env("XDG_RUNTIME_DIR"), "/vringd", private_name, why);
	return refuse(why, "no runtime directory: set --runtime-dir or XDG_RUNTIME_DIR");
}

enum err dirs_state(char *out, size_t size, const char *private_name, struct why *why)
{
	if (env("STATE_DIRECTORY"))
		return place(out, size, env("STATE_DIRECTORY"), "", private_name, why);
	if (geteuid() == 0)
		return place(out, size, "/var/lib/vringd", "", private_name, why);
	if (env("XDG_STATE_HOME"))
		return place(out, size, env("XDG_STATE_HOME"), "/vringd", private_name, why);
	if (env("HOME"))
		return place(out, size, env("HOME"), "/.local/state/vringd", private_name, why);
	return refuse(why, "no state directory: set --state-dir or HOME");
}

enum err dirs_make(const char *path, unsigned mode, struct why *why)
{
	char copy[512];
	if (strlen(path) >= sizeof(copy))
		return refuse(why, "directory %.60s... is too long", path);
	strcpy(copy, path);
	for (char *at = strchr(copy + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			return ours(why, "making %s: %s", copy, strerror(errno));
		*at = '/';
	}
	if (mkdir(copy, mode) != 0 && errno != EEXIST)
		return ours(why, "making %s: %s", copy, strerror(errno));
	return OK;
}

void dirs_remove(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	rmdir(path);
}
