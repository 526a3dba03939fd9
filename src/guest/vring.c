#include "guest/vring.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/nudge.h"
#include "guest/mem.h"
#include "guest/vlayout.h"

enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8, F_GUEST_ECN = 9, F_HOST_TSO4 = 11, F_HOST_TSO6 = 12,
       F_HOST_ECN = 13, F_MRG_RXBUF = 15, F_INDIRECT = 28, F_EVENT_IDX = 29, F_VERSION_1 = 32, F_IN_ORDER = 35 };

static enum err resolve(struct vring *r, const struct vring_conf *c, struct why *why)
{
	// ring areas must be aligned as virtio 1.2, 2.7 says: unaligned 16-bit indices could be torn
	if (c->desc_uaddr % 16 != 0 || c->avail_uaddr % 2 != 0 || c->used_uaddr % 4 != 0)
		return refuse(why, "ring addresses are not aligned (desc 16, avail 2, used 4)");
	r->desc = mem_uaddr(c->mem, c->desc_uaddr, (uint64_t)c->num * VDESC_SIZE, NULL);
	if (!r->desc)
		return refuse(why, "descriptor table at 0x%llx is outside guest memory", (unsigned long long)c->desc_uaddr);
	r->avail = mem_uaddr(c->mem, c->avail_uaddr, VAVAIL_BYTES(c->num), NULL);
	if (!r->avail)
		return refuse(why, "avail ring at 0x%llx is outside guest memory", (unsigned long long)c->avail_uaddr);
	r->used = mem_uaddr(c->mem, c->used_uaddr, VUSED_BYTES(c->num), NULL);
	if (!r->used)
		return refuse(why, "used ring at 0x%llx is outside guest memory", (unsigned long long)c->used_uaddr);
	// the front end chooses region offsets, so alignment holds only if it is checked on our own addresses
	if ((uintptr_t)r->desc % 8 != 0 || (uintptr_t)r->avail % 2 != 0 || (uintptr_t)r->used % 4 != 0)
		return refuse(why, "ring addresses are not aligned in the shared file");
	return OK;
}

// Without the checksum nothing of it holds (virtio 1.2, 5.1.3.1).
static uint8_t gso_of(uint64_t features, unsigned csum, unsigned tso4, unsigned tso6, unsigned ecn)
{
	if (!bits_has(features, csum))
		return 0;
	return (uint8_t)((bits_has(features, tso4) ? VRING_TSO4 : 0) | (bits_has(features, tso6) ? VRING_TSO6 : 0) |
			 (bits_has(features, ecn) ? VRING_ECN : 0));
}

void vring_offloads(struct vring *r, uint64_t features)
{
	r->mergeable = bits_has(features, F_MRG_RXBUF);
	r->guest_csum = bits_has(features, F_GUEST_CSUM);
	r->tx_csum = bits_has(features, F_CSUM);
	r->rx_gso = gso_of(features, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN);
	r->tx_gso = gso_of(features, F_CSUM, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN);
}

enum err vring_new(struct vring **out, const struct vring_conf *c, struct why *why)
{
	if (c->num == 0 || c->num > 32768 || (c->num & (c->num - 1)) != 0)
		return refuse(why, "ring size %u is not a power of two up to 32768", c->num);
	if (!c->mem)
		return refuse(why, "no memory table yet");
	struct vring *r = calloc(1, sizeof(*r));
	if (!r)
		return ours(why, "no memory for a ring");
	enum err e = resolve(r, c, why);
	if (e != OK) {
		free(r);
		return e;
	}
	r->mem = c->mem;
	r->num = (uint16_t)c->num;
	r->mask = (uint16_t)(c->num - 1);
	r->event_idx = bits_has(c->features, F_EVENT_IDX);
	r->indirect_ok = bits_has(c->features, F_INDIRECT);
	r->in_order = bits_has(c->features, F_IN_ORDER);
	vring_offloads(r, c->features);
	r->hdr_len = bits_has(c->features, F_VERSION_1) || r->mergeable ? 12 : 10;
	r->log = c->log;
	r->log_used = c->log_used;
	r->used_log_gpa = c->log_gpa;
	r->counts = &r->own_counts;
	atomic_init(&r->call_fd, c->call_fd);
	*out = r;
	return OK;
}

void vring_free(struct vring *r)
{
	free(r);
}

uint16_t vring_used_idx(const struct vring *r)
{
	return atomic_load_explicit((const _Atomic uint16_t *)(r->used + VUSED_IDX), memory_order_acquire);
}

uint16_t vring_avail_idx(const struct vring *r)
{
	return atomic_load_explicit((const _Atomic uint16_t *)((const uint8_t *)r->avail + VAVAIL_IDX), memory_order_acquire);
}

void vring_restore(struct vring *r, uint16_t next)
{
	r->last_avail = next;
	r->last_used = next;
	r->signalled = next;
	r->signalled_valid = false;
	r->n_pending = 0;
	vring_break(r, NULL);
}

struct vring_pos vring_position(const struct vring *r)
{
	return (struct vring_pos){ .avail = r->last_avail, .used = r->last_used };
}

void vring_set_call(struct vring *r, int fd)
{
	atomic_store(&r->call_fd, fd);
}

void vring_call_now(struct vring *r)
{
	int fd = atomic_load_explicit(&r->call_fd, memory_order_acquire);
	if (fd < 0)
		return;
	if (!nudge(fd)) {
		atomic_store(&r->call_fd, -1);
		vring_break(r, "its call descriptor blocks");
	}
	atomic_fetch_add_explicit(&r->counts->calls, 1, memory_order_relaxed);
}
