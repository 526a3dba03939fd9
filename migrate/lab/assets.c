#include "lab/assets.h"
#include "base/progress.h"

#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#if defined(__aarch64__)
#define QEMU_NAME "qemu-system-aarch64"
#else
#define QEMU_NAME "qemu-system-x86_64"
#endif

static bool copy_path(char out[ASSET_PATH], const char *path)
{
	return snprintf(out, ASSET_PATH, "%s", path) < ASSET_PATH;
}

static bool path_find(const char *name, char out[ASSET_PATH])
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : "/usr/local/bin:/usr/bin:/bin"), *rest;
	bool found = false;
	for (char *d = copy ? strtok_r(copy, ":", &rest) : NULL; d && !found; d = strtok_r(NULL, ":", &rest))
		found = snprintf(out, ASSET_PATH, "%s/%s", d, name) < ASSET_PATH && access(out, X_OK) == 0;
	free(copy);
	return found;
}

bool program_find(const char *name, char out[ASSET_PATH])
{
	if (strchr(name, '/'))
		return copy_path(out, name) && access(out, X_OK) == 0;
	char self[ASSET_PATH];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		static const char *const beside[] = { "", "../libexec/vringd/", "../bin/" };
		char *dir = dirname(self);
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
			if (snprintf(out, ASSET_PATH, "%s/%s%s", dir, beside[i], name) < ASSET_PATH && access(out, X_OK) == 0)
				return true;
	}
	return path_find(name, out);
}

static enum err qemu_find(struct qemu_binary *q, const char *given, struct why *why)
{
	if (given ? !program_find(given, q->path) : !path_find(QEMU_NAME, q->path))
		return ours(why, "%s is missing%s", given ? given : QEMU_NAME, given ? "" : ": install qemu-system-x86, or say --qemu-src");
	char command[ASSET_PATH + 40], line[200] = "";
	if (strchr(q->path, '\''))
		return ours(why, "%s: a quote in a path", q->path);
	snprintf(command, sizeof(command), "'%s' -version 2>&1", q->path);
	FILE *f = popen(command, "re");
	const char *version = f && fgets(line, sizeof(line), f) ? strstr(line, "version ") : NULL;
	if (f)
		pclose(f);
	if (!version || sscanf(version, "version %u.%u", &q->major, &q->minor) != 2)
		return ours(why, "%s: does not say its version: %.80s", q->path, line);
	sscanf(version, "version %31[0-9.]", q->version);
	return OK;
}

// The highest match of a pattern by version; false if there is none.
static bool kernel_glob(const char *pattern, char out[ASSET_PATH])
{
	glob_t g;
	bool found = false;
	if (glob(pattern, 0, NULL, &g) == 0) {
		const char *best = NULL;
		for (size_t i = 0; i < g.gl_pathc; i++)
			if (access(g.gl_pathv[i], R_OK) == 0 && (!best || strverscmp(g.gl_pathv[i], best) > 0))
				best = g.gl_pathv[i];
		found = best && copy_path(out, best);
	}
	globfree(&g);
	return found;
}

static enum err kernel_find(struct assets *a, const struct opts *o, struct why *why)
{
	if (o->kernel)
		return copy_path(a->kernel, o->kernel) && access(o->kernel, R_OK) == 0 ? OK : ours(why, "kernel %s cannot be read", o->kernel);
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char pattern[ASSET_PATH];
	snprintf(pattern, sizeof(pattern), "%s%s/vringd/kernel/boot/vmlinu[xz]-*", xdg ? xdg : home ? home : "", xdg ? "" : "/.cache");
	if (kernel_glob(pattern, a->kernel) || kernel_glob("/boot/vmlinu[xz]-*", a->kernel))
		return OK;
	return ours(why, "no guest kernel: run scripts/lab-assets, or say --kernel");
}

// The kernel is DIR/vmlinuz-VERSION; its modules are where its package has them, or where the system has them.
static enum err modules_find(struct assets *a, struct why *why)
{
	char copy[ASSET_PATH];
	copy_path(copy, a->kernel);
	char *base = strrchr(copy, '/');
	const char *dir = base ? copy : ".";
	if (base)
		*base++ = 0;
	const char *dash = strchr(base ? base : copy, '-');
	if (!dash)
		return ours(why, "kernel %s: its name does not end in a version, so its modules cannot be found", a->kernel);
	const char *version = dash + 1;
	static const char *const places[] = { "/../lib/modules/", "/../usr/lib/modules/", "/lib/modules/" };
	for (size_t i = 0; i < 4; i++) {
		int n = snprintf(a->modules, ASSET_PATH, "%s%s%s", i < 3 ? dir : "", places[i < 3 ? i : 2], version);
		if (n < ASSET_PATH && access(a->modules, R_OK) == 0)
			return OK;
	}
	return ours(why, "kernel %s: no modules of version %s beside it or in /lib/modules", a->kernel, version);
}

static bool is_static(const char *path)
{
	char head[4096];
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(head, 1, sizeof(head), f);
	fclose(f);
	return n > 64 && !memmem(head, n, "/ld-", 4); // no program interpreter named
}

enum err assets_find(struct assets *a, const struct opts *o, struct why *why)
{
	memset(a, 0, sizeof(*a));
	enum err e = qemu_find(&a->src, o->qemu_src, why);
	if (e == OK)
		e = qemu_find(&a->dst, o->qemu_dst ? o->qemu_dst : a->src.path, why);
	if (e != OK || o->image)
		return e == OK && access(o->image, R_OK) != 0 ? ours(why, "image %s cannot be read", o->image) : e;
	e = kernel_find(a, o, why);
	if (e != OK || o->initrd)
		return e == OK && access(o->initrd, R_OK) != 0 ? ours(why, "initrd %s cannot be read", o->initrd) : e;
	e = modules_find(a, why);
	if (e != OK)
		return e;
	if (!path_find("busybox", a->busybox) || !is_static(a->busybox))
		return ours(why, "no static busybox: install busybox-static");
	if (!program_find("lab-agent", a->agent))
		return ours(why, "lab-agent is missing: it is built and installed with vringlab");
	return OK;
}
