#include "lab/verify_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

struct range {
	uint64_t start, end;
};

#if defined(__aarch64__)
#define RANGES_MAX 1
static unsigned ram_ranges(uint64_t memory, struct range r[RANGES_MAX])
{
	r[0] = (struct range){ UINT64_C(1) << 30, (UINT64_C(1) << 30) + memory };
	return 1;
}
#else
#define RANGES_MAX 3
// The memory of a PC: below the adapters' hole at 640 KiB, from 1 MiB to the PCI hole, and the rest from 4 GiB on.
static unsigned ram_ranges(uint64_t memory, struct range r[RANGES_MAX])
{
	uint64_t low = memory < UINT64_C(0xb0000000) ? memory : UINT64_C(0x80000000);
	r[0] = (struct range){ 0, 0xa0000 };
	r[1] = (struct range){ 0x100000, low };
	r[2] = (struct range){ UINT64_C(1) << 32, (UINT64_C(1) << 32) + memory - low };
	return memory > low ? 3 : 2;
}
#endif

static enum err dump(struct vm *vm, const struct range *r, const char *path, struct why *why)
{
	json_t *arguments = json_pack("{s:I,s:I,s:s}", "val", (json_int_t)r->start, "size", (json_int_t)(r->end - r->start), "filename", path);
	return vm_explain(vm, qmp_call(&vm->qmp, "pmemsave", arguments, NULL, why), why);
}

static const uint8_t *map(const char *path, size_t *size, struct why *why)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *p = MAP_FAILED;
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		p = mmap(NULL, *size = (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		ours(why, "%s: %s", path, strerror(errno));
	fd_reset(&fd);
	return p == MAP_FAILED ? NULL : p;
}

static void compare_pages(const uint8_t *a, const uint8_t *b, size_t size, uint64_t base, struct ram_diff *d)
{
	for (size_t at = 0; at < size; at += RAM_PAGE) {
		size_t n = size - at < RAM_PAGE ? size - at : RAM_PAGE;
		d->pages++;
		if (memcmp(a + at, b + at, n) == 0)
			continue;
		if (d->differ < 16)
			d->first[d->differ] = base + at;
		d->differ++;
	}
}

enum err ram_compare(const char *a, const char *b, uint64_t base, struct ram_diff *d, struct why *why)
{
	size_t size_a = 0, size_b = 0;
	const uint8_t *data_a = map(a, &size_a, why);
	const uint8_t *data_b = data_a ? map(b, &size_b, why) : NULL;
	enum err e = OK;
	if (!data_b)
		e = OURS; // map said why
	else if (size_a != size_b)
		e = ours(why, "the dumps differ in size: %zu and %zu bytes", size_a, size_b);
	else
		compare_pages(data_a, data_b, size_a, base, d);
	if (data_a)
		munmap((void *)(uintptr_t)data_a, size_a);
	if (data_b)
		munmap((void *)(uintptr_t)data_b, size_b);
	return e;
}

static void describe(struct round *r, const struct ram_diff *d)
{
	r->compared = true;
	r->pages = d->pages;
	r->pages_differ = d->differ;
	size_t used = 0;
	for (unsigned i = 0; i < d->differ && i < 16; i++)
		used += (size_t)snprintf(r->differ + used, sizeof(r->differ) - used, "%s0x%" PRIx64, i ? " " : "", d->first[i]);
}

enum err verify_ram(struct vm *src, struct vm *dst, uint64_t memory_bytes, struct round *r, struct why *why)
{
	char folder[] = "/dev/shm/vringlab-XXXXXX", plain[] = "/tmp/vringlab-ram-XXXXXX", *dir = mkdtemp(folder);
	char a[80], b[80];
	if (!dir)
		dir = mkdtemp(plain);
	if (!dir)
		return ours(why, "no folder for the memory dumps: %s", strerror(errno));
	snprintf(a, sizeof(a), "%s/src", dir);
	snprintf(b, sizeof(b), "%s/dst", dir);
	struct range range[RANGES_MAX];
	unsigned n = ram_ranges(memory_bytes, range);
	struct ram_diff d = { 0 };
	enum err e = OK;
	for (unsigned i = 0; i < n && e == OK; i++) {
		e = dump(src, &range[i], a, why);
		if (e == OK)
			e = dump(dst, &range[i], b, why);
		if (e == OK)
			e = ram_compare(a, b, range[i].start, &d, why);
		unlink(a);
		unlink(b);
	}
	rmdir(dir);
	if (e == OK)
		describe(r, &d);
	return e;
}
