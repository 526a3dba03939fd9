// When a ring runs, and how a transition becomes true.
//
// A ring is given to the datapath iff: its kick was given and it was not stopped since (started), size and addresses are known
// and resolve, it is enabled (or was explicitly disabled: then transmit is consumed and discarded; never enabled yet: it is
// parked), and the log gate is open: with LOG_ALL acknowledged no frame moves before a log is mapped, or pages would be lost.
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "dev/dev_int.h"
#include "dirty/vbase.h"

static_assert(SNAP_MAX_RINGS <= LEDGER_RINGS, "a ledger for each ring of a connection");

enum dev_want dev_ring_want(const struct snap *s, unsigned q, bool has_mem, bool has_log)
{
	const struct snap_ring *r = &s->ring[q];
	if (!r->started || r->num == 0 || !r->has_addr || !has_mem || !s->has_features)
		return DEV_WANT_NO;
	if (bits_has(s->features_acked, VHOST_F_LOG_ALL) && !has_log)
		return DEV_WANT_NO;
	if (r->enabled)
		return DEV_WANT_RUN;
	return r->ever_disabled ? DEV_WANT_DISCARD : DEV_WANT_NO;
}

enum err dev_ring_build(struct dev *dev, struct dev_txn *txn, unsigned q, struct why *why)
{
	const struct snap_ring *r = &txn->next.ring[q];
	bool logs = bits_has(txn->next.features_acked, VHOST_F_LOG_ALL);
	struct vring_conf c = {
		.num = r->num,
		.features = txn->next.features_acked,
		.mem = txn->mem_set ? txn->mem : dev->mem,
		.desc_uaddr = r->desc,
		.avail_uaddr = r->avail,
		.used_uaddr = r->used,
		.log = !logs ? NULL : txn->log_set ? txn->log : dev->log,
		.log_used = (r->addr_flags & VU_VRING_F_LOG) != 0,
		.log_gpa = r->log,
		.ledger = dev->conf.ledgers ? &dev->conf.ledgers[q] : NULL,
		.call_fd = txn->fd_kind == DEV_FD_CALL && txn->fd_q == q ? txn->fd : dev->ring[q].call,
	};
	struct why inner = { "" };
	bool packed = dev_packed(&txn->next);
	uint64_t used_bytes = packed ? PEVENT_BYTES : VUSED_BYTES(r->num); // what the log address is the address of
	if (c.log && c.log_used && !sum_fits(r->log, used_bytes, c.log->n_bytes * 8 << DIRTY_PAGE_SHIFT))
		return refuse(why, "ring %u: log address 0x%llx is outside the log", q, (unsigned long long)r->log);
	enum err e = !packed ? vbase_check_split(r->base, &inner) : r->base_given ? vbase_check_packed(r->base, r->num, &inner) : OK;
	if (e == OK)
		e = ring_new(&txn->ring[q], &c, &inner);
	if (e == REFUSED)
		return refuse(why, "ring %u: %s", q, inner.text);
	return e == OK ? OK : ours(why, "ring %u: %s", q, inner.text);
}

// Does the vring object depend on something that changes?
static bool stale(const struct dev *dev, const struct dev_txn *txn, unsigned q)
{
	const struct snap_ring *a = &dev->snap.ring[q], *b = &txn->next.ring[q];
	return txn->mem_set || txn->log_set || dev->snap.features_acked != txn->next.features_acked || a->num != b->num ||
	       a->desc != b->desc || a->avail != b->avail || a->used != b->used || a->log != b->log ||
	       a->addr_flags != b->addr_flags;
}

enum err dev_ring_plan(struct dev *dev, struct dev_txn *txn, struct why *why)
{
	bool has_mem = txn->mem_set ? txn->mem != NULL : dev->mem != NULL;
	bool has_log = txn->log_set ? txn->log != NULL : dev->log != NULL;
	for (unsigned q = 0; q < dev->n_rings; q++) {
		enum dev_want now = dev->ring[q].now;
		txn->want[q] = dev_ring_want(&txn->next, q, has_mem, has_log);
		bool rebuild = txn->want[q] != DEV_WANT_NO && (now == DEV_WANT_NO || stale(dev, txn, q));
		if (txn->want[q] != DEV_WANT_NO)
			txn->next.ring[q].ran = true;
		bool starts = txn->next.ring[q].started && !dev->snap.ring[q].started;
		if (starts && txn->want[q] == DEV_WANT_NO && has_mem && txn->next.ring[q].has_addr && txn->next.ring[q].num) {
			// not enabled yet, but an address that leads nowhere is refused now
			enum err e = dev_ring_build(dev, txn, q, why);
			ring_free(txn->ring[q]);
			txn->ring[q] = NULL;
			if (e != OK)
				return e;
		}
		bool new_kick = txn->fd_kind == DEV_FD_KICK && txn->fd_q == q;
		if (rebuild) {
			enum err e = dev_ring_build(dev, txn, q, why);
			if (e != OK)
				return e;
		}
		if (now != DEV_WANT_NO && (rebuild || txn->want[q] != now || new_kick || (txn->mem_set && dev->mem)))
			txn->touch |= UINT32_C(1) << q;
	}
	return OK;
}

void dev_txn_abort(struct dev_txn *txn)
{
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		ring_free(txn->ring[q]);
	if (txn->mem_set)
		mem_free(txn->mem);
	if (txn->log_set)
		dirty_free(txn->log);
	fd_reset(&txn->fd);
}

// Where a split ring that starts afresh begins: at the base that was given, unless used.idx says that what lies between the two
// was never returned to the driver.
static uint32_t start_split(struct dev *dev, unsigned q, const struct vring *ring)
{
	const struct snap_ring *r = &dev->snap.ring[q];
	uint16_t base = (uint16_t)r->base, used = vring_used_idx(ring);
	if (!r->base_given)
		return used;
	switch (vbase_compare(base, used, r->num)) {
	case VBASE_EQUAL:
		break;
	case VBASE_AHEAD:
	case VBASE_BEHIND:
		dev_event(dev, DEV_EV_BASE_DIFFERS, q, "base %u differs from used.idx %u: starting at used.idx", base, used);
		return used;
	case VBASE_WILD:
		dev_event(dev, DEV_EV_BASE_DIFFERS, q, "base %u does not fit used.idx %u: starting at base", base, used);
		break;
	}
	return base;
}

// Where a packed one begins. No index in guest memory says it. A front end that lost us gives the base of the last clean stop,
// and the driver has gone on since: where the ring's flags leave no doubt that it is wrong, they are right.
static uint32_t start_packed(struct dev *dev, unsigned q, const struct vring *ring, bool *sure)
{
	const struct snap_ring *r = &dev->snap.ring[q];
	const struct pring *p = pring_of_const(ring);
	uint32_t found, base = r->base >> 16 ? r->base >> 16 : r->base & 0xffff; // the used half, see pring_restore
	bool told = pring_find(p, &found);
	base *= 0x10001u;
	*sure = told && (!r->base_given || found == base || !pring_admits(p, found, base));
	if (!r->base_given)
		return told ? found : RING_FRESH_PACKED;
	if (!told || pring_admits(p, found, base))
		return base;
	dev_event(dev, DEV_EV_BASE_DIFFERS, q, "base 0x%x, but the flags in the ring say 0x%x: starting there", base, found);
	return found;
}

bool dev_ring_place(struct dev *dev, unsigned q, struct vring *ring, bool ran)
{
	bool sure = true;
	if (dev->ring[q].has_at)
		ring_restore(ring, dev->ring[q].at);
	else if (!ran || !ring_resume(ring))
		ring_restore(ring, ring->packed ? start_packed(dev, q, ring, &sure) : start_split(dev, q, ring));
	return sure;
}

// used.idx says where a split ring is from its first moment on, so that it does after a crash: a base that has nothing to
// do with it (VBASE_WILD) is written there, and so is the place of a ring that was moved to where another one is said.
void dev_ring_finish(struct dev *dev, unsigned q, struct vring *ring, bool was_in)
{
	unsigned cut = ring->packed && !was_in ? pring_finish(pring_of(ring)) : 0;
	if (cut)
		dev_event(dev, DEV_EV_BASE_DIFFERS, q, "a batch of %u was cut short: its first buffer goes back empty", cut);
	if (!ring->packed && vring_used_idx(ring) != vring_position(ring).used)
		gwrite_publish_used(ring, NULL, 0);
}

// The old one is closed only when no data thread can ring it any more.
static void set_doorbell(struct dev *dev, int fd)
{
	int old = dev->log_fd;
	dev->log_fd = fd;
	if (dev->log) {
		atomic_store(&dev->log->doorbell, fd);
		dev->ops->sync(dev->arg);
	}
	fd_reset(&old);
}

static void swap_fd(struct dev *dev, struct dev_txn *txn)
{
	struct dev_ring *r = &dev->ring[txn->fd_q];
	int old = -1;
	switch (txn->fd_kind) {
	case DEV_FD_NONE:
		return;
	case DEV_FD_KICK: // the ring is out of the datapath
		fd_replace(&r->kick, fd_take(&txn->fd));
		return;
	case DEV_FD_ERR:
		fd_replace(&r->err, fd_take(&txn->fd));
		return;
	case DEV_FD_LOG:
		set_doorbell(dev, fd_take(&txn->fd));
		return;
	case DEV_FD_CALL: // a running ring goes on: publish the new one, wait, close the old one, signal the new one once
		old = r->call;
		r->call = fd_take(&txn->fd);
		if (r->ring) {
			vring_set_call(r->ring, r->call);
			dev->ops->sync(dev->arg);
			vring_call_now(r->ring);
		}
		fd_reset(&old);
		return;
	}
}

// Put ring q back, or in for the first time.
static void ring_in(struct dev *dev, struct dev_txn *txn, unsigned q, bool was_in, bool ran)
{
	struct dev_ring *r = &dev->ring[q];
	if (txn->ring[q]) {
		if (was_in)
			ring_restore(txn->ring[q], ring_base(r->ring));
		else
			dev_ring_place(dev, q, txn->ring[q], ran);
		dev_ring_finish(dev, q, txn->ring[q], was_in);
		ring_free(r->ring);
		r->ring = txn->ring[q];
		txn->ring[q] = NULL;
	}
	r->now = txn->want[q];
	dev->ops->ring_publish(dev->arg, q, r->ring, r->kick, r->now == DEV_WANT_RUN ? DEV_RUN : DEV_DISCARD);
}

static void tell(struct dev *dev, const struct snap *before)
{
	bool logged = bits_has(before->features_acked, VHOST_F_LOG_ALL);
	bool logs = bits_has(dev->snap.features_acked, VHOST_F_LOG_ALL), packed = dev_packed(&dev->snap);
	if (dev->snap.has_features && !dev->negotiated) {
		dev->negotiated = true;
		dev_event(dev, DEV_EV_NEGOTIATED, 0, "features 0x%llx", (unsigned long long)dev->snap.features_acked);
	}
	if (logs && !logged)
		dev_event(dev, DEV_EV_LOG_START, 0, "dirty logging starts");
	if (logged && !logs)
		dev_event(dev, DEV_EV_LOG_STOP, 0, "dirty logging ends");
	for (unsigned q = 0; q < dev->n_rings; q++) {
		if (dev->snap.ring[q].started && !before->ring[q].started)
			dev_event(dev, DEV_EV_RING_START, q, packed ? "started at 0x%x" : "started at %u", dev->snap.ring[q].base);
		if (!dev->snap.ring[q].started && before->ring[q].started)
			dev_event(dev, DEV_EV_RING_STOP, q, packed ? "stopped at 0x%x" : "stopped at %u", dev->snap.ring[q].base);
	}
}

void dev_apply(struct dev *dev, struct dev_txn *txn)
{
	struct snap before = dev->snap;
	uint32_t was_in = 0;
	for (unsigned q = 0; q < dev->n_rings; q++) {
		if (dev->ring[q].ring)
			was_in |= UINT32_C(1) << q;
		if (txn->touch & UINT32_C(1) << q)
			dev->ops->ring_retract(dev->arg, q, !txn->next.ring[q].started);
	}
	dev->snap = txn->next;
	swap_fd(dev, txn);
	for (unsigned q = 0; q < dev->n_rings; q++) {
		struct dev_ring *r = &dev->ring[q];
		bool in = (was_in >> q) & 1u;
		if (txn->want[q] != DEV_WANT_NO && (!in || (txn->touch >> q & 1u))) {
			ring_in(dev, txn, q, in, before.ring[q].ran);
		} else if (txn->want[q] == DEV_WANT_NO && in) {
			r->has_at = true;
			r->at = ring_base(r->ring);
			ring_free(r->ring);
			r->ring = NULL;
			r->now = DEV_WANT_NO;
		}
		if (!dev->snap.ring[q].started && before.ring[q].started) {
			r->has_at = false;
			if (dev->conf.ledgers) // after the commit: a worker that finds a started ring finds its place, too
				pring_forget(&dev->conf.ledgers[q]);
			fd_reset(&r->kick); // a stopped ring keeps nothing to wake it or to wake the guest by
			fd_reset(&r->call);
		}
	}
	if (txn->mem_set || txn->log_set) // no ring knows the old ones any more, and no thread is inside them
		dev->ops->sync(dev->arg);
	if (txn->mem_set) {
		mem_free(dev->mem);
		dev->mem = txn->mem;
	}
	if (txn->log_set) {
		if (dev->log) {
			dev->marked_past += atomic_load(&dev->log->marked);
			dev->missed_past += atomic_load(&dev->log->missed);
		}
		dirty_free(dev->log);
		dev->log = txn->log;
	}
	tell(dev, &before);
	if (txn->reset)
		dev_event(dev, DEV_EV_RESET, 0, "RESET_OWNER: all rings disabled");
	if (txn->rarp)
		dev->ops->rarp(dev->arg, txn->rarp_mac);
	fd_reset(&txn->fd);
}
