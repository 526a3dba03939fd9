// Rings: size, addresses, base, descriptors, enable, stop.
#include "base/fd.h"
#include "base/nudge.h"
#include "dev/dev_int.h"
#include "dirty/vbase.h"

enum err dev_on_set_vring_num(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	uint32_t num = req->body->state.num;
	if (num == 0 || num > VU_MAX_RING_SIZE || (!dev_packed(&dev->snap) && (num & (num - 1)) != 0))
		return refuse(why, "ring %u: size %u is not %s up to %u", req->q, num, dev_packed(&dev->snap) ? "a number" : "a power of two",
			      VU_MAX_RING_SIZE);
	txn->next.ring[req->q].num = num;
	return OK;
}

enum err dev_on_set_vring_addr(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	const struct vu_addr *a = &req->body->addr;
	uint32_t align = dev_packed(&dev->snap) ? 4 : 2; // an event area, or an avail ring
	struct snap_ring *r = &txn->next.ring[req->q];
	if (a->flags & ~VU_VRING_F_LOG)
		return refuse(why, "ring %u: flags 0x%x are unknown", req->q, a->flags);
	if (a->desc % 16 != 0 || a->avail % align != 0 || a->used % 4 != 0)
		return refuse(why, "ring %u: addresses are not aligned (desc 16, avail %u, used 4)", req->q, align);
	r->has_addr = true;
	r->addr_flags = a->flags;
	r->desc = a->desc;
	r->used = a->used;
	r->avail = a->avail;
	r->log = a->log;
	return OK; // a ring that runs is resolved anew at once, by dev_ring_plan
}

enum err dev_on_set_vring_base(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	struct why inner;
	const struct snap_ring *r = &dev->snap.ring[req->q];
	uint32_t base = req->body->state.num;
	// of a packed ring whose size was not told yet it is checked when the ring is built
	if ((dev_packed(&dev->snap) ? r->num ? vbase_check_packed(base, r->num, &inner) : OK : vbase_check_split(base, &inner)) != OK)
		return refuse(why, "ring %u: %s", req->q, inner.text);
	txn->next.ring[req->q].base = base;
	txn->next.ring[req->q].base_given = true;
	return OK;
}

// The stop. The ring leaves the datapath first, with everything that was fetched completed: only then is there a base, and
// base == used.idx.
enum err dev_on_get_vring_base(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)why;
	struct snap_ring *r = &txn->next.ring[req->q];
	if (!r->started) { // it never ran, or stands still already: nothing to stop, nothing to forget
		bool fresh = dev_packed(&dev->snap) && !r->base_given;
		txn->state = (struct vu_state){ .index = req->q, .num = fresh ? RING_FRESH_PACKED : r->base };
		return OK;
	}
	if (dev->ring[req->q].ring) {
		dev->ops->ring_retract(dev->arg, req->q, true);
		r->base = ring_base(dev->ring[req->q].ring);
	} else if (dev->ring[req->q].has_at) {
		r->base = dev->ring[req->q].at;
	} else if (dev_packed(&dev->snap) && !r->base_given) {
		r->base = RING_FRESH_PACKED; // parked since its start, and it was not told where
	}
	txn->state = (struct vu_state){ .index = req->q, .num = r->base };
	*r = (struct snap_ring){ .num = r->num, .base = r->base, .base_given = true, .enabled = r->enabled,
				 .ever_disabled = r->ever_disabled, .err = r->err, .err_from = r->err_from };
	bool any = false;
	for (unsigned q = 0; q < dev->n_rings; q++)
		any = any || txn->next.ring[q].started;
	if (!any && dev->log) {
		// the front end takes the log's last bits now and comes with a new one at the next start: what would be written
		// into this one then is never read. Without it the log gate is closed until SET_LOG_BASE.
		txn->log_set = true;
		txn->next.has_log = false;
		txn->next.log_size = txn->next.log_offset = txn->next.log_from = 0;
	}
	return OK;
}

enum err dev_check_notifier(int fd, unsigned q, struct why *why)
{
	if (!nudge_is_eventfd(fd))
		return refuse(why, "ring %u: descriptor is not an eventfd", q);
	if (fd_set_nonblock(fd, true) != 0)
		return refuse(why, "ring %u: descriptor can't be made non-blocking", q);
	return OK;
}

static enum err take_notifier(const struct dev_req *req, struct dev_txn *txn, enum dev_fd_kind kind, uint8_t *how, uint64_t *from,
			      struct why *why)
{
	bool none = (req->body->u64 & VU_RING_NOFD) != 0;
	if (!none) {
		enum err e = dev_check_notifier(req->msg->fds[0], req->q, why);
		if (e != OK)
			return e;
	}
	txn->fd_kind = kind;
	txn->fd_q = req->q;
	txn->fd = none ? -1 : fd_take(&req->msg->fds[0]);
	*how = none ? SNAP_FD_POLL : SNAP_FD_GIVEN;
	*from = none ? 0 : req->msg->seq;
	return OK;
}

enum err dev_on_set_vring_kick(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	struct snap_ring *r = &txn->next.ring[req->q];
	r->started = true;
	return take_notifier(req, txn, DEV_FD_KICK, &r->kick, &r->kick_from, why);
}

enum err dev_on_set_vring_call(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	struct snap_ring *r = &txn->next.ring[req->q];
	return take_notifier(req, txn, DEV_FD_CALL, &r->call, &r->call_from, why);
}

enum err dev_on_set_vring_err(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	struct snap_ring *r = &txn->next.ring[req->q];
	return take_notifier(req, txn, DEV_FD_ERR, &r->err, &r->err_from, why);
}

enum err dev_on_set_vring_enable(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	uint32_t on = req->body->state.num;
	if (on > 1)
		return refuse(why, "ring %u: enable %u is neither 0 nor 1", req->q, on);
	txn->next.ring[req->q].enabled = on == 1;
	txn->next.ring[req->q].ever_disabled = on == 0;
	return OK;
}
