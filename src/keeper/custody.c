// What is kept for workers: things by name, and the descriptors of each connection by the message that brought them. A row of the store
// refers to a descriptor by that name; so what no row names any more is closed, and nothing else decides it.
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "keeper/inner.h"

static struct name *find(struct keeper *k, const char *text)
{
	for (unsigned i = 0; i < KEEPER_MAX_NAMES; i++)
		if (k->name[i].fd >= 0 && strcmp(k->name[i].text, text) == 0)
			return &k->name[i];
	return NULL;
}

void custody_drop(struct keeper *k, const char *text)
{
	struct name *n = find(k, text);
	if (!n)
		return;
	// off the list by hand: other processes may have the same open file, and closing ours then ends no watch
	if (n->listens)
		epoll_ctl(k->ep, EPOLL_CTL_DEL, n->fd, NULL);
	fd_reset(&n->fd);
}

void custody_put(struct keeper *k, const char *text, int fd, bool listens)
{
	struct name *n = k->name;
	custody_drop(k, text);
	while (n < k->name + KEEPER_MAX_NAMES && n->fd >= 0)
		n++;
	if (n == k->name + KEEPER_MAX_NAMES || strlen(text) >= sizeof(n->text) || !text[0] || fd < 0) {
		log_err("keeper: '%.40s' can't be kept: it will not outlive the worker", text);
		fd_reset(&fd);
		return;
	}
	strcpy(n->text, text);
	n->fd = fd;
	n->listens = listens;
	n->told = true; // by whoever put it
	if (listens)
		keeper_watch(k, fd, WATCH_NAME, (unsigned)(n - k->name), EPOLLIN, true);
}

bool custody_tell(struct keeper *k)
{
	struct why why;
	for (unsigned i = 0; i < KEEPER_MAX_NAMES; i++) {
		struct name *n = &k->name[i];
		if (n->fd < 0 || n->told)
			continue;
		if (kp_tell(k->sock, KP_NAMED, n->listens ? KP_LISTEN : 0, n->text, n->fd, &why) != OK)
			return false;
		n->told = true;
	}
	return true;
}

static bool named(const struct kp_ref *ref, unsigned n, uint64_t seq, uint32_t place)
{
	for (unsigned i = 0; i < n; i++)
		if (ref[i].seq == seq && ref[i].place == place)
			return true;
	return false;
}

void custody_keep_only(struct conn *c, const struct kp_ref *ref, unsigned n)
{
	unsigned to = 0;
	for (unsigned i = 0; i < c->n_kept; i++) {
		if (named(ref, n, c->kept[i].ref.seq, c->kept[i].ref.place))
			c->kept[to++] = c->kept[i];
		else
			fd_reset(&c->kept[i].fd);
	}
	c->n_kept = to;
	for (unsigned i = 0; i < c->n_fds; i++)
		if (named(ref, n, c->seq, i) && c->n_kept < KP_MAX_KEPT)
			c->kept[c->n_kept++] = (struct kept){ { c->seq, i, 0 }, fd_take(&c->fds[i]) };
}

const struct kept *custody_find(const struct conn *c, uint64_t seq)
{
	for (unsigned i = 0; i < c->n_kept; i++)
		if (c->kept[i].ref.seq == seq)
			return &c->kept[i];
	return NULL;
}

void custody_release(struct conn *c)
{
#ifdef VRINGD_MUTANT_PINNED // seeded bug: forgotten, and not closed
	c->n_kept = 0;
#endif
	for (unsigned i = 0; i < c->n_kept; i++)
		fd_reset(&c->kept[i].fd);
	c->n_kept = 0;
	fd_reset_all(c->fds, VU_MAX_FDS);
	c->n_fds = 0;
}
