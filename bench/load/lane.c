#include "load/lane.h"

#include <stdlib.h>
#include <string.h>

#include "driver/frame.h"

#define CACHE_LINE 64u
#define SAMPLE_EVERY 61u // shares no factor with anything that goes by batches or thousands

bool lane_init(struct lane *l, struct fe *fe, unsigned ring, uint32_t max_frame, uint32_t n_bufs)
{
	struct vq *q = &fe->ring[ring].vq;
	*l = (struct lane){ .q = q, .n_bufs = n_bufs < q->size ? q->size : n_bufs };
	l->hdr_len = bits_has(fe->features, VIRTIO_F_VERSION_1) || bits_has(fe->features, VIRTIO_NET_F_MRG_RXBUF) ? 12 : 10;
	l->room = max_frame + l->hdr_len;
	// an odd number of cache lines: buffers do not all fall into the same sets of a cache
	uint32_t lines = (CACHE_LINE + max_frame + CACHE_LINE - 1) / CACHE_LINE;
	l->stride = (lines | 1) * CACHE_LINE;
	l->gpa = gmem_area(fe->mem, 0, ring % 2 == 0 ? GMEM_DEVICE : GMEM_DRIVER, (uint64_t)l->stride * l->n_bufs, 0);
	l->host = gmem_at(fe->mem, l->gpa);
	l->len = calloc(l->n_bufs, sizeof(*l->len));
	l->buf = calloc(q->size, sizeof(*l->buf));
	l->free = calloc(q->size, sizeof(*l->free));
	if (!l->gpa || !l->host || !l->len || !l->buf || !l->free) {
		lane_fini(l);
		return false;
	}
	memset(l->host, 0, (size_t)l->stride * l->n_bufs);
	for (unsigned i = 0; i < q->size; i++)
		l->free[i] = (uint16_t)i;
	l->n_free = q->size;
	return true;
}

void lane_fini(struct lane *l)
{
	free(l->len);
	free(l->buf);
	free(l->free);
	l->len = l->buf = NULL;
	l->free = NULL;
}

static inline uint32_t next_buffer(struct lane *l)
{
	uint32_t b = l->cursor;
	l->cursor = b + 1 == l->n_bufs ? 0 : b + 1;
	return b;
}

static inline void offer(struct lane *l, uint16_t id, uint32_t buf, uint32_t len, uint16_t flags)
{
	struct vq *q = l->q;
	l->buf[id] = buf;
	q->desc[id] = (struct vq_desc){
		.addr = l->gpa + (uint64_t)buf * l->stride + CACHE_LINE - l->hdr_len, .len = len, .flags = flags };
	q->avail[2 + (q->next_avail & q->mask)] = id;
	q->next_avail++;
}

void lane_post_all(struct lane *l)
{
	for (; l->n_free; l->n_free--) {
		uint16_t id = l->free[l->free_at];
		l->free_at = (uint16_t)((l->free_at + 1) & l->q->mask);
		offer(l, id, next_buffer(l), l->room, VQ_WRITE);
	}
	vq_publish(l->q, true);
}

unsigned lane_reap(struct lane *l)
{
	struct vq *q = l->q;
	uint16_t used = vq_used_idx(q), n = (uint16_t)(used - q->last_used);
	if (n > q->size - l->n_free) {
		l->broken = "used index beyond what was offered";
		return 0;
	}
	for (uint16_t i = 0; i < n; i++) {
		uint32_t id = q->elem[(uint16_t)(q->last_used + i) & q->mask].id;
		if (id > q->mask) {
			l->broken = "used id beyond the ring";
			return 0;
		}
		l->free[(uint16_t)(l->free_at + l->n_free + i) & q->mask] = (uint16_t)id;
	}
	l->n_free = (uint16_t)(l->n_free + n);
	q->last_used = used;
	l->looks += n != 0;
	return n;
}

unsigned lane_send(struct lane *l, unsigned max)
{
	unsigned n = l->n_free < max ? l->n_free : max;
	for (unsigned i = 0; i < n; i++) {
		uint16_t id = l->free[(uint16_t)(l->free_at + i) & l->q->mask];
		uint32_t buf = next_buffer(l);
		frame_stamp(lane_frame(l, buf), l->len[buf], l->seq++);
		offer(l, id, buf, l->len[buf] + l->hdr_len, 0);
	}
	l->free_at = (uint16_t)((l->free_at + n) & l->q->mask);
	l->n_free = (uint16_t)(l->n_free - n);
	if (n)
		vq_publish(l->q, false);
	l->frames += n;
	return n;
}

unsigned lane_receive(struct lane *l, unsigned max, lane_check *check, void *arg)
{
	struct vq *q = l->q;
	uint16_t n = (uint16_t)(vq_used_idx(q) - q->last_used);
	unsigned frames = 0, rest = 0; // rest: buffers that still belong to the frame in hand
	if (n > q->size) {
		l->broken = "used index beyond what was offered";
		return 0;
	}
	for (uint16_t i = 0; i < n; i++) {
		if (rest == 0 && frames == max) {
			n = i;
			break;
		}
		struct vq_elem e = q->elem[(uint16_t)(q->last_used + i) & q->mask];
		if (e.id > q->mask || e.len > l->room) {
			l->broken = e.id > q->mask ? "used id beyond the ring" : "used length beyond the buffer";
			return frames;
		}
		uint8_t *frame = lane_frame(l, l->buf[e.id]), *header = frame - l->hdr_len;
		if (rest == 0) {
			uint16_t buffers;
			memcpy(&buffers, header + 10, sizeof(buffers));
			rest = l->hdr_len < 12 || buffers == 0 ? 1 : buffers;
			frames++;
			l->bytes -= l->hdr_len;
			if (check && rest == 1 && e.len > l->hdr_len && (l->frames + frames) % SAMPLE_EVERY == 0)
				check(arg, header, frame, e.len - l->hdr_len);
		}
		rest--;
		l->bytes += e.len;
		offer(l, (uint16_t)e.id, l->n_bufs == q->size ? l->buf[e.id] : next_buffer(l), l->room, VQ_WRITE);
	}
	if (rest != 0)
		l->broken = "num_buffers beyond used.idx";
	if (n == 0)
		return 0;
	q->last_used = (uint16_t)(q->last_used + n);
	vq_publish(q, false);
	l->frames += frames;
	l->looks++;
	return frames;
}
