// The memory table and the dirty log.
#include <string.h>

#include "base/fd.h"
#include "base/nudge.h"
#include "dev/dev_int.h"

// It is refused, with the table or with the log, whichever comes last. (QEMU sends the larger log before the larger table.)
enum err dev_log_covers(const struct mem_map *mem, uint64_t log_bytes, struct why *why)
{
	for (unsigned i = 0; mem && i < mem->n; i++) {
		uint64_t last = (mem->region[i].gpa + mem->region[i].size - 1) >> DIRTY_PAGE_SHIFT;
		if (last / 8 >= log_bytes)
			return refuse(why, "a log of %llu bytes does not cover memory up to 0x%llx", (unsigned long long)log_bytes,
				      (unsigned long long)(mem->region[i].gpa + mem->region[i].size));
	}
	return OK;
}

enum err dev_on_set_mem_table(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	const struct vu_memory *m = &req->body->memory;
	struct mem_spec spec[VU_MAX_REGIONS];
	for (uint32_t i = 0; i < m->n; i++) {
		spec[i] = (struct mem_spec){ m->region[i].guest_addr, m->region[i].size, m->region[i].user_addr,
					     m->region[i].mmap_offset };
		txn->next.region[i] = (struct snap_region){ m->region[i].guest_addr, m->region[i].size, m->region[i].user_addr,
							    m->region[i].mmap_offset, req->msg->seq, i };
	}
	for (uint32_t i = m->n; i < SNAP_MAX_REGIONS; i++)
		txn->next.region[i] = (struct snap_region){ 0 };
	txn->next.n_regions = m->n;
	enum err e = mem_build(&txn->mem, spec, req->msg->fds, m->n, dev->conf.any_memory, why);
	if (e != OK)
		return e;
	txn->mem_set = true;
	return dev->log ? dev_log_covers(txn->mem, dev->log->n_bytes, why) : OK;
}

enum err dev_on_set_log_base(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	const struct vu_log *l = &req->body->log;
	enum err e = dev_log_covers(dev->mem, l->size, why);
	if (e == OK)
		e = dirty_open(&txn->log, req->msg->fds[0], l->size, l->offset, dev->conf.any_memory, why);
	if (e != OK)
		return e;
	atomic_store(&txn->log->doorbell, dev->log_fd);
	txn->log_set = true;
	txn->next.has_log = true;
	txn->next.log_size = l->size;
	txn->next.log_offset = l->offset;
	txn->next.log_from = req->msg->seq;
	txn->log_echo = *l;
	return OK;
}

enum err dev_on_set_log_fd(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	if (!nudge_is_eventfd(req->msg->fds[0]))
		return refuse(why, "descriptor is not an eventfd");
	if (fd_set_nonblock(req->msg->fds[0], true) != 0)
		return refuse(why, "descriptor can't be made non-blocking");
	txn->fd_kind = DEV_FD_LOG;
	txn->next.bell_from = req->msg->seq;
	txn->fd = fd_take(&req->msg->fds[0]);
	return OK;
}
