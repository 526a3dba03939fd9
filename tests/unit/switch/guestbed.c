#include "guestbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

struct dp *gb_dp(unsigned threads)
{
	return gb_dp_stall(threads, 0);
}

struct dp *gb_dp_stall(unsigned threads, unsigned stall_us)
{
	struct dp_conf c = { .threads = threads, .stall_us = stall_us, .hold_total = 64u << 20, .general_only = getenv("VRINGD_GENERAL_ONLY") != NULL };
	for (unsigned i = 0; i < 16; i++)
		c.cpus[i] = -1;
	struct why why;
	struct dp *dp = dp_new(&c, &why);
	assert_non_null(dp);
	return dp;
}

struct dp_port_conf gb_conf(const char *id)
{
	struct dp_port_conf c = { .kind = DP_VHOST, .net = "default", .max_macs = 64, .hold_ms = 2000, .hold_bytes = 4u << 20,
				  .tap_fd = -1 };
	strncpy(c.id, id, sizeof(c.id) - 1);
	return c;
}

// VRINGD_TEST_RINGS: "packed", "in-order" (and packed), "mixed" (every other guest packed), else split: for whatever a test does
// not say itself.
static uint64_t kind_of_next(void)
{
	static unsigned n;
	const char *kind = getenv("VRINGD_TEST_RINGS");
	if (!kind || (strcmp(kind, "mixed") == 0 && n++ % 2 == 0))
		return 0;
	return strcmp(kind, "in-order") == 0 ? GB_F_PACKED | GB_F_IN_ORDER : GB_F_PACKED;
}

static void ring_make(struct guestbed *g, unsigned q)
{
	struct vq *v = &g->q[q];
	struct vring_conf c = { .num = GB_RING, .features = g->features, .mem = g->map,
				.desc_uaddr = gmem_uaddr(g->mem, v->desc_gpa), .avail_uaddr = gmem_uaddr(g->mem, v->avail_gpa),
				.used_uaddr = gmem_uaddr(g->mem, v->used_gpa), .call_fd = g->call[q],
				.ledger = g->ledger ? &g->ledger[q] : NULL };
	struct why why;
	assert_int_equal(ring_new(&g->ring[q], &c, &why), OK);
	assert_int_equal(g->ring[q]->packed, v->packed);
	if (!g->resume || !ring_resume(g->ring[q]))
		ring_restore(g->ring[q], vq_base(v));
}

void gb_driver(struct guestbed *g, uint64_t features, uint16_t base)
{
	memset(g, 0, sizeof(*g));
	g->features = features | kind_of_next();
	g->base = base;
	struct gmem_conf mc = { .regions = 1, .region_bytes = 4u << 20 };
	g->mem = gmem_new(&mc);
	assert_non_null(g->mem);
	for (unsigned q = 0; q < 2; q++) {
		g->kick[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		g->call[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true((g->features & GB_F_PACKED ? vq_init_packed : vq_init)(&g->q[q], g->mem, 0, GB_RING, false));
		g->q[q].in_order = g->features & GB_F_IN_ORDER;
		vq_reset(&g->q[q], base, (features >> 29) & 1);
		g->q[q].kick = g->kick[q];
		g->buf_gpa[q] = gmem_area(g->mem, 0, q == 0 ? GMEM_DEVICE : GMEM_DRIVER, GB_RING * GB_BUF, 0);
		assert_true(g->buf_gpa[q] != 0);
		g->buf[q] = gmem_at(g->mem, g->buf_gpa[q]);
	}
}

void gb_device(struct guestbed *g, struct dp *dp, const struct dp_port_conf *conf)
{
	g->dp = dp;
	struct vu_memory table;
	int fds[VU_MAX_FDS];
	gmem_table(g->mem, &table, fds);
	struct mem_spec spec = { table.region[0].guest_addr, table.region[0].size, table.region[0].user_addr,
				 table.region[0].mmap_offset };
	struct why why;
	assert_int_equal(mem_build(&g->map, &spec, fds, 1, false, &why), OK);
	for (unsigned q = 0; q < 2; q++)
		ring_make(g, q);
	assert_int_equal(dp_port_add(dp, conf, &g->port, &why), OK);
}

void gb_open(struct guestbed *g, struct dp *dp, const struct dp_port_conf *conf, uint64_t features, uint16_t base, bool run)
{
	gb_driver(g, features, base);
	gb_device(g, dp, conf);
	if (run) {
		gb_post(g, GB_RING);
		gb_run(g);
	}
}

void gb_run(struct guestbed *g)
{
	for (unsigned q = 0; q < 2; q++)
		dp_ring_publish(g->port, q, g->ring[q], g->kick[q], false);
}

void gb_stop(struct guestbed *g, enum dp_rx_state state)
{
	dp_port_rx_state(g->port, state);
	for (unsigned q = 0; q < 2; q++)
		dp_ring_retract(g->port, q);
}

void gb_post(struct guestbed *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vq_buf b = { .gpa = g->buf_gpa[0] + i * GB_BUF, .len = GB_BUF, .write = true };
		assert_true(vq_add(&g->q[0], &b, 1, i));
	}
	vq_publish(&g->q[0], false);
}

void gb_device_close(struct guestbed *g)
{
	gb_stop(g, DP_RX_OFF);
	dp_port_del(g->dp, g->port);
	for (unsigned q = 0; q < 2; q++)
		ring_free(g->ring[q]);
	mem_free(g->map);
}

void gb_driver_close(struct guestbed *g)
{
	for (unsigned q = 0; q < 2; q++) {
		vq_fini(&g->q[q]);
		close(g->kick[q]);
		close(g->call[q]);
	}
	gmem_free(g->mem);
}

void gb_close(struct guestbed *g)
{
	gb_device_close(g);
	gb_driver_close(g);
}

static bool tx_reap(struct guestbed *g)
{
	uint32_t token, len;
	bool any = false;
	while (vq_take(&g->q[1], &token, &len))
		any = true;
	return any;
}

bool gb_send(struct guestbed *g, const uint8_t *frame, uint32_t len)
{
	uint64_t end = clock_boot_us() + 2000000;
	while (vq_out(&g->q[1]) == GB_RING && !tx_reap(g)) {
		if (clock_boot_us() > end)
			return false;
		usleep(100);
	}
	tx_reap(g);
	uint32_t slot = g->tx_next++ % GB_RING;
	uint8_t *to = g->buf[1] + slot * GB_BUF;
	memset(to, 0, GB_HDR);
	memcpy(to + GB_HDR, frame, len);
	struct vq_buf b = { .gpa = g->buf_gpa[1] + slot * GB_BUF, .len = GB_HDR + len };
	if (!vq_add(&g->q[1], &b, 1, slot))
		return false;
	vq_publish(&g->q[1], false);
	return true;
}

static uint32_t last_token;

const uint8_t *gb_recv(struct guestbed *g, uint32_t *len, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * 1000u;
	uint32_t token, n;
	while (!vq_take(&g->q[0], &token, &n)) {
		assert_null(g->q[0].broken);
		if (clock_boot_us() > end)
			return NULL;
		usleep(50);
	}
	last_token = token;
	*len = n - GB_HDR;
	return g->buf[0] + token * GB_BUF + GB_HDR;
}

void gb_release(struct guestbed *g)
{
	struct vq_buf b = { .gpa = g->buf_gpa[0] + last_token * GB_BUF, .len = GB_BUF, .write = true };
	assert_true(vq_add(&g->q[0], &b, 1, last_token));
	vq_publish(&g->q[0], false);
}

bool gb_send_no(struct guestbed *g, const uint8_t dst[6], const uint8_t src[6], uint64_t seq, uint32_t len)
{
	uint8_t frame[GB_BUF];
	frame_fill(frame, len, dst, src, 1, seq, true);
	return gb_send(g, frame, len);
}

int64_t gb_recv_no(struct guestbed *g, unsigned timeout_ms)
{
	uint32_t len;
	const uint8_t *p = gb_recv(g, &len, timeout_ms);
	if (!p)
		return -1;
	struct frame_id id;
	const char *bad = frame_check(p, len, &id);
	if (bad)
		print_message("frame of %u bytes: %s\n", len, bad);
	gb_release(g);
	return bad ? -2 : (int64_t)id.seq;
}

bool gb_wait_tx_done(struct guestbed *g, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * 1000u;
	while (vq_out(&g->q[1]) != 0) {
		tx_reap(g);
		if (clock_boot_us() > end)
			return false;
		usleep(50);
	}
	return true;
}
