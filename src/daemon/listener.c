// The socket of a vhost-user port: listening, connecting, taking front ends in.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/core.h"
#include "daemon/kept.h"

#define RETRY_FIRST_US 500000
#define RETRY_MOST_US 5000000
#define BACKLOG 8

static void on_accept(void *arg, int fd, int ready)
{
	struct port *p = arg;
	(void)ready;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c >= 0) {
		port_on_connection(p, c);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_rated(&p->rate, LOG_LWARN, "port %s: accepting a front end: %s", p->spec.id, strerror(errno));
	watch_set(p->listen_watch, 0); // out of descriptors: the connection stays in the queue and would wake us for ever
	timer_arm(p->retry, RETRY_FIRST_US);
}

static void on_listen_again(void *arg)
{
	struct port *p = arg;
	watch_set(p->listen_watch, LOOP_READ);
}

static enum err listen_on(struct port *p, int fd, struct why *why)
{
	fd_set_cloexec(fd);
	if (fd_set_nonblock(fd, true) != 0)
		return ours(why, "%s", strerror(errno));
	p->listen_fd = fd;
	if (p->vd->kept) { // the keeper accepts
		kept_put(p->vd->kept, p->spec.id, fd, true);
		return OK;
	}
	p->retry = timer_new(p->vd->loop, on_listen_again, p);
	p->listen_watch = p->retry ? watch_new(p->vd->loop, fd, LOOP_READ, on_accept, p) : NULL;
	if (p->listen_watch)
		return OK;
	p->listen_fd = -1;
	return ours(why, "no memory");
}

// A socket that a dead daemon left is removed; one that somebody listens on, or anything else, is not.
static enum err clear_stale(const char *path, const struct sockaddr_un *sa, struct why *why)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return errno == ENOENT ? OK : ours(why, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return refuse(why, "%s is there and no socket: remove it or choose another path=", path);
	if (st.st_uid != geteuid())
		return refuse(why, "%s belongs to uid %u: remove it or choose another path=", path, (unsigned)st.st_uid);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = probe >= 0 ? connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) : -1;
	int e = errno;
	fd_reset(&probe);
	if (rc == 0 || e == EAGAIN)
		return refuse(why, "%s: another process listens there", path);
	if (unlink(path) != 0)
		return ours(why, "removing the stale socket %s: %s", path, strerror(errno));
	return OK;
}

// The port of ours that listens there: by its name, or by a link to it.
static const struct port *own_listener(const struct port *p)
{
	struct stat here, there;
	bool is = stat(p->path, &here) == 0;
	for (unsigned i = 0; i < p->vd->n_ports; i++) {
		const struct port *o = p->vd->port[i];
		if (o == p || !o->bound)
			continue;
		if (strcmp(o->path, p->path) == 0)
			return o;
		if (is && stat(o->path, &there) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino)
			return o;
	}
	return NULL;
}

// The socket that an earlier worker bound to this path, if it is this path's still.
static bool take_kept(struct port *p, struct why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa);
	struct stat st;
	int fd = kept_take(p->vd->kept, p->spec.id);
	if (fd < 0)
		return false;
	memset(sa.sun_path, 0, sizeof(sa.sun_path));
	bool same = getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && strncmp(sa.sun_path, p->path, sizeof(sa.sun_path)) == 0 &&
		    lstat(p->path, &st) == 0 && S_ISSOCK(st.st_mode);
	if (!same) // the configuration has another by now, or somebody removed it
		unlink(sa.sun_path[0] && strcmp(sa.sun_path, p->path) != 0 ? sa.sun_path : "");
	if (!same || listen_on(p, fd, why) != OK) {
		kept_drop(p->vd->kept, p->spec.id);
		fd_reset(&fd);
		return false;
	}
	p->bound = true;
	return true;
}

static enum err bind_path(struct port *p, struct why *why)
{
	if (take_kept(p, why))
		return OK;
	const struct port *own = own_listener(p);
	if (own) // asking the socket would be a front end to that port
		return refuse(why, "%s: port '%s' listens there", p->path, own->spec.id);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	memcpy(sa.sun_path, p->path, sizeof(sa.sun_path));
	enum err e = clear_stale(p->path, &sa, why);
	if (e != OK)
		return e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ours(why, "socket: %s", strerror(errno));
	mode_t old = umask(0177); // nobody else gets in before the rights are set
	int rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (rc != 0) {
		e = ours(why, "binding %s: %s", p->path, strerror(errno));
		fd_reset(&fd);
		return e;
	}
	p->bound = true;
	if ((p->spec.socket_gid >= 0 && chown(p->path, (uid_t)-1, (gid_t)p->spec.socket_gid) != 0) ||
	    chmod(p->path, p->spec.socket_mode) != 0 || listen(fd, BACKLOG) != 0) {
		e = ours(why, "%s: %s", p->path, strerror(errno));
		fd_reset(&fd);
		return e;
	}
	e = listen_on(p, fd, why);
	if (e != OK)
		fd_reset(&fd);
	return e;
}

static void on_retry(void *arg)
{
	struct port *p = arg;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	memcpy(sa.sun_path, p->path, sizeof(sa.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	p->connect_errno = 0;
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		if (p->retries)
			log_info("port %s: connected to %s", p->spec.id, p->path);
		p->retries = 0;
		port_on_connection(p, fd);
		return;
	}
	p->connect_errno = errno;
	if (p->retries++ == 0)
		log_info("port %s: connecting to %s: %s; trying on", p->spec.id, p->path, strerror(errno));
	fd_reset(&fd);
	uint64_t in = (uint64_t)RETRY_FIRST_US << (p->retries < 4 ? p->retries - 1 : 4);
	timer_arm(p->retry, in < RETRY_MOST_US ? in : RETRY_MOST_US);
	port_tell(p);
}

static enum err inherit(struct port *p, struct why *why)
{
	int listening = 0;
	socklen_t len = sizeof(listening);
	if (getsockopt(p->spec.fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0)
		return refuse(why, "fd=%d: %s", p->spec.fd, strerror(errno));
	if (listening)
		return listen_on(p, p->spec.fd, why);
	if (p->vd->kept) {
		if (kept_hello(p->vd->kept)->worker == 0) // later ones find it with the keeper, or not any more
			port_on_connection(p, fcntl(p->spec.fd, F_DUPFD_CLOEXEC, 3));
		return OK;
	}
	port_on_connection(p, p->spec.fd);
	return p->session[0] ? OK : ours(why, "fd=: the connection could not be taken");
}

// For who is told the path and is in another folder. What we bind stays as it was given: it may be short only so.
static char *whole_path(const char *path)
{
	char *cwd = path[0] != '/' ? getcwd(NULL, 0) : NULL, *whole = NULL;
	size_t size = cwd ? strlen(cwd) + strlen(path) + 2 : 0;
	if (cwd && (whole = malloc(size)))
		snprintf(whole, size, "%s/%s", cwd, path[0] == '.' && path[1] == '/' ? path + 2 : path);
	free(cwd);
	return whole;
}

enum err port_open_socket(struct port *p, struct why *why)
{
	if (p->spec.fd >= 0)
		return inherit(p, why);
	enum err e = spec_path(&p->spec, p->vd->runtime_dir, p->path, why);
	if (e != OK)
		return e;
	free(p->shown_path);
	p->shown_path = whole_path(p->path);
	if (p->spec.mode != SPEC_CLIENT)
		return bind_path(p, why);
	p->retry = timer_new(p->vd->loop, on_retry, p);
	if (!p->retry)
		return ours(why, "no memory");
	if (!adopt_expects(p) && !p->parked[0])
		timer_arm(p->retry, 0);
	return OK;
}

void port_close_socket(struct port *p)
{
	watch_free(p->listen_watch);
	p->listen_watch = NULL;
	if (p->listen_fd >= 0)
		kept_drop(p->vd->kept, p->spec.id);
	fd_reset(&p->listen_fd);
	timer_free(p->retry);
	p->retry = NULL;
	if (p->bound)
		unlink(p->path);
	p->bound = false;
}
