// Where a packed ring stands, read from the flags of its descriptors: see docs/decisions/006-packed-rings-after-a-crash.md. Read
// once at a start, by the control thread; the driver may write meanwhile, and may have written anything.
#include "guest/gwrite_packed.h"
#include "guest/pring.h"

static uint16_t flags_at(const struct pring *p, unsigned slot)
{
	const _Atomic uint16_t *flags = (const _Atomic uint16_t *)(p->ring + (size_t)slot * VDESC_SIZE + PDESC_FLAGS);
	return atomic_load_explicit(flags, memory_order_relaxed) & (PDESC_F_LAP | VDESC_F_NEXT);
}

static bool in_hand(uint16_t flags) // available, not used
{
	return (flags & PDESC_F_LAP) == PDESC_F_AVAIL || (flags & PDESC_F_LAP) == PDESC_F_USED;
}

static bool is_used(const struct pring *p, struct ppos at) // in this lap
{
	return (flags_at(p, at.slot) & PDESC_F_LAP) == pdesc_used(at.wrap);
}

// Used descriptors behind the one at this place, which is available: of a batch whose first was not shown.
static unsigned cut_batch(const struct pring *p, struct ppos at)
{
	unsigned n = 0;
	if (flags_at(p, at.slot) != pdesc_available(at.wrap))
		return 0;
	while (n + 1 < p->num && is_used(p, ppos_add(p, at, n + 1)))
		n++;
	return n;
}

// The place where those begin that the device has; if it has none, or all, where one lap ends and the one before it begins.
static struct ppos guess(const struct pring *p)
{
	uint16_t first = flags_at(p, 0), before = flags_at(p, p->num - 1);
	struct ppos start = { 0, false };
	bool found = false;
	for (unsigned i = 0; i < p->num; i++) {
		uint16_t f = flags_at(p, i);
		struct ppos at = { (uint16_t)i, (f & PDESC_F_AVAIL) != 0 };
		if (in_hand(f) && cut_batch(p, at) != 0)
			return at;
		if (in_hand(f) && !in_hand(before) && !found) {
			start = at;
			found = true;
		}
		before = f;
	}
	if (found)
		return start;
	bool wrap = (first & PDESC_F_AVAIL) != 0;
	for (unsigned i = 1; i < p->num; i++)
		if (((flags_at(p, i) & PDESC_F_AVAIL) != 0) != wrap)
			return (struct ppos){ (uint16_t)i, in_hand(first) ? !wrap : wrap };
	return (struct ppos){ 0, in_hand(first) ? wrap : !wrap };
}

#ifdef VRINGD_MUTANT_LOST_PLACE // seeded bug: the flags are not looked at
#define LOOKS false
#else
#define LOOKS true
#endif

bool pring_find(const struct pring *p, uint32_t *base)
{
	if (p->v.in_order || !LOOKS)
		return false;
	struct ppos at = guess(p);
	unsigned cut = cut_batch(p, at), i = cut ? cut + 1 : 0;
	for (; i < p->num; i++) { // those that it has, one descriptor each
		struct ppos k = ppos_add(p, at, i);
		if (flags_at(p, k.slot) != pdesc_available(k.wrap))
			break;
	}
	for (; i < p->num; i++) { // and behind them what the lap before has left
		struct ppos k = ppos_add(p, at, i);
		if ((flags_at(p, k.slot) & PDESC_F_LAP) != pdesc_used(!k.wrap))
			return false;
	}
	*base = (at.slot | (uint32_t)at.wrap << 15) * 0x10001u;
	return true;
}

static struct ppos place_of(uint32_t base)
{
	return (struct ppos){ base & 0x7fff, base >> 15 & 1 };
}

bool pring_admits(const struct pring *p, uint32_t found, uint32_t base)
{
	struct ppos at = place_of(found), next = ppos_add(p, at, 1), want = place_of(base);
	if (want.slot == at.slot && want.wrap == at.wrap)
		return true;
	bool behind = want.slot == next.slot && want.wrap == next.wrap;
	if (!behind || flags_at(p, at.slot) != pdesc_available(at.wrap) || cut_batch(p, at) != 0)
		return false;
	uint16_t before = (uint16_t)(at.slot == 0 ? p->num - 1 : at.slot - 1u);
	return pdesc_load(p, at.slot).id == pdesc_load(p, before).id;
}

unsigned pring_finish(struct pring *p)
{
	if (p->v.in_order || !LOOKS)
		return 0;
	unsigned n = cut_batch(p, p->at.used);
	if (n == 0)
		return 0;
	struct gwrite_used u = { .id = gwrite_packed_id(pdesc_load(p, p->at.used.slot).id, (uint16_t)(n + 1)), .len = 0 };
	pring_advance(p, n + 1);
	gwrite_packed_publish(p, &u, 1);
	return n + 1;
}
