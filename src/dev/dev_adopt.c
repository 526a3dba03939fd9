// Going on with a connection whose process died. All that is needed is in the snapshot that it committed last, in the
// descriptors that somebody kept, and in guest memory. Not trusted: any of them (a row may be damaged, or made by a
// process that was taken over). Must never happen: a ring that runs before its pages are logged again, a position that is
// a guess where guest memory knows it, a half-built device.
//
// What a device knows beside its snapshot, and what becomes of it:
// - The position of a ring that ran since it started: ring_resume (used.idx; a packed one's ledger), however far that is
//   from the base in the snapshot, which is history then. Of one that did not: as at any start. A crash between the commit
//   of a start and the start itself looks like a ring that ran: with a base that fits used.idx both give the same place,
//   with one that does not (VBASE_WILD) used.idx is believed.
// - has_at, at: a ring that rests behind the log gate can't move, so its place is looked up when it is adopted. If its
//   memory is not there just now, it is looked up when it starts; a stop before that answers its base.
// - The log gate follows from features and has_log, as always.
// - unstored: whoever keeps our replies knows that the rows are behind (dev_reply), and lets nobody adopt them.
// - negotiated: true if features were acknowledged; told at most once.
// - A memory table without regions counts as none; rings can be in neither.
// - Pages logged and missed are counted from 0 again. A broken ring, a call that was given up: found out again.
// - The last message: its reply is stored. Whether its effect had begun does not matter, the snapshot has it already.
//   What it told by an event may be lost.
#include <fcntl.h>
#include <string.h>

#include "base/bits.h"
#include "base/crash.h"
#include "base/fd.h"
#include "base/nudge.h"
#include "dev/dev_int.h"
#include "guest/relog.h"

// Rows that fail here are not believed in anything: not in which file is the log either.
static enum err check_rows(const struct dev *dev, const struct dev_adoption *a, struct why *why)
{
	const struct snap *s = a->snap;
	enum err e = snap_check(s, why);
	if (e != OK)
		return e;
	if (strcmp(s->port, dev->conf.port) != 0 || s->epoch != dev->conf.epoch)
		return refuse(why, "stored connection %llu is another one, of port %s", (unsigned long long)s->epoch,
			      s->port);
	if (a->reply_len > DEV_REPLY_MAX || (a->reply_len != 0 && a->reply_len < sizeof(struct vu_hdr)))
		return refuse(why, "stored reply has %u bytes", a->reply_len);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		if (s->ring[q].addr_flags & ~VU_VRING_F_LOG)
			return refuse(why, "ring %u: stored flags 0x%x are unknown", q, s->ring[q].addr_flags);
	return OK;
}

// What was fine for the process before us, and may not be for this one: another version, another configuration.
enum err dev_adoptable(const struct snap *s, unsigned pairs, struct why *why)
{
	uint64_t foreign = s->features_acked & ~dev_features_supported();
	uint64_t proto = s->protocol_features & ~dev_protocol_features_supported();
	const char *name = foreign ? dev_feature_name((unsigned)__builtin_ctzll(foreign)) :
			   proto   ? dev_protocol_feature_name((unsigned)__builtin_ctzll(proto)) :
				     NULL;
	if (foreign || proto)
		return refuse(why, "%s (features 0x%llx, protocol features 0x%llx) is in use: this version has not got it", name ? name : "a bit",
			      (unsigned long long)foreign, (unsigned long long)proto);
	for (unsigned q = 2 * pairs; q < SNAP_MAX_RINGS; q++) {
		const struct snap_ring *r = &s->ring[q];
		if (r->num || r->has_addr || r->started || r->kick || r->call || r->err)
			return refuse(why, "ring %u is in use, and there are %u now", q, 2 * pairs);
	}
	return OK;
}

static int kept(const struct dev_adoption *a, uint64_t from, uint32_t n)
{
	return from == 0 ? -1 : a->fd(a->fd_arg, from, n);
}

static enum err missing(const char *what, unsigned q, uint64_t from, struct why *why)
{
	return refuse(why, "%s %u: nobody has kept its descriptor (of message %llu)", what, q, (unsigned long long)from);
}

static enum err adopt_log(struct dev *dev, const struct dev_adoption *a, struct why *why)
{
	const struct snap *s = a->snap;
	if (!s->has_log)
		return OK;
	int fd = kept(a, s->log_from, 0);
	if (fd < 0)
		return missing("log", 0, s->log_from, why);
	return dirty_open(&dev->log, fd, s->log_size, s->log_offset, dev->conf.any_memory, why);
}

static enum err adopt_memory(struct dev *dev, const struct dev_adoption *a, struct why *why)
{
	const struct snap *s = a->snap;
	struct mem_spec spec[SNAP_MAX_REGIONS];
	int fds[SNAP_MAX_REGIONS];
	for (uint32_t i = 0; i < s->n_regions; i++) {
		const struct snap_region *g = &s->region[i];
		spec[i] = (struct mem_spec){ g->guest_addr, g->size, g->user_addr, g->mmap_offset };
		fds[i] = kept(a, g->from, g->from_n);
		crash_poison("region", dev->conf.port, i);
		if (fds[i] < 0)
			return missing("region", i, g->from, why);
	}
	enum err e = s->n_regions ? mem_build(&dev->mem, spec, fds, s->n_regions, dev->conf.any_memory, why) : OK;
	return e == OK && dev->log ? dev_log_covers(dev->mem, dev->log->n_bytes, why) : e;
}

// A duplicate of an eventfd that was kept. The process before us has checked it; the row says so, and may be wrong.
static enum err adopt_notifier(const struct dev_adoption *a, uint8_t how, uint64_t from, const char *what, unsigned q,
			       int *slot, struct why *why)
{
	if (how != SNAP_FD_GIVEN)
		return OK;
	int fd = kept(a, from, 0);
	if (fd < 0)
		return missing(what, q, from, why);
	enum err e = dev_check_notifier(fd, q, why);
	if (e != OK)
		return e;
	*slot = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *slot >= 0 ? OK : ours(why, "%s %u: no descriptor is free", what, q);
}

static enum err adopt_notifiers(struct dev *dev, const struct dev_adoption *a, struct why *why)
{
	const struct snap *s = a->snap;
	uint8_t bell = s->bell_from ? SNAP_FD_GIVEN : SNAP_FD_UNSET;
	enum err e = adopt_notifier(a, bell, s->bell_from, "log's eventfd", 0, &dev->log_fd, why);
	if (e == OK && dev->log)
		atomic_store(&dev->log->doorbell, dev->log_fd);
	for (unsigned q = 0; e == OK && q < dev->n_rings; q++) {
		const struct snap_ring *r = &s->ring[q];
		e = adopt_notifier(a, r->kick, r->kick_from, "kick of ring", q, &dev->ring[q].kick, why);
		if (e == OK)
			e = adopt_notifier(a, r->call, r->call_from, "call of ring", q, &dev->ring[q].call, why);
		if (e == OK)
			e = adopt_notifier(a, r->err, r->err_from, "err of ring", q, &dev->ring[q].err, why);
	}
	return e;
}

static enum dev_want want(const struct dev *dev, unsigned q)
{
	return dev_ring_want(&dev->snap, q, dev->mem != NULL, dev->log != NULL);
}

// Those that run, and those that ran and rest: of these only the place is wanted, and a later message may still make them
// right.
static enum err adopt_rings(struct dev *dev, struct why *why)
{
	struct dev_txn txn = { .next = dev->snap, .fd = -1 };
	for (unsigned q = 0; q < dev->n_rings; q++) {
		bool runs = want(dev, q) != DEV_WANT_NO;
		if (!runs && !(dev->snap.ring[q].ran && dev->mem))
			continue;
		enum err e = dev_ring_build(dev, &txn, q, why);
		if (e != OK && (runs || e != REFUSED))
			return e;
		dev->ring[q].ring = e == OK ? txn.ring[q] : NULL;
	}
	return OK;
}

enum err dev_adopt(struct dev **out, const struct dev_conf *conf, const struct dev_ops *ops, void *arg,
		   const struct dev_adoption *a, struct why *why)
{
	*out = NULL;
	struct dev *dev = dev_new(conf, ops, arg);
	if (!dev)
		return ours(why, "no memory for a device");
	crash_poison("adopt", conf->port, 0);
	enum err e = check_rows(dev, a, why);
	if (e == OK) {
		dev->snap = *a->snap;
		dev->conf.features = a->snap->features_offered & dev_features_supported();
		dev->conf.protocol_features |= a->snap->protocol_features;
		dev->negotiated = a->snap->has_features;
		dev->applied = a->applied;
		dev->applied_len = a->reply_len;
		if (a->reply_len)
			memcpy(dev->applied_reply, a->reply, a->reply_len);
		e = adopt_log(dev, a, why); // first: if anything else fails, it is filled
	}
	if (e == OK)
		e = dev_adoptable(a->snap, dev->n_rings / 2, why);
	if (e == OK)
		e = adopt_memory(dev, a, why);
	if (e == OK)
		e = adopt_notifiers(dev, a, why);
	if (e == OK)
		e = adopt_rings(dev, why);
	if (e != OK) {
		dev_give_up(dev);
		dev_free(dev);
		return e;
	}
	*out = dev;
	return OK;
}

void dev_adopt_run(struct dev *dev)
{
	bool logged = true;
	crash_poison("run", dev->conf.port, 0);
	for (unsigned q = 0; q < dev->n_rings; q++) {
		struct vring *ring = dev->ring[q].ring;
		if (!ring)
			continue;
		bool ran = dev->snap.ring[q].ran, sure = dev_ring_place(dev, q, ring, ran);
		if (ran && !ring_relog(ring, sure))
			logged = false;
	}
	if (dev->log && (!logged || dev_memory_broken(dev)))
		dev_log_fill(dev);
	crash_here(CRASH_adopt_logged);
	for (unsigned q = 0; q < dev->n_rings; q++) {
		struct dev_ring *r = &dev->ring[q];
		if (!r->ring)
			continue;
		r->now = want(dev, q);
		if (r->now == DEV_WANT_NO) {
			r->has_at = true;
			r->at = ring_base(r->ring);
			ring_free(r->ring);
			r->ring = NULL;
		} else {
			dev_ring_finish(dev, q, r->ring, false);
			enum dev_run how = r->now == DEV_WANT_RUN ? DEV_RUN : DEV_DISCARD;
			dev->ops->ring_publish(dev->arg, q, r->ring, r->kick, how);
		}
	}
}
