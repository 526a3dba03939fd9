#include "custody/home.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "notify/notify.h"

#define PREFIX "vringd-" // then the store's generation, as eight hexadecimal digits, then "-image" or a number
#define PREFIX_LEN 7
#define GENERATION_LEN 8
#define IMAGE "-image"
#define BARRIER_MS 5000

static int inherited(void *arg, int number)
{
	(void)arg;
	return fd_set_cloexec(number) == 0 ? number : -1;
}

// What a manager gives back: of the last generation the descriptor of each number. It may have kept some of an earlier one,
// of which it was not told, or did not hear, that it is done with.
struct stored {
	uint32_t generation;
	int image, others; // others: how many have our prefix
	int at[CUSTODY_SAME_MAX]; // -1: none
	bool taken[CUSTODY_SAME_MAX]; // by descriptor here
};

static bool ours_is(const char *name, unsigned len, uint32_t *generation)
{
	char digits[GENERATION_LEN + 1] = "";
	if (len <= PREFIX_LEN + GENERATION_LEN || strncmp(name, PREFIX, PREFIX_LEN) != 0)
		return false;
	memcpy(digits, name + PREFIX_LEN, GENERATION_LEN);
	*generation = (uint32_t)strtoul(digits, NULL, 16);
	return true;
}

static void find_image(void *arg, const char *name, unsigned len, int fd)
{
	struct stored *s = arg;
	uint32_t g;
	if (len < PREFIX_LEN || strncmp(name, PREFIX, PREFIX_LEN) != 0)
		return;
	s->others++;
	if (ours_is(name, len, &g) && len == PREFIX_LEN + GENERATION_LEN + strlen(IMAGE) &&
	    strncmp(name + PREFIX_LEN + GENERATION_LEN, IMAGE, strlen(IMAGE)) == 0 && (s->image < 0 || (int32_t)(g - s->generation) > 0)) {
		s->image = fd;
		s->generation = g;
	}
}

static void find_number(void *arg, const char *name, unsigned len, int fd)
{
	struct stored *s = arg;
	char digits[8] = "";
	uint32_t g;
	unsigned from = PREFIX_LEN + GENERATION_LEN + 1;
	if (fd == s->image || !ours_is(name, len, &g) || g != s->generation || len <= from || len - from >= sizeof(digits))
		return;
	memcpy(digits, name + from, len - from);
	int number = atoi(digits);
	if (number > 0 && number < CUSTODY_SAME_MAX)
		s->at[number] = fd;
}

static void close_one(void *arg, const char *name, unsigned len, int fd)
{
	struct stored *s = arg;
	if (len < PREFIX_LEN || strncmp(name, PREFIX, PREFIX_LEN) != 0)
		return; // somebody else's
	if (fd >= CUSTODY_SAME_MAX || !s->taken[fd])
		close(fd);
}

// The number stands for one open file, which has several descriptors where it was kept several times.
static int stored(void *arg, int number)
{
	struct stored *s = arg;
	int fd = number < CUSTODY_SAME_MAX ? s->at[number] : -1;
	if (fd < 0 || fd >= CUSTODY_SAME_MAX)
		return -1;
	if (s->taken[fd])
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	s->taken[fd] = true;
	fd_set_cloexec(fd);
	return fd;
}

static enum home load_exec(struct custody *c, struct custody_keeper *k, int image)
{
	struct why why;
	unsetenv(KP_IMAGE_ENV);
	if (custody_load(c, k, image, inherited, NULL, &why) != OK) {
		log_err("keeper: %s", why.text);
		_exit(1); // it was looked at before; all connections end with us
	}
	fd_reset(&image);
	return HOME_EXEC;
}

enum home home_load(struct custody *c, struct custody_keeper *k)
{
	static struct stored s = { .image = -1 };
	struct custody_keeper found;
	struct why why = { "its image is missing" };
	const char *env = getenv(KP_IMAGE_ENV);
	if (env)
		return load_exec(c, k, atoi(env));
	notify_each(find_image, &s);
	if (s.others == 0)
		return HOME_OWN;
	memset(s.at, 0xff, sizeof(s.at));
	notify_each(find_number, &s);
	bool well = s.image >= 0 && custody_load(c, &found, s.image, stored, &s, &why) == OK;
	notify_each(close_one, &s); // the image; what belongs to a connection that is lost, or to an earlier generation
	if (well) {
		*k = found;
		return HOME_STORE;
	}
	// Not kept any longer by anybody: its lock and its sockets would keep us from serving.
	log_err("keeper: what the service manager kept is of no use: %s; front ends connect again", why.text);
	custody_clear(c);
	if (notify_unstore(PREFIX, &why) != OK || notify_barrier(BARRIER_MS, &why) != OK)
		log_err("keeper: %s", why.text);
	notify_forget();
	return HOME_OWN;
}

static void inherit(void *arg, int fd)
{
	fcntl(fd, F_SETFD, *(const bool *)arg ? 0 : FD_CLOEXEC);
}

void home_exec(const struct custody *c, const struct custody_keeper *k, int exe, char **argv)
{
	char path[40];
	struct why why;
	bool inherits = true;
	int image;
	if (custody_save(c, k, NULL, &image, &why) != OK) {
		log_err("keeper: %s", why.text);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	custody_each_fd(c, k, inherit, &inherits);
	inherit(&inherits, image);
	execve(path, argv, kp_environment(KP_IMAGE_ENV, image));
	inherits = false;
	custody_each_fd(c, k, inherit, &inherits);
	fd_reset(&image);
}

// -- the service manager ---------------------------------------------------------------------------------------------------------

bool home_has_store(void)
{
	const char *room = getenv("FDSTORE"); // of newer managers
	return notify_wanted() && !(room && strcmp(room, "0") == 0);
}

// A manager keeps an open file once: of further descriptors of it nothing is said, and they are not kept.
struct all {
	int fd[CUSTODY_SAME_MAX], same[CUSTODY_SAME_MAX];
	unsigned n;
	bool too_many;
};

static void collect(void *arg, int fd)
{
	struct all *a = arg;
	if (fd >= CUSTODY_SAME_MAX || a->n == CUSTODY_SAME_MAX)
		a->too_many = true;
	else
		a->fd[a->n++] = fd;
}

static bool before(int a, int b)
{
	long r = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
	return r == 1 || (r != 0 && r != 2 && a < b);
}

// By their open files; leaves one of each, and says of each which one. (Shell's sort: thousands at most, no memory needed.)
static void sort_out(struct all *a)
{
	unsigned n = 0;
	for (unsigned gap = a->n / 2; gap > 0; gap /= 2)
		for (unsigned i = gap; i < a->n; i++) {
			int fd = a->fd[i];
			unsigned j = i;
			for (; j >= gap && before(fd, a->fd[j - gap]); j -= gap)
				a->fd[j] = a->fd[j - gap];
			a->fd[j] = fd;
		}
	for (unsigned i = 0; i < a->n; i++) {
		if (n == 0 || before(a->fd[n - 1], a->fd[i]))
			a->fd[n++] = a->fd[i];
		a->same[a->fd[i]] = a->fd[n - 1];
	}
	a->n = n;
}

static enum err store_one(uint32_t generation, const char *what, int fd, struct why *why)
{
	char text[96];
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" PREFIX "%08" PRIx32 "%s\nFDPOLL=0", generation, what);
	return notify_send(text, &fd, 1, why);
}

static enum err store_all(const struct custody *c, const struct custody_keeper *k, struct why *why)
{
	static struct all a;
	struct custody_keeper s = *k;
	const char *room = getenv("FDSTORE"); // of newer managers: how many
	uint32_t generation = (uint32_t)(clock_boot_us() / 1000);
	int image;
	s.exe = s.sock = -1; // the next one is whatever is installed then
	s.pid = 0;
	notify_unstore(PREFIX, why); // if that failed before: what is kept under an old name is not kept under a new one
	custody_each_fd(c, &s, collect, &a);
	sort_out(&a);
	if (a.too_many || (room && a.n + 1 > strtoul(room, NULL, 10)))
		return ours(why, "there are %u descriptors to keep, the service manager has room for %s (FileDescriptorStoreMax=)", a.n + 1,
			    room ? room : "fewer");
	enum err e = custody_save(c, &s, a.same, &image, why);
	if (e != OK)
		return e;
	e = store_one(generation, IMAGE, image, why); // first: without it nothing of the rest would be of use
	fd_reset(&image);
	for (unsigned i = 0; i < a.n && e == OK; i++) {
		char what[16];
		snprintf(what, sizeof(what), "-%d", a.fd[i]);
		e = store_one(generation, what, a.fd[i], why);
	}
	return e == OK ? notify_barrier(BARRIER_MS, why) : e;
}

void home_store(const struct custody *c, const struct custody_keeper *k)
{
	struct why why;
	if (store_all(c, k, &why) != OK)
		log_err("keeper: %s: connections are lost, front ends connect again", why.text);
}

void home_unstore(void)
{
	struct why why;
	if (notify_unstore(PREFIX, &why) == OK)
		notify_forget(); // else the next worker's start is another occasion
	else
		log_err("keeper: %s", why.text);
}
