#include "toy.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "driver/conn.h"
#include "driver/vq.h"

struct toy_ring {
	uint32_t num;
	struct vu_addr addr;
	bool has_addr, started, log;
	uint16_t next, used;
	int kick, call;
};

struct toy {
	pthread_t id;
	int sock;
	enum toy_fault fault;
	uint64_t features;
	unsigned n_regions;
	struct vu_region region[VU_MAX_REGIONS];
	uint8_t *map[VU_MAX_REGIONS];
	struct toy_ring ring[VU_MAX_RINGS];
	uint64_t *log;
	size_t log_bytes;
	unsigned frames;
	uint8_t frame[70000];
};

struct toy_seg {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

static uint8_t *toy_at(struct toy *t, uint64_t addr, bool user)
{
	for (unsigned i = 0; i < t->n_regions; i++) {
		uint64_t from = user ? t->region[i].user_addr : t->region[i].guest_addr;
		if (addr - from < t->region[i].size)
			return t->map[i] + t->region[i].mmap_offset + (addr - from);
	}
	abort();
}

static void toy_mark(struct toy *t, uint64_t gpa, uint32_t len)
{
	if (t->log == NULL || !bits_has(t->features, VHOST_F_LOG_ALL) || len == 0)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t p = gpa >> 12; p <= (gpa + len - 1) >> 12; p++)
		__atomic_fetch_or(&t->log[p / 64], UINT64_C(1) << (p % 64), __ATOMIC_SEQ_CST);
}

static void toy_store(struct toy *t, enum toy_fault kind, uint64_t gpa, const void *from, uint32_t len)
{
	if (t->fault == TOY_LOG_EARLY) {
		struct timespec ts = {.tv_nsec = 20000};
		toy_mark(t, gpa, len);
		nanosleep(&ts, NULL); // the harvester's chance
	}
	memcpy(toy_at(t, gpa, false), from, len);
	if (t->fault != kind && t->fault != TOY_LOG_EARLY)
		toy_mark(t, gpa, len);
}

static uint64_t toy_used_gpa(struct toy *t, const struct toy_ring *r, uint32_t at)
{
	for (unsigned i = 0; i < t->n_regions; i++)
		if (r->addr.used - t->region[i].user_addr < t->region[i].size)
			return t->region[i].guest_addr + (r->addr.used - t->region[i].user_addr) + at;
	abort();
}

static uint16_t toy_avail_idx(struct toy *t, const struct toy_ring *r)
{
	uint16_t *avail = (uint16_t *)(void *)toy_at(t, r->addr.avail, true);
	return __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE);
}

static unsigned toy_chain(struct toy *t, const struct toy_ring *r, uint16_t pos, uint16_t *head, struct toy_seg *seg)
{
	const uint16_t *avail = (const uint16_t *)(const void *)toy_at(t, r->addr.avail, true);
	const struct vq_desc *table = (const struct vq_desc *)(const void *)toy_at(t, r->addr.desc, true);
	unsigned n = 0;
	uint16_t at = *head = avail[2 + pos % r->num];
	if (table[at].flags & VQ_INDIRECT) {
		table = (const struct vq_desc *)(const void *)toy_at(t, table[at].addr, false);
		at = 0;
	}
	for (;;) {
		seg[n++] = (struct toy_seg){table[at].addr, table[at].len, table[at].flags & VQ_WRITE};
		if (!(table[at].flags & VQ_NEXT))
			return n;
		at = table[at].next;
	}
}

static void toy_used(struct toy *t, struct toy_ring *r, uint16_t head, uint32_t len)
{
	struct vq_elem e = {.id = t->fault == TOY_USED_ID && t->frames % 10 == 9 ? (head + 1u) % r->num : head, .len = len};
	toy_store(t, TOY_LOG_ELEM, toy_used_gpa(t, r, 4 + 8 * (r->used % r->num)), &e, sizeof(e));
	r->used++;
}

static void toy_publish(struct toy *t, struct toy_ring *r)
{
	uint64_t one = 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	toy_store(t, TOY_LOG_IDX, toy_used_gpa(t, r, 2), &r->used, 2);
	toy_store(t, TOY_LOG_EVENT, toy_used_gpa(t, r, 4 + 8 * r->num), &r->next, 2);
	if (r->call >= 0 && write(r->call, &one, sizeof(one)) < 0)
		abort();
}

// Fill receive buffers with hdr and frame; false: not enough of them, nothing shown.
static bool toy_deliver(struct toy *t, struct toy_ring *r, uint32_t len)
{
	struct toy_ring back = *r;
	struct toy_seg seg[64];
	uint64_t numbuf_at = 0;
	uint16_t buffers = 0;
	uint32_t done = 0; // of header and frame
	while (done < len + 12) {
		uint16_t head;
		uint32_t before = done;
		if (toy_avail_idx(t, r) == r->next) {
			*r = back;
			return false;
		}
		unsigned n = toy_chain(t, r, r->next++, &head, seg);
		for (unsigned i = 0; i < n && done < len + 12; i++) {
			uint32_t at = 0;
			for (; at < seg[i].len && done < 10; at++, done++)
				toy_store(t, TOY_LOG_HEADER, seg[i].gpa + at, "", 1);
			for (; at < seg[i].len && done < 12; at++, done++)
				numbuf_at = done == 10 ? seg[i].gpa + at : numbuf_at;
			uint32_t part = seg[i].len - at < len + 12 - done ? seg[i].len - at : len + 12 - done;
			if (part > 0)
				toy_store(t, TOY_LOG_PAYLOAD, seg[i].gpa + at, t->frame + 12 + (done - 12), part);
			done += part;
		}
		buffers++;
		toy_used(t, r, head, done - before);
	}
	if (t->fault == TOY_NUM_BUFFERS && t->frames % 10 == 9)
		buffers++;
	toy_store(t, TOY_LOG_NUMBUF, numbuf_at, &buffers, 2);
	toy_publish(t, r);
	return true;
}

static void toy_pump(struct toy *t, unsigned pair)
{
	struct toy_ring *rx = &t->ring[2 * pair], *tx = rx + 1;
	struct toy_seg seg[64];
	while (rx->started && tx->started && toy_avail_idx(t, tx) != tx->next) {
		uint16_t head;
		uint32_t len = 0;
		unsigned n = toy_chain(t, tx, tx->next, &head, seg);
		for (unsigned i = 0; i < n; len += seg[i++].len)
			memcpy(t->frame + len, toy_at(t, seg[i].gpa, false), seg[i].len);
		bool tenth = t->frames % 10 == 9;
		if (t->fault == TOY_CORRUPT && tenth)
			t->frame[12 + 50] ^= 1;
		if (!(t->fault == TOY_DROP && tenth) && !toy_deliver(t, rx, len - 12))
			return;
		if (t->fault == TOY_REPEAT && tenth)
			toy_deliver(t, rx, len - 12);
		t->frames++;
		tx->next++;
		toy_used(t, tx, head, t->fault == TOY_TX_LEN ? 1 : 0);
		toy_publish(t, tx);
	}
}

static void toy_reply(struct toy *t, const struct conn_msg *m, const void *payload, uint32_t size)
{
	uint32_t extra = t->fault == TOY_REPLY_FLAGS ? m->hdr.flags & VU_FLAG_NEED_REPLY : 0;
	conn_send_msg(t->sock, m->hdr.request, VU_REPLY_FLAGS | extra, payload, size, NULL, 0);
}

static void toy_set_mem(struct toy *t, struct conn_msg *m)
{
	struct vu_memory table;
	memcpy(&table, m->payload, m->hdr.size);
	t->n_regions = table.n;
	for (unsigned i = 0; i < table.n; i++) {
		t->region[i] = table.region[i];
		t->map[i] = mmap(NULL, table.region[i].size + table.region[i].mmap_offset, PROT_READ | PROT_WRITE,
				 MAP_SHARED, m->fds[i], 0);
	}
}

static void toy_set_log(struct toy *t, struct conn_msg *m)
{
	struct vu_log log;
	memcpy(&log, m->payload, sizeof(log));
	uint8_t *map = mmap(NULL, log.size + log.offset, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[0], 0);
	t->log = (uint64_t *)(void *)(map + log.offset);
	t->log_bytes = log.size;
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
		r->next = r->used = (uint16_t)st.num;
		break;
	case 11:
		r->started = false;
		st.num = r->next;
		if (t->fault != TOY_NO_REPLY)
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
	static const uint64_t offered = BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_NET_F_MRG_RXBUF) |
					BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VHOST_F_LOG_ALL) |
					BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
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
		memcpy(&t->features, m->payload, 8);
		break;
	case 5:
		toy_set_mem(t, m);
		status = t->fault == TOY_NACK;
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
	t->fault = fault;
	for (unsigned q = 0; q < VU_MAX_RINGS; q++)
		t->ring[q].kick = t->ring[q].call = -1;
	if (pthread_create(&t->id, NULL, toy_main, t) != 0)
		abort();
	return t;
}

void toy_stop(struct toy *t)
{
	pthread_join(t->id, NULL);
	for (unsigned i = 0; i < t->n_regions; i++)
		munmap(t->map[i], t->region[i].size + t->region[i].mmap_offset);
	for (unsigned q = 0; q < VU_MAX_RINGS; q++) {
		fd_reset(&t->ring[q].kick);
		fd_reset(&t->ring[q].call);
	}
	fd_reset(&t->sock);
	free(t);
}
