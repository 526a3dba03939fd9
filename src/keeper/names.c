// Things in custody by name: what listens is watched, and each worker hears of all.
#include <sys/epoll.h>

#include "keeper/inner.h"

void name_drop(struct keeper *k, const char *text)
{
	const struct name *n = custody_named(&k->held, text);
	if (n && n->listens)
		epoll_ctl(k->ep, EPOLL_CTL_DEL, n->fd, NULL);
	custody_drop(&k->held, text);
}

void name_put(struct keeper *k, const char *text, int fd, bool listens)
{
	name_drop(k, text);
	const struct name *n = custody_put(&k->held, text, fd, listens);
	if (n && listens)
		keeper_watch(k, fd, WATCH_NAME, (unsigned)(n - k->held.name), EPOLLIN, true);
}

void names_watch(struct keeper *k)
{
	for (unsigned i = 0; i < CUSTODY_MAX_NAMES; i++)
		if (k->held.name[i].fd >= 0 && k->held.name[i].listens)
			keeper_watch(k, k->held.name[i].fd, WATCH_NAME, i, EPOLLIN, true);
}

bool names_tell(struct keeper *k)
{
	struct why why;
	for (struct name *n = k->held.name; n < k->held.name + CUSTODY_MAX_NAMES; n++) {
		if (n->fd < 0 || n->told)
			continue;
		if (kp_tell(k->me.sock, KP_NAMED, n->listens ? KP_LISTEN : 0, n->text, n->fd, &why) != OK)
			return false;
		n->told = true;
	}
	return true;
}
