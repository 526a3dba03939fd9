#include "toy.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "driver/conn.h"
#include "toy_ring.h"

struct toy {
	pthread_t id;
	int sock;
	struct toy_mem mem;
	struct toy_ring ring[VU_MAX_RINGS];
	unsigned frames;
	uint8_t frame[70000];
};

// Is it the turn of a fault that comes with every tenth frame?
static bool toy_tenth(const struct toy *t, enum toy_fault fault)
{
	return t->mem.fault == fault && t->frames % 10 == 9;
}

static void toy_complete(struct toy *t, struct toy_ring *r, const struct toy_chain *c, uint32_t len)
{
	toy_used(&t->mem, r, c, toy_tenth(t, TOY_USED_ID) ? (uint16_t)((c->id + 1u) % r->num) : c->id, len);
}

// Fill receive buffers with hdr and frame; false: not enough of them, nothing shown.
static bool toy_deliver(struct toy *t, struct toy_ring *r, uint32_t len)
{
	struct toy_ring back = *r;
	struct toy_chain c;
	uint64_t numbuf_at = 0;
	uint16_t buffers = 0;
	uint32_t done = 0; // of header and frame
	while (done < len + 12) {
		uint32_t before = done;
		if (!toy_more(&t->mem, r)) {
			*r = back;
			return false;
		}
		toy_next(&t->mem, r, &c);
		for (unsigned i = 0; i < c.n && done < len + 12; i++) {
			uint64_t gpa = c.seg[i].gpa;
			uint32_t at = 0, room = c.seg[i].len;
			for (; at < room && done < 10; at++, done++)
				toy_store(&t->mem, TOY_LOG_HEADER, gpa + at, "", 1);
			for (; at < room && done < 12; at++, done++)
				numbuf_at = done == 10 ? gpa + at : numbuf_at;
			uint32_t part = room - at < len + 12 - done ? room - at : len + 12 - done;
			if (part > 0)
				toy_store(&t->mem, TOY_LOG_PAYLOAD, gpa + at, t->frame + 12 + (done - 12), part);
			done += part;
		}
		buffers++;
		toy_complete(t, r, &c, done - before);
	}
	if (toy_tenth(t, TOY_NUM_BUFFERS))
		buffers++;
	toy_store(&t->mem, TOY_LOG_NUMBUF, numbuf_at, &buffers, 2);
	toy_publish(&t->mem, r);
	return true;
}

static void toy_pump(struct toy *t, unsigned pair)
{
	struct toy_ring *rx = &t->ring[2 * pair], *tx = rx + 1;
	struct toy_chain c;
	while (rx->started && tx->started && toy_more(&t->mem, tx)) {
		struct toy_ring back = *tx;
		uint32_t len = 0;
		toy_next(&t->mem, tx, &c);
		for (unsigned i = 0; i < c.n; len += c.seg[i++].len)
			memcpy(t->frame + len, toy_at(&t->mem, c.seg[i].gpa, false), c.seg[i].len);
		if (toy_tenth(t, TOY_CORRUPT))
			t->frame[12 + 50] ^= 1;
		if (!toy_tenth(t, TOY_DROP) && !toy_deliver(t, rx, len - 12)) {
			*tx = back;
			return;
		}
		if (toy_tenth(t, TOY_REPEAT))
			toy_deliver(t, rx, len - 12);
		t->frames++;
		toy_complete(t, tx, &c, t->mem.fault == TOY_TX_LEN ? 1 : 0);
		toy_publish(&t->mem, tx);
	}
}

static void toy_reply(struct toy *t, const struct conn_msg *m, const void *payload, uint32_t size)
{
	uint32_t extra = t->mem.fault == TOY_REPLY_FLAGS ? m->hdr.flags & VU_FLAG_NEED_REPLY : 0;
	conn_send_msg(t->sock, m->hdr.request, VU_REPLY_FLAGS | extra, payload, size, NULL, 0);
}

static void toy_set_mem(struct toy *t, struct conn_msg *m)
{
	struct vu_memory table;
	memcpy(&table, m->payload, m->hdr.size);
	t->mem.n_regions = table.n;
	for (unsigned i = 0; i < table.n; i++) {
		t->mem.region[i] = table.region[i];
		t->mem.map[i] = mmap(NULL, table.region[i].size + table.region[i].mmap_offset, PROT_READ | PROT_WRITE,
				 MAP_SHARED, m->fds[i], 0);
	}
}

static void toy_set_log(struct toy *t, struct conn_msg *m)
{
	struct vu_log log;
	memcpy(&log, m->payload, sizeof(log));
	uint8_t *map = mmap(NULL, log.size + log.offset, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[0], 0);
	t->mem.log = (uint64_t *)(void *)(map + log.offset);
	t->mem.log_bytes = log.size;
}

static void toy_ring_message(struct toy *t, struct conn_msg *m)
{
	struct vu_state st;
	memcpy(&st, m->payload, sizeof(st));
	struct toy_ring *r = &t->ring[st.index % VU_MAX_RINGS]; // index and the low byte of a u64 are the same place
	switch (m->hdr.request) {
	case 8:
		r->num = st.num;
		break;
	case 9:
		memcpy(&r->addr, m->payload, sizeof(r->addr));
		break;
	case 10:
		toy_ring_base(&t->mem, r, st.num);
		break;
	case 11:
		r->started = false;
		st.num = toy_ring_place(&t->mem, r);
		if (t->mem.fault != TOY_NO_REPLY)
			toy_reply(t, m, &st, sizeof(st));
		break;
	case 12:
		fd_replace(&r->kick, fd_take(&m->fds[0]));
		r->started = true;
		break;
	case 13:
		if (m->n_fds == 1)
			fd_replace(&r->call, fd_take(&m->fds[0]));
		break;
	default:
		break;
	}
}

static void toy_message(struct toy *t, struct conn_msg *m)
{
	const uint64_t offered = BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_F_EVENT_IDX) |
				 BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_IN_ORDER) | BIT64(VHOST_F_LOG_ALL) |
				 BIT64(VHOST_USER_F_PROTOCOL_FEATURES) |
				 (t->mem.fault == TOY_NO_PACKED ? 0 : BIT64(VIRTIO_F_RING_PACKED));
	static const uint64_t protocol = BIT64(VU_PF_MQ) | BIT64(VU_PF_LOG_SHMFD) | BIT64(VU_PF_REPLY_ACK), pairs = 16;
	uint64_t status = 0;
	switch (m->hdr.request) {
	case 1:
		toy_reply(t, m, &offered, 8);
		return;
	case 15:
		toy_reply(t, m, &protocol, 8);
		return;
	case 17:
		toy_reply(t, m, &pairs, 8);
		return;
	case 2:
		memcpy(&t->mem.features, m->payload, 8);
		break;
	case 5:
		toy_set_mem(t, m);
		status = t->mem.fault == TOY_NACK;
		break;
	case 6:
		toy_set_log(t, m);
		toy_reply(t, m, m->payload, 16);
		return;
	case 11:
		toy_ring_message(t, m);
		return;
	default:
		if (m->hdr.request >= 8 && m->hdr.request <= 14)
			toy_ring_message(t, m);
		break;
	}
	if (m->hdr.flags & VU_FLAG_NEED_REPLY)
		toy_reply(t, m, &status, sizeof(status));
}

static void *toy_main(void *arg)
{
	struct toy *t = arg;
	for (;;) {
		struct pollfd p[1 + VU_MAX_RINGS] = {{.fd = t->sock, .events = POLLIN}};
		for (unsigned q = 0; q < VU_MAX_RINGS; q++)
			p[1 + q] = (struct pollfd){.fd = t->ring[q].kick, .events = POLLIN};
		poll(p, ARRAY_LEN(p), -1);
		uint64_t ignored;
		for (unsigned q = 0; q < VU_MAX_RINGS; q++)
			if ((p[1 + q].revents & POLLIN) && read(t->ring[q].kick, &ignored, 8) != 8)
				abort();
		if (p[0].revents != 0) {
			struct conn_msg m;
			if (conn_recv(t->sock, &m, 1000) != CONN_MSG)
				return NULL;
			toy_message(t, &m);
			conn_msg_close_fds(&m);
		}
		for (unsigned pair = 0; pair < VU_MAX_PAIRS; pair++)
			toy_pump(t, pair);
	}
}

struct toy *toy_start(int sock, enum toy_fault fault)
{
	struct toy *t = calloc(1, sizeof(*t));
	t->sock = sock;
	t->mem.fault = fault;
	for (unsigned q = 0; q < VU_MAX_RINGS; q++)
		t->ring[q].kick = t->ring[q].call = -1;
	if (pthread_create(&t->id, NULL, toy_main, t) != 0)
		abort();
	return t;
}

void toy_stop(struct toy *t)
{
	pthread_join(t->id, NULL);
	for (unsigned i = 0; i < t->mem.n_regions; i++)
		munmap(t->mem.map[i], t->mem.region[i].size + t->mem.region[i].mmap_offset);
	for (unsigned q = 0; q < VU_MAX_RINGS; q++) {
		fd_reset(&t->ring[q].kick);
		fd_reset(&t->ring[q].call);
	}
	fd_reset(&t->sock);
	free(t);
}
