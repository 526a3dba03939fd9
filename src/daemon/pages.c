// Shared pages that outlive a worker: who may touch rings, where packed rings stand, how connections stand with their ports, what was counted, frames
// that are held. The first worker makes each and puts it with the keeper; the ones after it find it there.
#include "base/crash.h"
#include "base/fd.h"
#include "base/lease.h"
#include "daemon/core.h"
#include "daemon/kept.h"
#include "guest/ledger.h"
#include "switch/counters.h"
#include "switch/held.h"

// Nothing is built on rings before the last worker is known to be gone, whatever it is that keeps it.
#define LEASE_WAIT_MS 10000

typedef enum err make_fn(int *fd, struct why *why);

static enum err page_fd(struct vd *vd, const char *name, make_fn *make, int *fd, struct why *why)
{
	*fd = kept_take(vd->kept, name);
	if (*fd >= 0)
		return OK;
	enum err e = make(fd, why);
	if (e == OK)
		kept_put(vd->kept, name, *fd, false);
	return e;
}

static enum err open_lease(struct vd *vd, struct why *why)
{
	int fd;
	enum err e = page_fd(vd, KEPT_LEASE, lease_make, &fd, why);
	if (e == OK)
		e = lease_open(&vd->lease, fd, why);
#ifdef VRINGD_MUTANT_NO_LEASE // seeded bug: nobody is asked who may still write guest memory
	lease_close(vd->lease);
	vd->lease = NULL;
	fd_reset(&fd);
	return e;
#endif
	if (e == OK)
		e = lease_await_all(vd->lease, LEASE_WAIT_MS, why);
	crash_here(CRASH_adopt_leased);
	fd_reset(&fd);
	return e;
}

static enum err open_ledgers(struct vd *vd, struct why *why)
{
	int fd;
	enum err e = page_fd(vd, KEPT_LEDGERS, ledgers_make, &fd, why);
	if (e == OK)
		e = ledgers_open(&vd->ledgers, fd, why);
	fd_reset(&fd);
	return e;
}

// Another version's page is no reason to stand still: counting begins anew.
static enum err open_counters(struct vd *vd, struct why *why)
{
	int fd;
	enum err e = page_fd(vd, KEPT_COUNTERS, counters_make, &fd, why);
	if (e == OK && counters_open(&vd->counters, fd, why) == REFUSED) {
		log_warn("%s: counters begin at 0", why->text);
		kept_drop(vd->kept, KEPT_COUNTERS);
		fd_reset(&fd);
		e = page_fd(vd, KEPT_COUNTERS, counters_make, &fd, why);
		if (e == OK)
			e = counters_open(&vd->counters, fd, why);
	}
	fd_reset(&fd);
	return e;
}

// Frames that are held. Another version's can't be read: they are lost, and counted by nobody.
static enum err open_held(struct vd *vd, uint64_t total, struct why *why)
{
	int fd = kept_take(vd->kept, KEPT_HELD);
	enum err e = fd >= 0 ? held_open(&vd->held, fd, total, why) : REFUSED;
	if (e == REFUSED && fd >= 0) {
		log_warn("%s: held frames are lost", why->text);
		kept_drop(vd->kept, KEPT_HELD);
		fd_reset(&fd);
	}
	if (e == REFUSED && (e = held_make(&fd, total, why)) == OK) {
		kept_put(vd->kept, KEPT_HELD, fd, false);
		e = held_open(&vd->held, fd, total, why);
	}
	fd_reset(&fd);
	return e;
}

// Without it a connection is taken over as one whose guest runs if its rings do.
static enum err open_standings(struct vd *vd, struct why *why)
{
	int fd;
	enum err e = page_fd(vd, KEPT_STANDING, standings_make, &fd, why);
	if (e == OK && standings_open(&vd->standings, fd, why) == REFUSED)
		log_warn("%s: it is gone on without", why->text);
	fd_reset(&fd);
	return e;
}

enum err pages_open(struct vd *vd, uint64_t hold_total, struct why *why)
{
	if (!vd->kept)
		return OK;
	enum err e = open_lease(vd, why);
	if (e == OK)
		e = open_ledgers(vd, why);
	if (e == OK)
		e = open_standings(vd, why);
	if (e == OK)
		e = open_counters(vd, why);
	return e == OK ? open_held(vd, hold_total, why) : e;
}

void pages_close(struct vd *vd)
{
	held_close(vd->held);
	counters_close(vd->counters);
	standings_close(vd->standings);
	ledgers_close(vd->ledgers);
	lease_close(vd->lease);
}
