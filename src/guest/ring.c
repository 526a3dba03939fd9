#include "guest/ring.h"

#include "base/bits.h"

enum { F_RING_PACKED = 34 };

enum err ring_new(struct vring **out, const struct vring_conf *conf, struct why *why)
{
	bool packed = bits_has(conf->features, F_RING_PACKED);
	struct pring *p = NULL;
	enum err e = packed ? pring_new(&p, conf, why) : vring_new(out, conf, why);
	if (e != OK)
		return e;
	if (packed)
		*out = &p->v;
	(*out)->wide = vone_wide_for((*out)->desc);
	return OK;
}

void ring_free(struct vring *r)
{
	if (r && r->packed)
		pring_free(pring_of(r));
	else
		vring_free(r);
}

void ring_restore(struct vring *r, uint32_t base)
{
	if (r->packed)
		pring_restore(pring_of(r), base);
	else
		vring_restore(r, (uint16_t)base);
}

bool ring_resume(struct vring *r)
{
	if (r->packed)
		return pring_resume(pring_of(r));
	vring_restore(r, vring_used_idx(r)); // completion is in order: that is the truth
	return true;
}

uint32_t ring_base(const struct vring *r)
{
	return r->packed ? pring_base(pring_of_const(r)) : r->last_used;
}

uint32_t ring_base_now(const struct vring *r)
{
	if (!r->packed) // completion is in order: used.idx in guest memory says it
		return vring_used_idx(r);
	return (atomic_load_explicit(&pring_of_const(r)->ledger->state, memory_order_relaxed) >> 16) * 0x10001u;
}
