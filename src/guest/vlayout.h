// The split virtqueue in guest memory (virtio 1.2, 2.7): offsets and flags. Little endian, as our hosts are.
#ifndef GUEST_VLAYOUT_H
#define GUEST_VLAYOUT_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ring fields are little endian; this host is not"
#endif

#define VDESC_SIZE 16u
#define VDESC_F_NEXT 1u
#define VDESC_F_WRITE 2u
#define VDESC_F_INDIRECT 4u

#define VAVAIL_F_NO_INTERRUPT 1u
#define VAVAIL_FLAGS 0u // u16
#define VAVAIL_IDX 2u // u16
#define VAVAIL_RING(i) (4u + 2u * (uint32_t)(i)) // u16 each
#define VAVAIL_USED_EVENT(num) VAVAIL_RING(num)
#define VAVAIL_BYTES(num) (6u + 2u * (uint32_t)(num))

#define VUSED_F_NO_NOTIFY 1u
#define VUSED_FLAGS 0u // u16
#define VUSED_IDX 2u // u16
#define VUSED_ELEM(i) (4u + 8u * (uint32_t)(i)) // u32 id, u32 len
#define VUSED_AVAIL_EVENT(num) VUSED_ELEM(num)
#define VUSED_BYTES(num) (6u + 8u * (uint32_t)(num))

#endif
