#include "driver/net.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define NET_SCRATCH (FRAME_MAX + 64u)
#define NET_SPREAD_AT (GMEM_PAGE - 10u)

const char net_nothing[] = "no frame came";

static uint32_t net_round(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

static bool net_init_tx(struct net *n, struct gmem *mem)
{
	unsigned per = n->conf.tx == NET_TX_ONE || n->conf.tx == NET_TX_INDIRECT ? 1
		       : n->conf.tx == NET_TX_HDR_APART                          ? 2
										 : NET_PIECES;
	n->tx_slots = n->tx->size / per;
	n->tx_stride = net_round(n->conf.max_frame + 12, 64);
	n->tx_free = calloc(n->tx_slots, sizeof(*n->tx_free));
	n->tx_gpa = gmem_area(mem, n->conf.region, GMEM_DRIVER, (uint64_t)n->tx_stride * n->tx_slots, 0);
	n->tx_host = gmem_at(mem, n->tx_gpa);
	if (n->conf.tx == NET_TX_INDIRECT) {
		n->tx_table_gpa = gmem_area(mem, n->conf.region, GMEM_DRIVER, (uint64_t)n->tx_slots * NET_PIECES * 16, 0);
		n->tx_table = gmem_at(mem, n->tx_table_gpa);
		if (n->tx_table == NULL)
			return false;
	}
	return n->tx_free != NULL && n->tx_host != NULL;
}

static bool net_init_rx(struct net *n, struct gmem *mem)
{
	unsigned fit = n->rx->size / (n->conf.rx == NET_RX_ONE ? 1 : 2);
	n->rx_slots = n->conf.rx_slots != 0 && n->conf.rx_slots < fit ? n->conf.rx_slots : fit;
	n->rx_room = n->conf.rx_bytes + n->hdr_len;
	n->rx_stride = n->conf.rx == NET_RX_SPREAD ? 3 * GMEM_PAGE : net_round(n->rx_room, 64);
	n->rx_gpa = gmem_area(mem, n->conf.region, GMEM_DEVICE, (uint64_t)n->rx_stride * n->rx_slots, 0);
	n->rx_host = gmem_at(mem, n->rx_gpa);
	n->held = calloc(n->rx->size, sizeof(*n->held));
	n->scratch = malloc(NET_SCRATCH);
	if (n->rx_host == NULL || n->held == NULL || n->scratch == NULL)
		return false;
	// Nothing that a device writes looks like this: what it did not write is seen, each of its writes changes the page.
	memset(n->rx_host, 0xa5, (size_t)n->rx_stride * n->rx_slots);
	return true;
}

bool net_init(struct net *n, struct fe *fe, unsigned pair, const struct net_conf *conf)
{
	memset(n, 0, sizeof(*n));
	if (conf != NULL)
		n->conf = *conf;
	if (n->conf.max_frame == 0)
		n->conf.max_frame = 1518;
	if (n->conf.rx_bytes == 0)
		n->conf.rx_bytes = 2036;
	n->fe = fe;
	n->pair = pair;
	n->mem = fe->mem;
	n->rx = &fe->ring[2 * pair].vq;
	n->tx = &fe->ring[2 * pair + 1].vq;
	n->mergeable = bits_has(fe->features, VIRTIO_NET_F_MRG_RXBUF);
	n->hdr_len = n->mergeable || n->rx->packed || bits_has(fe->features, VIRTIO_F_VERSION_1) ? 12 : 10;
	if (!net_init_tx(n, fe->mem) || !net_init_rx(n, fe->mem)) {
		net_fini(n);
		return false;
	}
	net_restart(n);
	return true;
}

void net_fini(struct net *n)
{
	free(n->tx_free);
	free(n->held);
	free(n->scratch);
	n->tx_free = NULL;
	n->held = NULL;
	n->scratch = NULL;
}

static void net_rx_offer(struct net *n, uint32_t slot)
{
	uint64_t at = n->rx_gpa + (uint64_t)slot * n->rx_stride;
	struct vq_buf b[2] = {{at, n->rx_room, true}};
	unsigned count = 1;
	if (n->conf.rx == NET_RX_HDR_APART) {
		b[0].len = n->hdr_len;
		b[1] = (struct vq_buf){at + n->hdr_len, n->conf.rx_bytes, true};
		count = 2;
	} else if (n->conf.rx == NET_RX_SPREAD) {
		b[0] = (struct vq_buf){at + NET_SPREAD_AT, n->hdr_len, true};
		b[1] = (struct vq_buf){at + 2 * GMEM_PAGE, n->conf.rx_bytes, true};
		count = 2;
	}
	if (!vq_add(n->rx, b, count, slot))
		n->broken = "no descriptor for a receive buffer";
}

void net_restart(struct net *n)
{
	n->broken = NULL;
	n->n_held = 0;
	n->tx_n_free = n->tx_slots;
	for (unsigned i = 0; i < n->tx_slots; i++)
		n->tx_free[i] = (uint16_t)(n->tx_slots - 1 - i);
	for (unsigned i = 0; i < n->rx_slots; i++)
		net_rx_offer(n, i);
	vq_publish(n->rx, false);
}

// -- transmit ----------------------------------------------------------------------------------------------------------

uint8_t *net_tx_slot(struct net *n, uint32_t *slot)
{
	if (n->tx_n_free == 0 && net_tx_reap(n) == 0)
		return NULL;
	*slot = n->tx_free[n->tx_n_free - 1];
	return n->tx_host + (uint64_t)*slot * n->tx_stride + n->hdr_len;
}

// Cut len bytes at gpa at odd places; the header ends at a piece's end only by chance.
static unsigned net_pieces(struct vq_buf *b, uint64_t gpa, uint32_t len)
{
	static const uint32_t cut[NET_PIECES - 1] = {5, 8, 1, 13, 200};
	unsigned count = 0;
	for (unsigned i = 0; i < NET_PIECES - 1 && len > cut[i]; i++) {
		b[count++] = (struct vq_buf){gpa, cut[i], false};
		gpa += cut[i];
		len -= cut[i];
	}
	b[count++] = (struct vq_buf){gpa, len, false};
	return count;
}

void net_tx_put(struct net *n, uint32_t slot, uint32_t len, const struct net_hdr *hdr)
{
	static const struct net_hdr zero;
	uint64_t at = (uint64_t)slot * n->tx_stride;
	struct vq_buf b[NET_PIECES] = {{n->tx_gpa + at, n->hdr_len + len, false}};
	unsigned count = 1;
	bool ok;
	memcpy(n->tx_host + at, hdr != NULL ? hdr : &zero, n->hdr_len);
	n->tx_n_free--; // slot is the top of the stack: net_tx_slot gave it
	if (n->conf.tx == NET_TX_HDR_APART) {
		b[0].len = n->hdr_len;
		b[1] = (struct vq_buf){n->tx_gpa + at + n->hdr_len, len, false};
		count = 2;
	} else if (n->conf.tx != NET_TX_ONE) {
		count = net_pieces(b, n->tx_gpa + at, n->hdr_len + len);
	}
	if (n->conf.tx == NET_TX_INDIRECT) {
		uint64_t table = (uint64_t)slot * NET_PIECES * 16;
		ok = vq_add_indirect(n->tx, (struct vq_desc *)(void *)(n->tx_table + table), n->tx_table_gpa + table, b,
				     count, slot);
	} else {
		ok = vq_add(n->tx, b, count, slot);
	}
	if (!ok)
		n->broken = "no descriptor for a transmit buffer";
	n->sent++;
}

void net_tx_flush(struct net *n)
{
	vq_publish(n->tx, false);
}

unsigned net_tx_reap(struct net *n)
{
	unsigned count = 0;
	uint32_t slot, len;
	while (vq_take(n->tx, &slot, &len)) {
		n->tx_free[n->tx_n_free++] = (uint16_t)slot;
		count++;
		if (len != 0)
			n->broken = "a transmit buffer came back with a length";
	}
	if (n->tx->broken != NULL)
		n->broken = n->tx->broken;
	return count;
}

static void net_nap(void)
{
	struct timespec ts = {.tv_nsec = 50000};
	nanosleep(&ts, NULL);
}

bool net_send(struct net *n, const uint8_t *frame, uint32_t len, const struct net_hdr *hdr, unsigned timeout_ms)
{
	uint32_t slot;
	uint8_t *to;
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	while ((to = net_tx_slot(n, &slot)) == NULL) {
		if (n->broken != NULL || clock_boot_us() >= end)
			return false;
		net_nap();
	}
	memcpy(to, frame, len);
	net_tx_put(n, slot, len, hdr);
	net_tx_flush(n);
	return n->broken == NULL;
}

bool net_tx_drain(struct net *n, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	for (;;) {
		net_tx_reap(n);
		if (n->tx_n_free == n->tx_slots || n->broken != NULL)
			return n->broken == NULL;
		if (clock_boot_us() >= end)
			return false;
		net_nap();
	}
}

// -- receive -----------------------------------------------------------------------------------------------------------

// Copy n bytes out of the buffer of a slot, whose bytes may be in two places, from byte `from` on.
static void net_rx_copy(const struct net *n, uint32_t slot, uint32_t from, uint8_t *to, uint32_t count)
{
	const uint8_t *at = n->rx_host + (uint64_t)slot * n->rx_stride;
	if (n->conf.rx != NET_RX_SPREAD) {
		memcpy(to, at + from, count);
		return;
	}
	uint32_t in_head = from < n->hdr_len ? n->hdr_len - from : 0;
	if (in_head > count)
		in_head = count;
	if (in_head > 0)
		memcpy(to, at + NET_SPREAD_AT + from, in_head);
	if (count > in_head)
		memcpy(to + in_head, at + 2 * GMEM_PAGE + (from + in_head - n->hdr_len), count - in_head);
}

static bool net_rx_bad(struct net *n, const char *what)
{
	n->broken = what;
	return false;
}

// The rest of a frame that lies in several buffers, all of which are visible at once.
static bool net_rx_gather(struct net *n, uint32_t first_len, uint32_t *total)
{
	unsigned want = n->hdr.num_buffers;
	uint32_t got = first_len - n->hdr_len, slot, len = first_len;
	net_rx_copy(n, n->held[0], n->hdr_len, n->scratch, got);
	for (unsigned i = 1; i < want; i++) {
		if (len != n->rx_room)
			return net_rx_bad(n, "a buffer in the middle of a frame is not full");
		if (!vq_take(n->rx, &slot, &len))
			return net_rx_bad(n, n->rx->broken != NULL ? n->rx->broken : "num_buffers beyond used.idx");
		n->held[n->n_held++] = slot;
		if (len > n->rx_room || got + len > NET_SCRATCH)
			return net_rx_bad(n, "used length beyond the buffer");
		net_rx_copy(n, slot, 0, n->scratch + got, len);
		got += len;
	}
	*total = got;
	return true;
}

bool net_rx(struct net *n, struct net_frame *f)
{
	uint32_t slot, len;
	if (n->broken != NULL)
		return false;
	if (!vq_take(n->rx, &slot, &len)) {
		n->broken = n->rx->broken;
		return false;
	}
	n->held[0] = slot;
	n->n_held = 1;
	if (len < n->hdr_len || len > n->rx_room)
		return net_rx_bad(n, "used length outside header..buffer");
	n->hdr.num_buffers = 1;
	net_rx_copy(n, slot, 0, (uint8_t *)&n->hdr, n->hdr_len);
	if (!n->mergeable && n->hdr.num_buffers != 1) {
		n->odd_num_buffers++;
		n->hdr.num_buffers = 1;
	}
	if (n->hdr.num_buffers == 0 || n->hdr.num_buffers > n->rx_slots)
		return net_rx_bad(n, "num_buffers is impossible");
	f->hdr = &n->hdr;
	f->buffers = n->hdr.num_buffers;
	f->len = len - n->hdr_len;
	f->data = n->rx_host + (uint64_t)slot * n->rx_stride + n->hdr_len;
	if (n->conf.rx == NET_RX_SPREAD)
		f->data = n->rx_host + (uint64_t)slot * n->rx_stride + 2 * GMEM_PAGE;
	if (n->hdr.num_buffers > 1) {
		if (!net_rx_gather(n, len, &f->len))
			return false;
		f->data = n->scratch;
	}
	n->received++;
	return true;
}

void net_rx_release(struct net *n)
{
	for (unsigned i = 0; i < n->n_held; i++)
		net_rx_offer(n, n->held[i]);
	n->n_held = 0;
}

void net_rx_post(struct net *n)
{
	vq_publish(n->rx, false);
}

bool net_rx_wait(struct net *n, struct net_frame *f, unsigned timeout_ms)
{
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	for (;;) {
		if (net_rx(n, f))
			return true;
		if (n->broken != NULL)
			return false;
		uint64_t now = clock_boot_us();
		if (now >= end)
			return false;
		if (vq_arm(n->rx))
			continue;
		unsigned left = (unsigned)((end - now) / 1000) + 1;
		if (n->fe->ring[2 * n->pair].call >= 0)
			fe_wait_call(n->fe, 2 * n->pair, left);
		else
			net_nap();
	}
}

bool net_send_numbered(struct net *n, const uint8_t dst[6], const uint8_t src[6], uint32_t flow, uint64_t seq, uint32_t len)
{
	uint8_t frame[FRAME_MAX];
	if (len > n->conf.max_frame)
		return false;
	frame_fill(frame, len, dst, src, flow, seq, true);
	return net_send(n, frame, len, NULL, n->fe->conf.timeout_ms);
}

const char *net_expect(struct net *n, struct frame_id *id, uint32_t *len, unsigned timeout_ms)
{
	struct net_frame f;
	for (;;) {
		if (!net_rx_wait(n, &f, timeout_ms))
			return n->broken != NULL ? n->broken : net_nothing;
		const char *wrong = frame_check(f.data, f.len, id);
		if (len != NULL)
			*len = f.len;
		net_rx_release(n);
		net_rx_post(n);
		if (wrong != frame_foreign)
			return wrong;
		n->foreign++;
	}
}
