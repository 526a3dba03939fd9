#include "bench/backend.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/usage.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

enum err backend_init(struct backend *b, const struct backend_spec *spec, const struct opts *opts, struct why *why)
{
	static const struct backend_ops *const ops[] = { &backend_vringd, &backend_testpmd, &backend_ovs, &backend_given };
	memset(b, 0, sizeof(*b));
	b->spec = *spec;
	b->opts = opts;
	b->ops = ops[spec->kind];
	b->child = calloc(1, sizeof(*b->child));
	b->helper = calloc(1, sizeof(*b->helper));
	if (!b->child || !b->helper)
		return ours(why, "no memory");
	b->child->tty = b->helper->tty = -1;
	return OK;
}

void backend_fini(struct backend *b)
{
	if (b->child)
		backend_stop(b);
	free(b->child);
	free(b->helper);
	b->child = b->helper = NULL;
}

static enum err folder(struct backend *b, struct why *why)
{
	const char *tmp = getenv("TMPDIR");
	if (!tmp || strlen(tmp) > 30) // a socket's path has 107 bytes
		tmp = "/tmp";
	snprintf(b->dir, sizeof(b->dir), "%s/vringbench-XXXXXX", tmp);
	if (mkdtemp(b->dir))
		return OK;
	enum err e = ours(why, "%s: %s", b->dir, strerror(errno));
	b->dir[0] = '\0';
	return e;
}

enum err backend_start(struct backend *b, const struct need *n, struct why *why)
{
	backend_stop(b);
	enum err e = b->spec.kind == BACKEND_GIVEN ? OK : folder(b, why);
	if (e == OK)
		e = b->ops->start(b, n, why);
	if (e != OK)
		backend_stop(b);
	return e;
}

void backend_stop(struct backend *b)
{
	child_end(b->child, 3000);
	child_end(b->helper, 1000);
	b->pid = 0;
	if (b->dir[0])
		nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	b->dir[0] = '\0';
}

enum err backend_kill_again(struct backend *b, const struct need *n, struct why *why)
{
	if (b->child->pid == 0)
		return refuse(why, "it was not started by vringbench and is not killed");
	child_kill(b->child);
	return b->ops->start(b, n, why);
}

pid_t backend_worker(const struct backend *b)
{
	char path[64];
	int child = 0;
	if (b->spec.kind != BACKEND_VRINGD || b->child->pid <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)b->child->pid, (int)b->child->pid);
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%d", &child) != 1)
		child = 0;
	if (f)
		fclose(f);
	return child;
}

bool backend_alive(struct backend *b)
{
	return b->child->pid == 0 ? b->spec.kind == BACKEND_GIVEN : child_alive(b->child);
}

void backend_pause(struct backend *b, bool stop)
{
	if (b->ops->polls || (b->spec.kind == BACKEND_GIVEN && b->spec.exec[0]))
		child_pause(b->child, stop);
}

bool backend_begin(struct backend *b)
{
	b->now = (struct counters){ 0 };
	return !b->ops->begin || b->ops->begin(b);
}

void backend_mark(struct backend *b, int end)
{
	if (b->ops->mark)
		b->ops->mark(b, end);
	struct usage u = b->pid ? usage_of(b->pid) : (struct usage){ 0 };
	if (end) {
		b->now.cpu_ns = u.cpu_ns - b->cpu_from;
		b->now.wait_ns = u.wait_ns - b->wait_from;
		b->now.anon_kb = u.anon_kb;
	}
	b->cpu_from = u.cpu_ns;
	b->wait_from = u.wait_ns;
}

bool backend_end(struct backend *b, struct counters *c)
{
	bool ok = !b->ops->end || b->ops->end(b, &b->now);
	*c = b->now;
	return ok;
}

const char *backend_said(const struct backend *b, char *buf, size_t size)
{
	return child_last_line(b->child, buf, size);
}

void backend_command(struct backend *b, char *const argv[])
{
	if (b->command[0])
		return;
	size_t n = 0;
	for (unsigned i = 0; argv[i] && n < sizeof(b->command) - 1; i++) {
		const char *slash = strrchr(argv[i], '/'), *word = i == 0 && slash ? slash + 1 : argv[i];
		const char *dir = b->dir[0] ? strstr(word, b->dir) : NULL; // the private folder is $S
		if (dir)
			n += (size_t)snprintf(b->command + n, sizeof(b->command) - n, "%s%.*s$S%s", i ? " " : "",
					      (int)(dir - word), word, dir + strlen(b->dir));
		else
			n += (size_t)snprintf(b->command + n, sizeof(b->command) - n, "%s%s", i ? " " : "", word);
	}
	const char *home = getenv("HOME");
	size_t len = home ? strlen(home) : 0;
	for (char *at; len > 1 && (at = strstr(b->command, home));) { // whose home it is is nobody's business
		*at = '~';
		memmove(at + 1, at + len, strlen(at + len) + 1);
	}
}

enum err backend_await(struct backend *b, unsigned ports, unsigned timeout_ms, struct why *why)
{
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	char line[160];
	for (unsigned i = 0; i < ports;) {
		if (usage_listening(b->sock[i])) {
			i++;
			continue;
		}
		if (!backend_alive(b))
			return ours(why, "%s ended: %.150s", b->spec.name, backend_said(b, line, sizeof(line)));
		if (clock_boot_us() > end)
			return ours(why, "%s does not listen at its socket %u: %.120s", b->spec.name, i,
				    backend_said(b, line, sizeof(line)));
		usleep(2000);
	}
	return OK;
}

bool backend_hugepages(unsigned mib)
{
	unsigned long free_pages = 0;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	if (!f)
		return false;
	if (fscanf(f, "%lu", &free_pages) != 1)
		free_pages = 0;
	fclose(f);
	return free_pages * 2 >= mib;
}

enum err backend_spawn(struct backend *b, char *const argv[], bool all_cpus, struct why *why)
{
	unsigned from = all_cpus ? 0 : 1;
	backend_command(b, argv);
	enum err e = child_start(b->child, argv, b->opts->cpu + from, b->opts->n_cpus - from, why);
	b->pid = b->child->pid;
	return e;
}
