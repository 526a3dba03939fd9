// Frames that their sender left whole (TSO): taken from its ring, given whole to who can take them, cut for who can't. A
// part is a frame like any other: headers of its own, the payload where it lies, and a checksum that its receiver completes
// or gets completed.
#include "switch/dp_int.h"

_Static_assert((int)VRING_TSO4 == (int)GSO_TSO4 && (int)VRING_TSO6 == (int)GSO_TSO6, "rings and frames say the same");
_Static_assert((int)VRING_ECN == (int)GSO_ECN, "rings and frames say the same");

bool frame_gso(struct frame *f, unsigned may)
{
	uint32_t have = f->len < GSO_HEAD_MAX ? f->len : GSO_HEAD_MAX;
	const char *why;
	f->cut_done = 0;
	if (!gseg_read(f->segs, f->n_segs, f->skip + f->head_len, f->head + f->head_len, have - f->head_len))
		return false;
	f->head_len = have;
	return gso_parse(&f->hdr, f->head, f->len, may, &f->gso, &why);
}

bool cut_needed(const struct vring *to, const struct frame *f)
{
	return (f->gso.need & ~to->rx_gso) != 0 || f->cut_done != 0; // a receiver that has a part gets the others
}

struct frame *cut_part(struct worker *w, const struct frame *f, unsigned i)
{
	struct frame *p = &w->part;
	uint32_t len;
	if (i == f->cut_done) { // else it goes on behind the part before
		p->segs = f->segs;
		p->n_segs = f->n_segs;
		p->skip = f->skip + i * f->gso.size;
		p->src = f->src;
		p->src_pair = f->src_pair;
		p->eth = f->eth;
		p->cut_done = 0;
	} else {
		p->skip += f->gso.size;
	}
	while (p->n_segs > 1 && p->skip >= p->segs->len) {
		p->skip -= p->segs->len;
		p->segs++;
		p->n_segs--;
	}
	gso_head(&f->gso, f->head, i, p->head, &p->hdr, &len);
	p->head_len = f->gso.hdr_len;
	p->len = p->head_len + len;
	w->parts++;
	return p;
}

void cut_leave(struct dp_queue *q, const struct frame *f, uint16_t at, const struct dp_port *dst)
{
	q->cut_done = frame_whole(f) ? f->cut_done : 0;
	q->cut_at = at;
	q->cut_to = dst->index;
}

void cut_resume(struct dp_queue *q, struct frame *f, uint16_t at, const struct dp_port *dst)
{
	if (q->cut_done != 0 && frame_whole(f) && q->cut_at == at && q->cut_to == dst->index)
		f->cut_done = q->cut_done; // what it is compared with is bounded, whatever the guest made of the entry since
	q->cut_done = 0;
}

static uint64_t rate_burst(uint64_t rate)
{
	return rate / 50 + 8 * ETH_MAX;
}

static uint64_t rate_bits(const struct frame *f, uint64_t rate)
{
	uint64_t bytes = f->len;
	if (frame_whole(f))
		bytes += (uint64_t)(f->gso.n - 1u) * f->gso.hdr_len;
	return bytes * 8 < rate_burst(rate) ? bytes * 8 : rate_burst(rate);
}

bool frame_rate(struct dp_bucket *b, const struct frame *f, uint64_t rate)
{
	return bucket_take(b, rate_bits(f, rate), rate, rate_burst(rate));
}

void frame_rate_back(struct dp_bucket *b, const struct frame *f, uint64_t rate)
{
	bucket_give(b, rate_bits(f, rate), rate_burst(rate));
}
