// A worker is dead, and something of it still may write guest memory: as long as anybody holds a slot of its lease, its successor
// touches no ring. A thread of this test stands for that something.
//
//   keeper_lease [--caught] VRINGD     --caught: a build that does not ask; frames must be seen to move
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/kill.h"
#include "base/lease.h"
#include "proto/lan.h"

#define HELD_MS 400u

static struct {
	struct bed b;
	struct lan lan;
	struct lease *lease;
	_Atomic bool held, give;
} t;

// The keeper's page.
static int lease_fd(pid_t keeper)
{
	char path[300], link[60];
	struct dirent *e;
	int fd = -1;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)keeper);
	DIR *dir = opendir(path);
	while (dir != NULL && fd < 0 && (e = readdir(dir)) != NULL) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (strncmp(link, "/memfd:vringd-lease", 19) == 0)
			fd = openat(dirfd(dir), e->d_name, O_RDWR | O_CLOEXEC);
	}
	if (dir != NULL)
		closedir(dir);
	return fd;
}

static void *hold(void *arg)
{
	(void)arg;
	t.held = lease_take(t.lease, 0, NULL); // when the worker dies
	while (t.held && !t.give)
		daemon_nap(1);
	lease_give(t.lease, 0);
	return NULL;
}

static bool moved(void)
{
	struct frame_id id;
	return net_expect(&t.lan.net[1][0], &id, NULL, 0) == NULL;
}

// NULL, or what is wrong; *early: a frame moved while it must not.
static const char *run(const char *bin, bool *early)
{
	static const char *const args[] = {"--port", "vhost-user,id=a", "--port", "vhost-user,id=a2", NULL};
	struct why why = {""};
	pthread_t holder;
	if (!daemon_start(&t.b.d, bin, args) || !lan_open(&t.lan, &t.b, 2, NULL, NULL, 0))
		return t.b.failed[0] ? t.b.failed : "it could not be started";
	int fd = lease_fd(t.b.d.pid);
	if (fd < 0 || lease_open(&t.lease, fd, &why) != OK)
		return "the keeper has no lease";
	close(fd);
	pid_t old = daemon_worker(&t.b.d);
	if (pthread_create(&holder, NULL, hold, NULL) != 0)
		return "no thread";
	daemon_nap(50);
	kill_one(t.b.d.pid, SIGSTOP); // a keeper that has another worker ready would be before us
	kill_one(old, SIGKILL);
	for (unsigned i = 0; i < 4000 && !t.held; i++)
		daemon_nap(1);
	kill_one(t.b.d.pid, SIGCONT);
	bool ok = t.held && lan_put(&t.lan, 0, 0, t.lan.mac[1], 200);
	pid_t now = -1;
	for (unsigned i = 0; i < 4000 && (now <= 0 || now == old); i++, daemon_nap(1))
		now = daemon_worker(&t.b.d);
	for (unsigned i = 0; ok && i < HELD_MS && !*early; i++, daemon_nap(1))
		*early = moved();
	bool waits = daemon_worker(&t.b.d) == now && now > 0;
	t.give = true;
	pthread_join(holder, NULL);
	if (!ok || *early)
		return ok ? NULL : "the slot could not be had, or no frame sent";
	if (!waits)
		return "the worker that waited did not live";
	if (!lan_get(&t.lan, 1, 0, t.lan.seq, 5000) || !lan_both(&t.lan, 3))
		return t.b.failed;
	return fe_barrier(t.lan.fe[0]) == FE_OK && fe_barrier(t.lan.fe[1]) == FE_OK ? NULL : "a connection was lost";
}

int main(int argc, char **argv)
{
	bool caught = argc > 1 && strcmp(argv[1], "--caught") == 0, early = false;
	if (argc < 2 + caught) {
		fprintf(stderr, "usage: keeper_lease [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	const char *wrong = run(argv[1 + caught], &early);
	printf("keeper_lease: %s\n", wrong ? wrong : early ? "a frame moved while a slot was held" : "no frame moved before the slot was free");
	lan_close(&t.lan);
	lease_close(t.lease);
	daemon_kill(&t.b.d);
	if (wrong)
		daemon_tell(&t.b.d);
	daemon_clean(&t.b.d);
	return wrong ? 3 : early == caught ? 0 : 1;
}
