#include "base/crash.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define STEPS 32u // deaths in one plan

static struct step {
	unsigned life, nth;
	enum crash_point point;
} steps[STEPS];
static unsigned n_steps;
static _Atomic unsigned life;
static _Atomic unsigned passes[CRASH_N];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct crash_page *page;

const char *crash_name(enum crash_point p)
{
#define CRASH_NAME(name, text) #name,
	static const char *const names[] = { VRINGD_CRASH_POINTS_LIST(CRASH_NAME) };
#undef CRASH_NAME
	return (unsigned)p < CRASH_N ? names[p] : "?";
}

// The number that text begins with; *end is behind it. False: none, or an absurd one.
static bool number(const char *text, const char **end, unsigned *out)
{
	unsigned n = 0;
	const char *p = text;
	for (; *p >= '0' && *p <= '9' && n < 100000000; p++)
		n = n * 10 + (unsigned)(*p - '0');
	*end = p;
	*out = n;
	return p != text && n < 100000000;
}

static bool point_of(const char *text, const char **end, enum crash_point *out)
{
	size_t len = strcspn(text, ":,");
	*end = text + len;
	for (unsigned i = 0; i < CRASH_N; i++)
		if (strlen(crash_name(i)) == len && memcmp(crash_name(i), text, len) == 0) {
			*out = i;
			return true;
		}
	return false;
}

enum err crash_plan(const char *plan, struct why *why)
{
	n_steps = 0;
	if (!plan || !*plan)
		return OK;
	for (const char *p = plan;; p++) {
		struct step *s = &steps[n_steps];
		if (n_steps == STEPS)
			return refuse(why, "crash plan \"%s\": more than %u deaths", plan, STEPS);
		if (!number(p, &p, &s->life) || *p != ':')
			return refuse(why, "crash plan \"%s\": LIFE: expected at \"%s\"", plan, p);
		const char *name = p + 1;
		if (!point_of(name, &p, &s->point) || *p != ':')
			return refuse(why, "crash plan \"%s\": no point is named \"%s\"", plan, name);
		if (!number(p + 1, &p, &s->nth) || s->nth == 0)
			return refuse(why, "crash plan \"%s\": NTH is a number from 1 on, not \"%s\"", plan, p);
		n_steps++;
		if (!*p)
			return OK;
		if (*p != ',')
			return refuse(why, "crash plan \"%s\": a comma expected at \"%s\"", plan, p);
	}
}

// -- a plan in a file that is shared ----------------------------------------------------------------------------------------

static struct crash_page *page_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p = fd >= 0 ? mmap(NULL, sizeof(struct crash_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		log_err("crash page %s: can't be mapped", path);
		_exit(2);
	}
	return p;
}

void crash_arm(struct crash_page *g, const enum crash_point *point, const unsigned *nth, unsigned n)
{
	atomic_store(&g->armed, 0);
	atomic_store(&g->fired, 0);
	atomic_store(&g->left, n ? nth[0] : 0);
	for (unsigned i = 0; i < n; i++) {
		g->step[i].point = point[i];
		g->step[i].nth = nth[i];
	}
	atomic_store(&g->armed, n);
}

static bool page_due(struct crash_page *g, enum crash_point p)
{
	atomic_fetch_add(&g->passes[p], 1);
	unsigned n = atomic_load(&g->armed), i = atomic_load(&g->fired);
	if (n > CRASH_PAGE_STEPS || i >= n || g->step[i].point != p || atomic_fetch_sub(&g->left, 1) != 1)
		return false;
	if (i + 1 < n)
		atomic_store(&g->left, g->step[i + 1].nth);
	atomic_store(&g->fired, i + 1);
	return true;
}

// ------------------------------------------------------------------------------------------------------------------------

static void from_environment(void)
{
	struct why why;
	const char *path = getenv("VRINGD_CRASH_PAGE");
	if (path)
		page = page_map(path);
	if (n_steps == 0 && crash_plan(getenv("VRINGD_CRASH"), &why) != OK) {
		log_err("%s", why.text);
		_exit(2);
	}
}

void crash_set_life(unsigned n)
{
	pthread_once(&once, from_environment);
	atomic_store(&life, n);
	for (unsigned i = 0; i < CRASH_N; i++)
		atomic_store(&passes[i], 0);
}

bool crash_pass_due(enum crash_point p)
{
	pthread_once(&once, from_environment);
	if (page)
		return page_due(page, p);
	unsigned nth = atomic_fetch_add(&passes[p], 1) + 1;
	for (unsigned i = 0; i < n_steps; i++)
		if (steps[i].point == p && steps[i].nth == nth && steps[i].life == atomic_load(&life))
			return true;
	return false;
}

void crash_pass(enum crash_point p)
{
	if (!crash_pass_due(p))
		return;
	log_warn("crash point %s: worker %u dies here, as planned", crash_name(p), atomic_load(&life));
	raise(SIGKILL);
}

static void poison(const char *how)
{
	static volatile uintptr_t nowhere = 64;
	log_warn("poison: %s", how);
	if (strcmp(how, "segv") == 0)
		*(volatile int *)nowhere = 1;
	else if (strcmp(how, "ill") == 0)
		__builtin_trap();
	else if (strcmp(how, "abort") == 0)
		abort();
	else if (strcmp(how, "exit") == 0)
		_exit(7);
	else if (strcmp(how, "stop") == 0)
		raise(SIGSTOP);
	else if (strcmp(how, "kill") == 0)
		raise(SIGKILL);
	while (strcmp(how, "loop") == 0)
		__asm__ volatile("");
	while (strcmp(how, "sleep") == 0)
		sleep(1000);
}

void crash_poisoned(const char *where, const char *port, unsigned number)
{
	char w[16], p[40], how[16];
	unsigned n;
	const char *path = getenv("VRINGD_POISON");
	FILE *f = path ? fopen(path, "re") : NULL;
	if (!f)
		return;
	while (fscanf(f, "%15s %39s %u %15s", w, p, &n, how) == 4)
		if (strcmp(w, where) == 0 && strcmp(p, port) == 0 && n == number) {
			fclose(f);
			poison(how);
			return;
		}
	fclose(f);
}
