// Names of feature bits, and what is offered.
#include <stddef.h>

#include "base/bits.h"
#include "dev/dev.h"

static const char *const features[64] = {
	[VIRTIO_NET_F_CSUM] = "csum",
	[VIRTIO_NET_F_GUEST_CSUM] = "guest_csum",
	[VIRTIO_NET_F_CTRL_GUEST_OFFLOADS] = "ctrl_guest_offloads",
	[VIRTIO_NET_F_MTU] = "mtu",
	[VIRTIO_NET_F_MAC] = "mac",
	[VIRTIO_NET_F_GSO] = "gso",
	[VIRTIO_NET_F_GUEST_TSO4] = "guest_tso4",
	[VIRTIO_NET_F_GUEST_TSO6] = "guest_tso6",
	[VIRTIO_NET_F_GUEST_ECN] = "guest_ecn",
	[VIRTIO_NET_F_GUEST_UFO] = "guest_ufo",
	[VIRTIO_NET_F_HOST_TSO4] = "host_tso4",
	[VIRTIO_NET_F_HOST_TSO6] = "host_tso6",
	[VIRTIO_NET_F_HOST_ECN] = "host_ecn",
	[VIRTIO_NET_F_HOST_UFO] = "host_ufo",
	[VIRTIO_NET_F_MRG_RXBUF] = "mrg_rxbuf",
	[VIRTIO_NET_F_STATUS] = "status",
	[VIRTIO_NET_F_CTRL_VQ] = "ctrl_vq",
	[VIRTIO_NET_F_GUEST_ANNOUNCE] = "guest_announce",
	[VIRTIO_NET_F_MQ] = "mq",
	[VIRTIO_F_NOTIFY_ON_EMPTY] = "notify_on_empty",
	[VHOST_F_LOG_ALL] = "log_all",
	[VIRTIO_F_ANY_LAYOUT] = "any_layout",
	[VIRTIO_F_INDIRECT_DESC] = "indirect_desc",
	[VIRTIO_F_EVENT_IDX] = "event_idx",
	[VHOST_USER_F_PROTOCOL_FEATURES] = "protocol_features",
	[VIRTIO_F_VERSION_1] = "version_1",
	[VIRTIO_F_ACCESS_PLATFORM] = "access_platform",
	[VIRTIO_F_RING_PACKED] = "ring_packed",
	[VIRTIO_F_IN_ORDER] = "in_order",
	[VIRTIO_F_RING_RESET] = "ring_reset",
	[VIRTIO_NET_F_HASH_REPORT] = "hash_report",
	[VIRTIO_NET_F_RSS] = "rss",
};

static const char *const protocol[64] = {
	[VU_PF_MQ] = "proto-mq",
	[VU_PF_LOG_SHMFD] = "proto-log_shmfd",
	[VU_PF_RARP] = "proto-rarp",
	[VU_PF_REPLY_ACK] = "proto-reply_ack",
	[VU_PF_MTU] = "proto-mtu",
	[VU_PF_BACKEND_REQ] = "proto-backend_req",
	[VU_PF_CROSS_ENDIAN] = "proto-cross_endian",
	[VU_PF_CRYPTO_SESSION] = "proto-crypto_session",
	[VU_PF_PAGEFAULT] = "proto-pagefault",
	[VU_PF_CONFIG] = "proto-config",
	[VU_PF_BACKEND_SEND_FD] = "proto-backend_send_fd",
	[VU_PF_HOST_NOTIFIER] = "proto-host_notifier",
	[VU_PF_INFLIGHT_SHMFD] = "proto-inflight_shmfd",
	[VU_PF_RESET_DEVICE] = "proto-reset_device",
	[VU_PF_INBAND_NOTIFICATIONS] = "proto-inband_notifications",
	[VU_PF_CONFIGURE_MEM_SLOTS] = "proto-configure_mem_slots",
	[VU_PF_STATUS] = "proto-status",
	[VU_PF_XEN_MMAP] = "proto-xen_mmap",
	[VU_PF_SHARED_OBJECT] = "proto-shared_object",
	[VU_PF_DEVICE_STATE] = "proto-device_state",
	[VU_PF_SHMEM] = "proto-shmem",
};

const char *dev_feature_name(unsigned bit)
{
	return bit < 64 ? features[bit] : NULL;
}

const char *dev_protocol_feature_name(unsigned bit)
{
	return bit < 64 ? protocol[bit] : NULL;
}

uint64_t dev_features_supported(void)
{
#ifdef VRINGD_MUTANT_LACKS_FEATURE // for the tests: a version that can't go on where a front end has acknowledged it
	const uint64_t mrg = 0;
#else
	const uint64_t mrg = BIT64(VIRTIO_NET_F_MRG_RXBUF);
#endif
	return BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_MTU) | mrg |
	       BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6) | BIT64(VIRTIO_NET_F_GUEST_ECN) |
	       BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6) | BIT64(VIRTIO_NET_F_HOST_ECN) |
	       BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT64(VIRTIO_NET_F_MQ) | BIT64(VHOST_F_LOG_ALL) | BIT64(VIRTIO_F_ANY_LAYOUT) |
	       BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES) |
	       BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_RING_PACKED);
}

uint64_t dev_features_sound(uint64_t bits)
{
	const uint64_t host = BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6);
	const uint64_t guest = BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6);
	if (!bits_has(bits, VIRTIO_NET_F_CSUM))
		bits &= ~host;
	if (!bits_has(bits, VIRTIO_NET_F_GUEST_CSUM))
		bits &= ~guest;
	if (!(bits & host))
		bits = bits_without(bits, VIRTIO_NET_F_HOST_ECN);
	if (!(bits & guest))
		bits = bits_without(bits, VIRTIO_NET_F_GUEST_ECN);
	return bits;
}

uint64_t dev_protocol_features_supported(void)
{
	return BIT64(VU_PF_MQ) | BIT64(VU_PF_LOG_SHMFD) | BIT64(VU_PF_RARP) | BIT64(VU_PF_REPLY_ACK) | BIT64(VU_PF_MTU);
}
