// The orders in which QEMU sends its messages: connect, device start, device stop, logging on and off.
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "driver/fe.h"

#define TRY(call)                             \
	do {                                  \
		enum fe_res try_res = (call); \
		if (try_res != FE_OK)         \
			return try_res;       \
	} while (0)

static enum fe_res fe_tell_u64(struct fe *fe, bool ask, uint32_t id, uint64_t value)
{
	return fe_tell(fe, ask, id, &value, sizeof(value), NULL, 0);
}

static enum fe_res fe_tell_state(struct fe *fe, bool ask, uint32_t id, unsigned q, uint32_t num)
{
	struct vu_state st = {.index = q, .num = num};
	return fe_tell(fe, ask, id, &st, sizeof(st), NULL, 0);
}

// Give ring q a new eventfd of the kind that id names.
static enum fe_res fe_ring_fd(struct fe *fe, unsigned q, uint32_t id, int *slot, uint64_t count)
{
	int fd = eventfd((unsigned)count, EFD_CLOEXEC | EFD_NONBLOCK);
	fd_replace(slot, fd);
	uint64_t index = q;
	return fe_tell(fe, false, id, &index, sizeof(index), &fd, 1);
}

enum fe_res fe_ring_call(struct fe *fe, unsigned q)
{
	if (!fe->conf.poll_call)
		return fe_ring_fd(fe, q, 13, &fe->ring[q].call, 0);
	fd_reset(&fe->ring[q].call);
	return fe_tell_u64(fe, false, 13, q | VU_RING_NOFD);
}

static enum fe_res fe_connect_pair(struct fe *fe, unsigned p)
{
	TRY(fe_get_u64(fe, 1, &fe->offered));
	if (bits_has(fe->offered, VHOST_USER_F_PROTOCOL_FEATURES)) {
		TRY(fe_get_u64(fe, 15, &fe->protocol_offered));
		uint64_t want = fe->protocol_offered & fe->conf.protocol;
		// Not acknowledged by need_reply: REPLY_ACK comes into force only with it.
		if (!fe_send(fe, 16, 0, &want, sizeof(want), NULL, 0))
			return FE_CLOSED;
		fe->protocol = want;
		if (p == 0 && bits_has(want, VU_PF_MQ))
			TRY(fe_get_u64(fe, 17, &fe->queue_num));
	}
	if (p == 0)
		TRY(fe_tell(fe, false, 3, NULL, 0, NULL, 0));
	TRY(fe_get_u64(fe, 1, &fe->offered));
	for (unsigned q = 2 * p; q < 2 * p + 2; q++) {
		TRY(fe_ring_call(fe, q));
		TRY(fe_ring_fd(fe, q, 14, &fe->ring[q].err, 0));
	}
	return FE_OK;
}

enum fe_res fe_negotiate(struct fe *fe)
{
	fe->protocol = 0;
	for (unsigned p = 0; p < fe->conf.pairs; p++)
		TRY(fe_connect_pair(fe, p));
	fe->features = fe->offered & fe->conf.features & ~BIT64(VHOST_F_LOG_ALL);
	if (bits_has(fe->offered, VHOST_USER_F_PROTOCOL_FEATURES))
		fe->features |= BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	if (fe->conf.packed && !bits_has(fe->features, VIRTIO_F_RING_PACKED))
		return fe_fail(fe, FE_NACK, "packed rings are not offered");
	return FE_OK;
}

void fe_driver_reset(struct fe *fe, uint16_t base)
{
	for (unsigned q = 0; q < fe->rings; q++) {
		fe->ring[q].vq.in_order = bits_has(fe->features, VIRTIO_F_IN_ORDER);
		vq_reset(&fe->ring[q].vq, base, bits_has(fe->features, VIRTIO_F_EVENT_IDX));
		fe->ring[q].base = vq_base(&fe->ring[q].vq);
	}
}

enum fe_res fe_send_features(struct fe *fe)
{
	bool log = fe->log_fd >= 0;
	return fe_tell_u64(fe, log, 2, fe->features | (log ? BIT64(VHOST_F_LOG_ALL) : 0));
}

enum fe_res fe_set_mem(struct fe *fe)
{
	struct vu_memory table;
	int fds[VU_MAX_FDS];
	uint32_t size = gmem_table(fe->mem, &table, fds);
	return fe_tell(fe, true, 5, &table, size, fds, table.n);
}

enum fe_res fe_ring_addr(struct fe *fe, unsigned q)
{
	const struct vq *v = &fe->ring[q].vq;
	bool log = fe->log_fd >= 0;
	struct vu_addr a = {
		.index = q,
		.flags = log ? VU_VRING_F_LOG : 0,
		.desc = gmem_uaddr(fe->mem, v->desc_gpa),
		.used = gmem_uaddr(fe->mem, v->used_gpa),
		.avail = gmem_uaddr(fe->mem, v->avail_gpa),
		.log = fe->conf.log_ring ? v->desc_gpa : v->used_gpa,
	};
	return fe_tell(fe, log, 9, &a, sizeof(a), NULL, 0);
}

enum fe_res fe_ring_enable(struct fe *fe, unsigned q, bool on)
{
	return fe_tell_state(fe, fe->conf.style != FE_QEMU72, 18, q, on);
}

enum fe_res fe_ring_start(struct fe *fe, unsigned q)
{
	struct fe_ring *r = &fe->ring[q];
	TRY(fe_tell_state(fe, false, 8, q, r->vq.size));
	TRY(fe_tell_state(fe, false, 10, q, r->base));
	TRY(fe_ring_addr(fe, q));
	TRY(fe_ring_fd(fe, q, 12, &r->kick, fe->conf.kick_count));
	r->vq.kick = r->kick;
	r->running = true;
	return fe_ring_call(fe, q);
}

enum fe_res fe_log_base(struct fe *fe, int fd, uint64_t size, uint64_t offset)
{
	struct vu_log log = {.size = size, .offset = offset};
	struct conn_msg msg;
	if (!fe_send(fe, 6, 0, &log, sizeof(log), &fd, 1))
		return FE_CLOSED;
	// The content of the reply is undefined by the specification; that there is one is not.
	TRY(fe_recv(fe, &msg, 6));
	fe->log_fd = fd;
	fe->log_size = size;
	fe->log_offset = offset;
	return FE_OK;
}

enum fe_res fe_start(struct fe *fe)
{
	if (fe->conf.mtu != 0 && bits_has(fe->features, VIRTIO_NET_F_MTU) && bits_has(fe->protocol, VU_PF_MTU))
		TRY(fe_tell_u64(fe, true, 20, fe->conf.mtu));
	for (unsigned p = 0; p < fe->conf.pairs; p++) {
		if (bits_has(fe->features, VHOST_USER_F_PROTOCOL_FEATURES)) {
			TRY(fe_ring_enable(fe, 2 * p, true));
			TRY(fe_ring_enable(fe, 2 * p + 1, true));
		}
		TRY(fe_send_features(fe));
		if (p == 0)
			TRY(fe_set_mem(fe));
		TRY(fe_ring_start(fe, 2 * p));
		TRY(fe_ring_start(fe, 2 * p + 1));
		if (fe->log_fd >= 0 && (p == 0 || fe->conf.style == FE_QEMU72))
			TRY(fe_log_base(fe, fe->log_fd, fe->log_size, fe->log_offset));
	}
	// QEMU goes on at once; a test wants to know that all of it was handled.
	return fe_barrier(fe);
}

enum fe_res fe_stop(struct fe *fe)
{
	for (unsigned q = 0; q < fe->rings; q++) {
		uint32_t num;
		TRY(fe_get_base(fe, q, &num));
		fe->ring[q].base = num;
		fe->ring[q].running = false;
		fd_reset(&fe->ring[q].kick);
		fe->ring[q].vq.kick = -1;
	}
	return FE_OK;
}

void fe_bases_from_memory(struct fe *fe)
{
	for (unsigned q = 0; q < fe->rings; q++)
		fe->ring[q].base = vq_base(&fe->ring[q].vq);
}

enum fe_res fe_log_start(struct fe *fe, int fd, uint64_t size, uint64_t offset)
{
	for (unsigned p = 0; p < fe->conf.pairs; p++) {
		if (p == 0 || fe->conf.style == FE_QEMU72)
			TRY(fe_log_base(fe, fd, size, offset));
		TRY(fe_send_features(fe));
		for (unsigned q = 2 * p; q < 2 * p + 2; q++)
			if (fe->ring[q].running)
				TRY(fe_ring_addr(fe, q));
	}
	if (!bits_has(fe->protocol, VU_PF_REPLY_ACK))
		return fe_barrier(fe);
	return FE_OK;
}

enum fe_res fe_log_stop(struct fe *fe)
{
	fe->log_fd = -1;
	for (unsigned p = 0; p < fe->conf.pairs; p++) {
		TRY(fe_send_features(fe));
		for (unsigned q = 2 * p; q < 2 * p + 2; q++)
			if (fe->ring[q].running)
				TRY(fe_ring_addr(fe, q));
	}
	return FE_OK;
}
