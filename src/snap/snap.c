#include "snap/snap.h"

#include <string.h>

#include "base/bits.h"

static bool ring_same(const struct snap_ring *a, const struct snap_ring *b)
{
	return a->num == b->num && a->base == b->base && a->base_given == b->base_given && a->has_addr == b->has_addr &&
	       a->started == b->started && a->enabled == b->enabled && a->ever_disabled == b->ever_disabled && a->ran == b->ran &&
	       a->kick == b->kick && a->call == b->call && a->err == b->err && a->kick_from == b->kick_from &&
	       a->call_from == b->call_from && a->err_from == b->err_from && a->addr_flags == b->addr_flags &&
	       a->desc == b->desc && a->used == b->used && a->avail == b->avail && a->log == b->log;
}

static bool region_same(const struct snap_region *a, const struct snap_region *b)
{
	return a->guest_addr == b->guest_addr && a->size == b->size && a->user_addr == b->user_addr &&
	       a->mmap_offset == b->mmap_offset && a->from == b->from && a->from_n == b->from_n;
}

static bool conn_same(const struct snap *a, const struct snap *b)
{
	return a->features_offered == b->features_offered && a->has_features == b->has_features &&
	       a->features_acked == b->features_acked && a->has_protocol == b->has_protocol &&
	       a->protocol_features == b->protocol_features && a->owned == b->owned && a->mtu == b->mtu &&
	       a->has_log == b->has_log && a->log_size == b->log_size && a->log_offset == b->log_offset &&
	       a->log_from == b->log_from && a->bell_from == b->bell_from;
}

uint64_t snap_diff(const struct snap *a, const struct snap *b)
{
	uint64_t what = conn_same(a, b) ? 0 : SNAP_CONN;
	if (a->n_regions != b->n_regions) {
		what |= SNAP_MEM;
	} else {
		for (uint32_t i = 0; i < a->n_regions && i < SNAP_MAX_REGIONS; i++)
			if (!region_same(&a->region[i], &b->region[i]))
				what |= SNAP_MEM;
	}
	for (unsigned i = 0; i < SNAP_MAX_RINGS; i++)
		if (!ring_same(&a->ring[i], &b->ring[i]))
			what |= SNAP_RING(i);
	return what;
}

enum { F_RING_PACKED = 34 }; // virtio 1.2, 6

static enum err check_ring(const struct snap_ring *r, unsigned i, bool packed, struct why *why)
{
	if (r->num > 32768 || (!packed && (r->num & (r->num - 1)) != 0))
		return refuse(why, "ring %u: stored size %u is not a power of two up to 32768", i, r->num);
	if (r->kick > SNAP_FD_POLL || r->call > SNAP_FD_POLL || r->err > SNAP_FD_POLL)
		return refuse(why, "ring %u: stored descriptor kind is unknown", i);
	if (!packed && r->base > 0xffff)
		return refuse(why, "ring %u: stored base %u is over 65535", i, r->base);
	return OK;
}

enum err snap_check(const struct snap *s, struct why *why)
{
	if (memchr(s->port, '\0', sizeof(s->port)) == NULL || s->port[0] == '\0')
		return refuse(why, "stored port id is empty or too long");
	if (s->n_regions > SNAP_MAX_REGIONS)
		return refuse(why, "stored region count %u is over %u", s->n_regions, SNAP_MAX_REGIONS);
	for (uint32_t i = 0; i < s->n_regions; i++) {
		const struct snap_region *r = &s->region[i];
		if (r->size == 0 || !sum_fits(r->guest_addr, r->size, UINT64_MAX) ||
		    !sum_fits(r->user_addr, r->size, UINT64_MAX) || !sum_fits(r->mmap_offset, r->size, UINT64_MAX))
			return refuse(why, "stored region %u wraps around", i);
		if (r->from_n >= SNAP_MAX_REGIONS)
			return refuse(why, "stored region %u is descriptor %u of its message", i, r->from_n);
	}
	if (!sum_fits(s->log_offset, s->log_size, UINT64_MAX))
		return refuse(why, "stored log wraps around");
	if ((s->features_acked & ~s->features_offered) != 0)
		return refuse(why, "stored acknowledged features were not offered");
	for (unsigned i = 0; i < SNAP_MAX_RINGS; i++) {
		enum err e = check_ring(&s->ring[i], i, bits_has(s->features_acked, F_RING_PACKED), why);
		if (e != OK)
			return e;
	}
	return OK;
}

const char *snap_fd_name(uint8_t kind)
{
	static const char *const names[] = {
		[SNAP_FD_UNSET] = "unset", [SNAP_FD_GIVEN] = "given", [SNAP_FD_POLL] = "poll",
	};
	return kind < ARRAY_LEN(names) ? names[kind] : "?";
}

static unsigned name_add(struct snap_name *out, unsigned n, uint64_t seq, uint32_t place)
{
	if (seq == 0)
		return n; // none was brought
	out[n] = (struct snap_name){ seq, place };
	return n + 1;
}

unsigned snap_names(const struct snap *s, struct snap_name out[SNAP_MAX_NAMES])
{
	unsigned n = 0;
	for (uint32_t i = 0; i < s->n_regions && i < SNAP_MAX_REGIONS; i++)
		n = name_add(out, n, s->region[i].from, s->region[i].from_n);
	n = name_add(out, n, s->has_log ? s->log_from : 0, 0);
	n = name_add(out, n, s->bell_from, 0);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		const struct snap_ring *r = &s->ring[q];
		n = name_add(out, n, r->kick == SNAP_FD_GIVEN ? r->kick_from : 0, 0);
		n = name_add(out, n, r->call == SNAP_FD_GIVEN ? r->call_from : 0, 0);
		n = name_add(out, n, r->err == SNAP_FD_GIVEN ? r->err_from : 0, 0);
	}
	return n;
}
