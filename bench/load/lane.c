#include "load/lane_int.h"

#include <stdlib.h>

#define CACHE_LINE 64u

static uint32_t stride_of(uint32_t room)
{
	// an odd number of cache lines: buffers do not all fall into the same sets of a cache
	return ((CACHE_LINE + room + CACHE_LINE - 1) / CACHE_LINE | 1) * CACHE_LINE;
}

uint64_t lane_memory(const struct lane_conf *conf)
{
	uint64_t bufs = (uint64_t)stride_of(conf->room) * conf->n_bufs, tables = (uint64_t)LANE_TABLE_BYTES * conf->n_bufs;
	return bufs + GMEM_PAGE + (conf->indirect ? tables + GMEM_PAGE : 0);
}

static bool init_tables(struct lane *l, struct fe *fe)
{
	l->table_gpa = gmem_area(fe->mem, 0, GMEM_DRIVER, (uint64_t)LANE_TABLE_BYTES * l->n_bufs, 0);
	l->table = gmem_at(fe->mem, l->table_gpa);
	return l->table_gpa != 0;
}

bool lane_init(struct lane *l, struct fe *fe, unsigned ring, const struct lane_conf *conf)
{
	struct vq *q = &fe->ring[ring].vq;
	bool receives = ring % 2 == 0;
	*l = (struct lane){ .q = q, .n_bufs = conf->n_bufs };
	l->hdr_len = bits_has(fe->features, VIRTIO_F_VERSION_1) || bits_has(fe->features, VIRTIO_NET_F_MRG_RXBUF) ? 12 : 10;
	l->room = conf->room + l->hdr_len;
	l->stride = stride_of(conf->room);
	l->whole_size = conf->longest;
	l->gpa = gmem_area(fe->mem, 0, receives ? GMEM_DEVICE : GMEM_DRIVER, (uint64_t)l->stride * l->n_bufs, 0);
	l->host = gmem_at(fe->mem, l->gpa);
	l->len = calloc(l->n_bufs, sizeof(*l->len));
	l->buf = calloc(q->size, sizeof(*l->buf));
	l->free = calloc(q->size, sizeof(*l->free));
	l->whole = receives ? malloc(l->whole_size + l->hdr_len) : NULL;
	bool ok = l->gpa && l->host && l->len && l->buf && l->free && (!receives || l->whole);
	if (!ok || (conf->indirect && !receives && !init_tables(l, fe))) {
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
	free(l->whole);
	l->len = l->buf = NULL;
	l->free = NULL;
	l->whole = NULL;
}

void lane_fill(struct lane *l, uint32_t buf, uint32_t len)
{
	l->len[buf] = len;
	if (!l->table)
		return;
	uint8_t *at = l->table + (uint64_t)buf * LANE_TABLE_BYTES;
	uint64_t gpa = lane_gpa(l, buf);
	if (l->q->packed) {
		struct vq_pdesc two[2] = { { .addr = gpa, .len = l->hdr_len }, { .addr = gpa + l->hdr_len, .len = len } };
		memcpy(at, two, sizeof(two));
	} else {
		struct vq_desc two[2] = { { .addr = gpa, .len = l->hdr_len, .flags = VQ_NEXT, .next = 1 },
					  { .addr = gpa + l->hdr_len, .len = len } };
		memcpy(at, two, sizeof(two));
	}
}

void lane_post_all(struct lane *l)
{
	(l->q->packed ? lane_packed_post_all : lane_split_post_all)(l);
	vq_publish(l->q, true);
}

unsigned lane_reap(struct lane *l)
{
	unsigned n = l->q->packed ? lane_packed_reap(l) : lane_split_reap(l);
	l->looks += n != 0;
	return n;
}

unsigned lane_send(struct lane *l, unsigned max)
{
	unsigned room = lane_depth(l) - lane_out(l), n = room < max ? room : max;
	if (n == 0)
		return 0;
	if (l->q->packed)
		lane_packed_send(l, n);
	else
		lane_split_send(l, n);
	vq_publish(l->q, false);
	l->frames += n;
	return n;
}

unsigned lane_receive(struct lane *l, unsigned max, lane_check *check, void *arg)
{
	unsigned n = l->q->packed ? lane_packed_receive(l, max, check, arg) : lane_split_receive(l, max, check, arg);
	if (n)
		vq_publish(l->q, false);
	return n;
}
