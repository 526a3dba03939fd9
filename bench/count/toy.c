#include "toy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty/dirty.h"
#include "driver/frame.h"
#include "guest/mem.h"
#include "guest/ring.h"

#define MEMORY (4u << 20)
#define PACKED (UINT64_C(1) << 34)
#define FEATURES (UINT64_C(1) << 32 | UINT64_C(1) << 15 | UINT64_C(1) << 29) // version 1, mergeable, event index

static enum err open_log(struct toy *t, struct why *why)
{
	uint64_t bytes = (gmem_end(t->mem) / 4096 / 8 + 4096) & ~UINT64_C(4095);
	t->log_fd = memfd_create("log", MFD_CLOEXEC);
	if (t->log_fd < 0 || ftruncate(t->log_fd, (off_t)bytes) != 0)
		return ours(why, "log: %s", strerror(errno));
	return dirty_open(&t->log, t->log_fd, bytes, 0, false, why);
}

static enum err open_ring(struct toy *t, unsigned q, bool packed, struct why *why)
{
	struct vq *v = &t->q[q];
	t->kick[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->kick[q] < 0 || t->call[q] < 0 || !(packed ? vq_init_packed : vq_init)(v, t->mem, 0, TOY_RING, false))
		return ours(why, "no memory for a ring");
	vq_reset(v, 0, true);
	v->kick = t->kick[q];
	t->buf_gpa[q] = gmem_area(t->mem, 0, q == 0 ? GMEM_DEVICE : GMEM_DRIVER, TOY_RING * TOY_BUF, 0);
	if (t->buf_gpa[q] == 0)
		return ours(why, "no memory for buffers");
	t->buf[q] = gmem_at(t->mem, t->buf_gpa[q]);
	struct vring_conf c = { .num = TOY_RING,
				.features = FEATURES | (packed ? PACKED : 0),
				.mem = t->map,
				.desc_uaddr = gmem_uaddr(t->mem, v->desc_gpa),
				.avail_uaddr = gmem_uaddr(t->mem, v->avail_gpa),
				.used_uaddr = gmem_uaddr(t->mem, v->used_gpa),
				.log = t->log,
				.log_used = t->log != NULL,
				.log_gpa = v->used_gpa,
				.call_fd = t->call[q] };
	enum err e = ring_new(&t->ring[q], &c, why);
	if (e == OK)
		ring_restore(t->ring[q], vq_base(v));
	return e;
}

static void post(struct toy *t, unsigned from, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t slot = (from + i) % TOY_RING;
		struct vq_buf b = { .gpa = t->buf_gpa[0] + slot * TOY_BUF, .len = TOY_BUF, .write = true };
		vq_add(&t->q[0], &b, 1, slot);
	}
	vq_publish(&t->q[0], false);
}

enum err toy_open(struct toy *t, struct dp *dp, const char *id, bool log, bool packed, const uint8_t mac[6],
		  const uint8_t dst[6], uint32_t len, struct why *why)
{
	memset(t, 0, sizeof(*t));
	t->dp = dp;
	t->log_fd = t->kick[0] = t->kick[1] = t->call[0] = t->call[1] = -1;
	memcpy(t->mac, mac, sizeof(t->mac));
	struct gmem_conf conf = { .regions = 1, .region_bytes = MEMORY };
	t->mem = gmem_new(&conf);
	if (!t->mem)
		return ours(why, "no guest memory");
	struct vu_memory table;
	int fds[VU_MAX_FDS];
	gmem_table(t->mem, &table, fds);
	struct mem_spec spec = { table.region[0].guest_addr, table.region[0].size, table.region[0].user_addr,
				 table.region[0].mmap_offset };
	enum err e = mem_build(&t->map, &spec, fds, 1, false, why);
	if (e == OK && log)
		e = open_log(t, why);
	for (unsigned q = 0; q < 2 && e == OK; q++)
		e = open_ring(t, q, packed, why);
	struct dp_port_conf port = { .kind = DP_VHOST, .net = "default", .max_macs = 64, .tap_fd = -1 };
	snprintf(port.id, sizeof(port.id), "%s", id);
	if (e == OK)
		e = dp_port_add(dp, &port, &t->port, why);
	if (e != OK)
		return e;
	for (unsigned i = 0; i < TOY_RING; i++) {
		memset(t->buf[1] + i * TOY_BUF, 0, TOY_HDR);
		frame_fill(t->buf[1] + i * TOY_BUF + TOY_HDR, len, dst, mac, 1, i, false);
	}
	post(t, 0, TOY_RING);
	for (unsigned q = 0; q < 2; q++)
		dp_ring_publish(t->port, q, t->ring[q], t->kick[q], false);
	return OK;
}

void toy_close(struct toy *t)
{
	for (unsigned q = 0; q < 2 && t->port; q++) {
		dp_port_rx_state(t->port, DP_RX_OFF);
		dp_ring_retract(t->port, q);
	}
	if (t->port)
		dp_port_del(t->dp, t->port);
	for (unsigned q = 0; q < 2; q++) {
		ring_free(t->ring[q]);
		vq_fini(&t->q[q]);
		close(t->kick[q]);
		close(t->call[q]);
	}
	dirty_free(t->log);
	if (t->log_fd >= 0)
		close(t->log_fd);
	mem_free(t->map);
	gmem_free(t->mem);
}

void toy_send(struct toy *t, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct vq_buf b = { .gpa = t->buf_gpa[1] + i * TOY_BUF, .len = TOY_HDR + len };
		vq_add(&t->q[1], &b, 1, i);
	}
	vq_publish(&t->q[1], true);
}

unsigned toy_sent(struct toy *t)
{
	uint32_t token, len;
	unsigned n = 0;
	while (vq_take(&t->q[1], &token, &len))
		n++;
	return n;
}

unsigned toy_received(struct toy *t)
{
	uint32_t token, len;
	unsigned n = 0;
	while (vq_take(&t->q[0], &token, &len)) {
		struct vq_buf b = { .gpa = t->buf_gpa[0] + token * TOY_BUF, .len = TOY_BUF, .write = true };
		vq_add(&t->q[0], &b, 1, token);
		n++;
	}
	if (n)
		vq_publish(&t->q[0], false);
	return n;
}
