// vhost-user on the wire: numbers, payloads, their sizes. No behaviour. Host byte order throughout.
// Source: the vhost-user specification (QEMU docs/interop/vhost-user.rst).
#ifndef WIRE_VU_SPEC_H
#define WIRE_VU_SPEC_H

#include <assert.h>
#include <stdint.h>

#define VU_VERSION 0x1u
#define VU_FLAG_VERSION_MASK 0x3u
#define VU_FLAG_REPLY 0x4u
#define VU_FLAG_NEED_REPLY 0x8u
#define VU_REPLY_FLAGS (VU_VERSION | VU_FLAG_REPLY) // QEMU accepts nothing else

#define VU_MAX_FDS 8
#define VU_MAX_REGIONS 8 // of SET_MEM_TABLE; slots (ADD_MEM_REG) may be more
#define VU_MAX_SLOTS 509
#define VU_MAX_PAIRS 16
#define VU_MAX_RINGS (2 * VU_MAX_PAIRS)
#define VU_MAX_RING_SIZE 32768u
#define VU_LOG_PAGE 0x1000u
#define VU_RING_INDEX_MASK 0xffu
#define VU_RING_NOFD 0x100u
#define VU_VRING_F_LOG 0x1u
#define VU_MAX_PAYLOAD 4096u

// virtio feature bits that vringd knows
enum {
	VIRTIO_NET_F_CSUM = 0,
	VIRTIO_NET_F_GUEST_CSUM = 1,
	VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
	VIRTIO_NET_F_MTU = 3,
	VIRTIO_NET_F_MAC = 5,
	VIRTIO_NET_F_GSO = 6,
	VIRTIO_NET_F_GUEST_TSO4 = 7,
	VIRTIO_NET_F_GUEST_TSO6 = 8,
	VIRTIO_NET_F_GUEST_ECN = 9,
	VIRTIO_NET_F_GUEST_UFO = 10,
	VIRTIO_NET_F_HOST_TSO4 = 11,
	VIRTIO_NET_F_HOST_TSO6 = 12,
	VIRTIO_NET_F_HOST_ECN = 13,
	VIRTIO_NET_F_HOST_UFO = 14,
	VIRTIO_NET_F_MRG_RXBUF = 15,
	VIRTIO_NET_F_STATUS = 16,
	VIRTIO_NET_F_CTRL_VQ = 17,
	VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
	VIRTIO_NET_F_MQ = 22,
	VIRTIO_F_NOTIFY_ON_EMPTY = 24,
	VHOST_F_LOG_ALL = 26,
	VIRTIO_F_ANY_LAYOUT = 27,
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VHOST_USER_F_PROTOCOL_FEATURES = 30,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_ACCESS_PLATFORM = 33,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_RING_RESET = 40,
	VIRTIO_NET_F_HASH_REPORT = 57,
	VIRTIO_NET_F_RSS = 60,
};

// protocol feature bits
enum {
	VU_PF_MQ = 0,
	VU_PF_LOG_SHMFD = 1,
	VU_PF_RARP = 2,
	VU_PF_REPLY_ACK = 3,
	VU_PF_MTU = 4,
	VU_PF_BACKEND_REQ = 5,
	VU_PF_CROSS_ENDIAN = 6,
	VU_PF_CRYPTO_SESSION = 7,
	VU_PF_PAGEFAULT = 8,
	VU_PF_CONFIG = 9,
	VU_PF_BACKEND_SEND_FD = 10,
	VU_PF_HOST_NOTIFIER = 11,
	VU_PF_INFLIGHT_SHMFD = 12,
	VU_PF_RESET_DEVICE = 13,
	VU_PF_INBAND_NOTIFICATIONS = 14,
	VU_PF_CONFIGURE_MEM_SLOTS = 15,
	VU_PF_STATUS = 16,
	VU_PF_XEN_MMAP = 17,
	VU_PF_SHARED_OBJECT = 18,
	VU_PF_DEVICE_STATE = 19,
	VU_PF_SHMEM = 22,
};

struct vu_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size; // of the payload
};
static_assert(sizeof(struct vu_hdr) == 12, "header");

struct vu_state {
	uint32_t index;
	uint32_t num;
};
static_assert(sizeof(struct vu_state) == 8, "state");

struct vu_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used; // note the order: used before avail
	uint64_t avail;
	uint64_t log;
};
static_assert(sizeof(struct vu_addr) == 40, "addr");

struct vu_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};
static_assert(sizeof(struct vu_region) == 32, "region");

struct vu_memory {
	uint32_t n;
	uint32_t pad;
	struct vu_region region[VU_MAX_REGIONS]; // 8 + 32 n bytes are sent
};
static_assert(sizeof(struct vu_memory) == 8 + 32 * VU_MAX_REGIONS, "memory");

struct vu_mem_reg {
	uint64_t pad;
	struct vu_region region;
};
static_assert(sizeof(struct vu_mem_reg) == 40, "mem_reg");

struct vu_log {
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct vu_log) == 16, "log");

struct vu_inflight {
	uint64_t size;
	uint64_t offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint32_t pad;
};
static_assert(sizeof(struct vu_inflight) == 24, "inflight: peers compare with sizeof");

struct vu_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t uaddr;
	uint8_t perm;
	uint8_t type;
	uint8_t pad[6];
};
static_assert(sizeof(struct vu_iotlb) == 32, "iotlb");

struct vu_xfer {
	uint32_t direction;
	uint32_t phase;
};
static_assert(sizeof(struct vu_xfer) == 8, "xfer");

#endif
