#include "driver/fe.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

enum fe_res fe_fail(struct fe *fe, enum fe_res res, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(fe->err_text, sizeof(fe->err_text), fmt, ap);
	va_end(ap);
	return res;
}

static void fe_defaults(struct fe_conf *c)
{
	if (c->pairs == 0)
		c->pairs = 1;
	if (c->pairs > VU_MAX_PAIRS)
		c->pairs = VU_MAX_PAIRS;
	if (c->ring_size == 0)
		c->ring_size = 256;
	if (c->features == 0)
		c->features = FE_FEATURES;
	c->features &= ~BIT64(VIRTIO_F_RING_PACKED);
	if (c->packed)
		c->features |= BIT64(VIRTIO_F_RING_PACKED);
	if (c->protocol == 0)
		c->protocol = FE_PROTOCOL;
	if (c->timeout_ms == 0)
		c->timeout_ms = 5000;
}

struct fe *fe_new(const struct fe_conf *conf)
{
	struct fe *fe = calloc(1, sizeof(*fe));
	if (fe == NULL)
		return NULL;
	fe->conf = *conf;
	fe_defaults(&fe->conf);
	fe->sock = fe->log_fd = -1;
	for (unsigned q = 0; q < VU_MAX_RINGS; q++)
		fe->ring[q].kick = fe->ring[q].call = fe->ring[q].err = -1;
	fe->mem = gmem_new(&fe->conf.mem);
	fe->rings = 2 * fe->conf.pairs;
	bool ok = fe->mem != NULL;
	for (unsigned q = 0; ok && q < fe->rings; q++)
		ok = (fe->conf.packed ? vq_init_packed : vq_init)(&fe->ring[q].vq, fe->mem, 0, fe->conf.ring_size,
								  fe->conf.spread);
	if (!ok) {
		fe_free(fe);
		return NULL;
	}
	return fe;
}

void fe_free(struct fe *fe)
{
	if (fe == NULL)
		return;
	fe_disconnect(fe);
	for (unsigned q = 0; q < fe->rings; q++)
		vq_fini(&fe->ring[q].vq);
	gmem_free(fe->mem);
	free(fe);
}

bool fe_connect(struct fe *fe, const char *path)
{
	int sock = conn_connect(path, fe->conf.timeout_ms);
	if (sock < 0) {
		fe_fail(fe, FE_CLOSED, "connect %s: %m", path);
		return false;
	}
	fe_take(fe, sock);
	return true;
}

void fe_take(struct fe *fe, int sock)
{
	fe_disconnect(fe);
	fe->sock = sock;
	fe->err_text[0] = 0;
}

void fe_disconnect(struct fe *fe)
{
	fd_reset(&fe->sock);
	for (unsigned q = 0; q < fe->rings; q++) {
		struct fe_ring *r = &fe->ring[q];
		fd_reset(&r->kick);
		fd_reset(&r->call);
		fd_reset(&r->err);
		r->vq.kick = -1;
		r->running = false;
	}
}

bool fe_send(struct fe *fe, uint32_t id, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
	if (fe->hook.sends != NULL)
		fe->hook.sends(fe->hook.arg, fe, id);
	if (!conn_send_msg(fe->sock, id, VU_VERSION | flags, payload, size, fds, n_fds)) {
		fe_fail(fe, FE_CLOSED, "message %u: send: %m", id);
		return false;
	}
	fe->messages++;
	return true;
}

enum fe_res fe_recv(struct fe *fe, struct conn_msg *msg, uint32_t id)
{
	enum conn_got got = conn_recv(fe->sock, msg, fe->conf.timeout_ms);
	if (got == CONN_CLOSED)
		return fe_fail(fe, FE_CLOSED, "message %u: the connection was closed instead of a reply", id);
	if (got == CONN_TIMEOUT)
		return fe_fail(fe, FE_SILENT, "message %u: no reply in %u ms", id, fe->conf.timeout_ms);
	if (got == CONN_JUNK)
		return fe_fail(fe, FE_WRONG, "message %u: reply of %u bytes", id, msg->hdr.size);
	if (fe->hook.heard != NULL)
		fe->hook.heard(fe->hook.arg, fe, msg);
	if (msg->hdr.flags == VU_REPLY_FLAGS && msg->hdr.request == id && msg->n_fds == 0)
		return FE_OK;
	fe_fail(fe, FE_WRONG, "message %u: reply has id %u, flags 0x%x, %u fds", id, msg->hdr.request, msg->hdr.flags,
		msg->n_fds);
	conn_msg_close_fds(msg);
	return FE_WRONG;
}

static enum fe_res fe_recv_u64(struct fe *fe, uint32_t id, uint64_t *value)
{
	struct conn_msg msg;
	enum fe_res res = fe_recv(fe, &msg, id);
	if (res != FE_OK)
		return res;
	if (msg.hdr.size != sizeof(*value))
		return fe_fail(fe, FE_WRONG, "message %u: reply of %u bytes instead of 8", id, msg.hdr.size);
	memcpy(value, msg.payload, sizeof(*value));
	return FE_OK;
}

enum fe_res fe_ack(struct fe *fe, uint32_t id, const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
	uint64_t value;
	if (!fe_send(fe, id, VU_FLAG_NEED_REPLY, payload, size, fds, n_fds))
		return FE_CLOSED;
	enum fe_res res = fe_recv_u64(fe, id, &value);
	if (res == FE_OK && value != 0)
		return fe_fail(fe, FE_NACK, "message %u: refused (%llu)", id, (unsigned long long)value);
	return res;
}

enum fe_res fe_tell(struct fe *fe, bool ask, uint32_t id, const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
	if ((ask || fe->conf.style == FE_ACK_ALL) && bits_has(fe->protocol, VU_PF_REPLY_ACK))
		return fe_ack(fe, id, payload, size, fds, n_fds);
	return fe_send(fe, id, 0, payload, size, fds, n_fds) ? FE_OK : FE_CLOSED;
}

enum fe_res fe_get_u64(struct fe *fe, uint32_t id, uint64_t *value)
{
	if (!fe_send(fe, id, 0, NULL, 0, NULL, 0))
		return FE_CLOSED;
	return fe_recv_u64(fe, id, value);
}

enum fe_res fe_get_base(struct fe *fe, unsigned q, uint32_t *num)
{
	struct vu_state st = {.index = q};
	struct conn_msg msg;
	if (!fe_send(fe, 11, 0, &st, sizeof(st), NULL, 0))
		return FE_CLOSED;
	enum fe_res res = fe_recv(fe, &msg, 11);
	if (res != FE_OK)
		return res;
	memcpy(&st, msg.payload, sizeof(st));
	if (msg.hdr.size != sizeof(st) || st.index != q)
		return fe_fail(fe, FE_WRONG, "GET_VRING_BASE of ring %u: %u bytes, ring %u", q, msg.hdr.size, st.index);
	*num = st.num;
	return FE_OK;
}

enum fe_res fe_barrier(struct fe *fe)
{
	uint64_t ignored;
	return fe_get_u64(fe, 1, &ignored);
}

const char *fe_res_name(enum fe_res res)
{
	static const char *const names[] = {[FE_OK] = "ok",
					    [FE_NACK] = "refused",
					    [FE_CLOSED] = "closed",
					    [FE_SILENT] = "silent",
					    [FE_WRONG] = "wrong answer"};
	return (size_t)res < ARRAY_LEN(names) ? names[res] : "?";
}

uint64_t fe_take_calls(struct fe *fe, unsigned q)
{
	uint64_t n = 0;
	if (fe->ring[q].call < 0 || read(fe->ring[q].call, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return 0;
	return n;
}

bool fe_wait_call(struct fe *fe, unsigned q, unsigned timeout_ms)
{
	struct pollfd p = {.fd = fe->ring[q].call, .events = POLLIN};
	if (poll(&p, 1, (int)timeout_ms) != 1)
		return false;
	return fe_take_calls(fe, q) > 0;
}
