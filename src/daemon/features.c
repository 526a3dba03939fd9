// What a front end is offered. It must stay a superset of what the present front end acknowledged, over our restarts and
// upgrades: QEMU drops a back end that lost a feature, and tries again for ever.
#include <string.h>

#include "base/bits.h"
#include "daemon/core.h"

#define COMPAT_LATEST 1 // levels are frozen per release; 1 is this one's

void features_offer(const struct port *p, struct port_offer *out)
{
	uint64_t can = dev_features_supported(), pcan = dev_protocol_features_supported();
	uint64_t must = BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	out->compat = p->spec.compat ? p->spec.compat : p->has_device && p->device.compat ? p->device.compat : COMPAT_LATEST;
	out->features = dev_features_sound((can | p->spec.features_plus) & ~p->spec.features_minus) | must;
	out->protocol_features = (pcan | p->spec.proto_plus) & ~p->spec.proto_minus;
	if (!p->spec.packed && !bits_has(p->spec.features_plus, VIRTIO_F_RING_PACKED))
		out->features = bits_without(out->features, VIRTIO_F_RING_PACKED);
	if (p->spec.announce == SPEC_ANNOUNCE_SWITCH)
		out->features = bits_without(out->features, VIRTIO_NET_F_GUEST_ANNOUNCE); // then QEMU sends SEND_RARP
	if (p->spec.queues == 1)
		out->features = bits_without(out->features, VIRTIO_NET_F_MQ);
	out->pinned = p->has_device && p->device.pinned;
	if (out->pinned) {
		out->features |= p->device.features_acked & can;
		out->protocol_features |= p->device.protocol_features & pcan;
	}
}

// The newest SET_FEATURES counts: firmware acknowledges little, the system after it more.
enum err features_pin(struct port *p, const struct snap *s, struct why *why)
{
	struct store_device d = p->device;
	memcpy(d.port, p->spec.id, sizeof(d.port));
	if (bits_has(d.features_acked ^ s->features_acked, VIRTIO_F_RING_PACKED)) { // bases of the other kind of ring
		d.last_base_set = 0;
		memset(d.last_base, 0, sizeof(d.last_base));
	}
	d.features_offered = s->features_offered;
	d.features_acked = bits_without(s->features_acked, VHOST_F_LOG_ALL);
	d.protocol_features = s->protocol_features;
	d.compat = d.compat ? d.compat : COMPAT_LATEST;
	d.pinned = true;
	if (p->has_device && memcmp(&d, &p->device, sizeof(d)) == 0)
		return OK;
	enum err e = store_device_put(p->vd->store, &d, why);
	if (e == OK) {
		p->device = d;
		p->has_device = true;
	}
	return e;
}

enum err features_check(const struct port_spec *s, struct why *why)
{
	uint64_t more = s->features_plus & ~dev_features_supported(), pmore = s->proto_plus & ~dev_protocol_features_supported();
	const char *name = NULL;
	if (more)
		name = dev_feature_name((unsigned)__builtin_ctzll(more));
	else if (pmore)
		name = dev_protocol_feature_name((unsigned)__builtin_ctzll(pmore));
	if (more || pmore)
		return refuse(why, "features=+%s: this version can't offer it", name ? name : "?");
	if (bits_has(s->features_minus, VHOST_USER_F_PROTOCOL_FEATURES))
		return refuse(why, "features=: the bit of protocol features can't be taken away");
	return OK;
}
