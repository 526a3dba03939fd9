// The packed virtqueue in guest memory (virtio 1.2, 2.8): offsets and flags. Little endian, as our hosts are.
#ifndef GUEST_PLAYOUT_H
#define GUEST_PLAYOUT_H

#include "guest/vlayout.h"

#define PDESC_LEN 8u // u32; u16 id; u16 flags; behind a u64 address
#define PDESC_ID 12u
#define PDESC_FLAGS 14u
#define PDESC_F_AVAIL (1u << 7)
#define PDESC_F_USED (1u << 15)

// An event suppression area: u16 offset and wrap counter, u16 flags; read and written as one word.
#define PEVENT_BYTES 4u
#define PEVENT_ENABLE 0u
#define PEVENT_DISABLE 1u
#define PEVENT_DESC 2u

#endif
