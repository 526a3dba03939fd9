#include "lab/initrd.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

// In the order in which they must be loaded. What a kernel has built in is not found, and not needed.
static const char *const modules[] = { "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
	"failover", "net_failover", "virtio_net" };
#define MODULES (sizeof(modules) / sizeof(modules[0]))

static const char init_text[] =
	"#!/bin/busybox sh\n"
	"bb=/bin/busybox\n"
	"$bb mount -t proc proc /proc\n"
	"$bb mount -t sysfs sysfs /sys\n"
	"$bb mount -t devtmpfs dev /dev\n"
	"echo lab: user space\n" // the lab looks for this: no driver has run yet
	"for m in /modules/*; do $bb insmod $m || echo \"insmod $m failed\"; done\n"
	"exec /lab-agent\n";

struct archive {
	gzFile gz;
	unsigned inode;
	bool failed;
};

static void put(struct archive *a, const void *data, size_t n)
{
	if (n && gzwrite(a->gz, data, (unsigned)n) != (int)n)
		a->failed = true;
}

static void pad(struct archive *a, size_t written)
{
	put(a, "\0\0\0", (4 - written % 4) % 4);
}

static void put_entry(struct archive *a, const char *name, unsigned mode, const void *data, size_t size, unsigned dev_major,
	unsigned dev_minor)
{
	char header[112];
	size_t name_size = strlen(name) + 1;
	// magic, inode, mode, uid, gid, links, mtime, size, device (2), special file (2), name's size, checksum
	int n = snprintf(header, sizeof(header), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++a->inode, mode, 0, 0, 1, 0,
		(unsigned)size, 0, 0, dev_major, dev_minor, (unsigned)name_size, 0);
	put(a, header, (size_t)n);
	put(a, name, name_size);
	pad(a, (size_t)n + name_size);
	put(a, data, size);
	pad(a, size);
}

static void *read_all(FILE *f, size_t *size)
{
	size_t room = 1 << 16;
	char *data = malloc(room);
	*size = 0;
	while (data) {
		*size += fread(data + *size, 1, room - *size, f);
		if (*size < room)
			return data;
		room *= 2;
		char *more = realloc(data, room);
		if (!more)
			free(data);
		data = more;
	}
	return NULL;
}

static enum err put_file(struct archive *a, const char *name, const char *path, struct why *why)
{
	// Some distributions compress their modules; the guest's insmod may not know how.
	static const struct { const char *suffix, *program; } packed[] = { { ".xz", "xz" }, { ".zst", "zstd" }, { ".gz", "gzip" } };
	char command[ASSET_PATH + 40];
	const char *program = NULL;
	for (size_t i = 0; i < 3; i++)
		if (strlen(path) > 4 && !strcmp(path + strlen(path) - strlen(packed[i].suffix), packed[i].suffix))
			program = packed[i].program;
	snprintf(command, sizeof(command), "%s -dc '%s'", program ? program : "", path);
	FILE *f = program ? popen(command, "re") : fopen(path, "re");
	size_t size = 0;
	void *data = f ? read_all(f, &size) : NULL;
	int ended = !f ? -1 : program ? pclose(f) : fclose(f);
	if (data && ended == 0)
		put_entry(a, name, S_IFREG | 0755, data, size, 0, 0);
	free(data);
	return data && ended == 0 ? OK : ours(why, "%s cannot be read", path);
}

// nftw has no argument for its callback.
static char found[MODULES][ASSET_PATH];

static int on_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	if (kind != FTW_F)
		return 0;
	const char *base = path + ftw->base;
	for (size_t i = 0; i < MODULES; i++) {
		size_t n = strlen(modules[i]);
		if (!strncmp(base, modules[i], n) && !strncmp(base + n, ".ko", 3))
			snprintf(found[i], ASSET_PATH, "%s", path);
	}
	return 0;
}

static enum err put_modules(struct archive *a, const char *folder, struct why *why)
{
	char kernel[ASSET_PATH + 8];
	memset(found, 0, sizeof(found));
	snprintf(kernel, sizeof(kernel), "%s/kernel", folder);
	if (nftw(kernel, on_file, 32, FTW_PHYS) < 0)
		return ours(why, "%s cannot be read", kernel);
	for (size_t i = 0; i < MODULES; i++) {
		char name[80];
		snprintf(name, sizeof(name), "modules/%zu-%s.ko", i, modules[i]);
		enum err e = found[i][0] ? put_file(a, name, found[i], why) : OK;
		if (e != OK)
			return e;
	}
	return OK;
}

enum err initrd_write(const char *path, const struct assets *assets, struct why *why)
{
	static const char *const folders[] = { "bin", "dev", "proc", "sys", "modules", "tmp" };
	struct archive a = { .gz = gzopen(path, "wb1") };
	if (!a.gz)
		return ours(why, "%s cannot be written", path);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		put_entry(&a, folders[i], S_IFDIR | 0755, NULL, 0, 0, 0);
	put_entry(&a, "dev/console", S_IFCHR | 0600, NULL, 0, 5, 1);
	put_entry(&a, "init", S_IFREG | 0755, init_text, sizeof(init_text) - 1, 0, 0);
	enum err e = put_file(&a, "bin/busybox", assets->busybox, why);
	if (e == OK)
		e = put_file(&a, "lab-agent", assets->agent, why);
	if (e == OK)
		e = put_modules(&a, assets->modules, why);
	put_entry(&a, "TRAILER!!!", 0, NULL, 0, 0, 0);
	if (gzclose(a.gz) != Z_OK || a.failed)
		e = e == OK ? ours(why, "%s cannot be written: is the file system full?", path) : e;
	return e;
}
