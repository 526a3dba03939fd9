#include "custody/home.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "notify/notify.h"

#define PREFIX "vringd-"
#define IMAGE PREFIX "image"
#define BARRIER_MS 5000
#define MAX_STORED 65536

static int inherited(void *arg, int number)
{
	(void)arg;
	return fd_set_cloexec(number) == 0 ? number : -1;
}

static int stored(void *arg, int number)
{
	bool *taken = arg;
	char name[32];
	snprintf(name, sizeof(name), PREFIX "%d", number);
	int fd = notify_find(name);
	if (fd < 0 || fd >= MAX_STORED || taken[fd])
		return -1;
	taken[fd] = true;
	fd_set_cloexec(fd);
	return fd;
}

enum home home_load(struct custody *c, struct custody_keeper *k)
{
	static bool taken[MAX_STORED];
	struct custody_keeper found;
	struct why why;
	const char *env = getenv(KP_IMAGE_ENV);
	int image = env ? atoi(env) : notify_find(IMAGE);
	enum home home = env ? HOME_EXEC : HOME_STORE;
	unsetenv(KP_IMAGE_ENV);
	if (image < 0)
		return HOME_OWN;
	if (image < MAX_STORED)
		taken[image] = true;
	if (custody_load(c, &found, image, env ? inherited : stored, taken, &why) != OK) {
		log_err("keeper: %s: front ends will connect again", why.text);
		if (env) // it was looked at before; all connections end with us
			_exit(1);
		custody_clear(c);
		home = HOME_OWN;
	}
	fd_reset(&image);
	for (int fd = NOTIFY_FIRST_FD; !env && fd < NOTIFY_FIRST_FD + (int)notify_fds(); fd++)
		if (fd < MAX_STORED && !taken[fd])
			close(fd); // of a connection that is lost, or of nobody
	if (home != HOME_OWN)
		*k = found;
	return home;
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
	if (custody_save(c, k, &image, &why) != OK) {
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

static void store_one(void *arg, int fd)
{
	char text[96];
	struct why why;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" PREFIX "%d\nFDPOLL=0", fd);
	if (notify_send(text, &fd, 1, &why) != OK && !*(bool *)arg) {
		*(bool *)arg = true;
		log_err("keeper: %s: connections will be lost", why.text);
	}
}

void home_store(const struct custody *c, const struct custody_keeper *k)
{
	struct why why;
	struct custody_keeper s = *k;
	bool bad = false;
	int image;
	s.exe = s.sock = -1; // the next one is whatever is installed then
	s.pid = 0;
	enum err e = custody_save(c, &s, &image, &why);
	if (e == OK) {
		custody_each_fd(c, &s, store_one, &bad);
		e = notify_send("FDSTORE=1\nFDNAME=" IMAGE "\nFDPOLL=0", &image, 1, &why);
		fd_reset(&image);
	}
	if (e == OK)
		e = notify_barrier(BARRIER_MS, &why);
	if (e != OK)
		log_err("keeper: %s", why.text);
}

void home_unstore(void)
{
	notify_unstore(PREFIX);
	notify_forget();
}
