// THE message table: one row for each front-end request of the vhost-user specification, handled or not, in id order. All
// that is done because of a message's kind follows from its row: admission (vu_admit.c), the way of a refusal and of a reply
// (dev), names in diagnostics, docs/messages.md, the tests' cases, the fuzzer's dictionary.
//
//   ROW(id, NAME, payload, length, fds, gate, when, queue, effect, reply, refusal, handler, note)
//
//   payload  what the bytes mean: VU_P_...
//   length   LEN_EXACT(n) | LEN_COUNTED(head, element, max): a u32 count comes first | LEN_RANGE(min, max)
//   fds      VU_FDS_NONE | _ONE | _BY_NOFD: none if bit 8 of the u64 is set, else one | _COUNTED: as many as the count
//            | _MAYBE: none or one
//   gate     GATE_ALWAYS | GATE_F30: virtio bit 30 is offered | GATE_OFFERED(pf): that protocol feature is
//            offered (where the specification asks for "present in GET_PROTOCOL_FEATURES" only) | GATE_PF(pf): it is
//            negotiated | GATE_FEATURE(f): that virtio feature is acknowledged
//   when     the session phases and, for a message about a ring, the ring phases in which it is legal
//   queue    where the ring index stands: VU_Q_NO | VU_Q_STATE | VU_Q_ADDR | VU_Q_LOW_BYTE
//   effect   VU_READ | VU_NEGOTIATE | VU_MEMORY | VU_QUEUE | VU_RUN
//   reply    VU_R_ACK: a u64 0 if asked for | the message's own: VU_R_U64, VU_R_STATE, VU_R_LOG, VU_R_OTHER
//   refusal  how a refusal (of the peer's, or for want of resources of ours) is spelt. Asked means: need_reply is set and
//            REPLY_ACK negotiated.
//            VU_NACK_CLOSE  u64 1 if asked; else close: what the peer believes from here on would not be so
//            VU_NACK_GO_ON  u64 1 if asked; else carry on: nothing that matters differs
//            VU_NACK_LOG    as VU_NACK_CLOSE, but while logging or starting to log the log is filled with ones
//                           and the socket closed: QEMU 7.2 aborts on a nack there, and survives a closed socket
//            VU_NACK        the message's own reply is a u64 whose nonzero value is an error: that, asked or not
//            VU_CLOSE       the reply has no error form, and silence would hang the peer: log filled, socket closed
//            VU_ANSWER      as VU_CLOSE for a malformed message; a failure of ours is reported, the answer given all
//                           the same
//   handler  dev_on_NAME in dev, or DECLINED: treated as a refusal, note says why
#ifndef WIRE_VU_MSGS_H
#define WIRE_VU_MSGS_H

// clang-format off
#define VU_MESSAGES(ROW) \
	ROW(1, GET_FEATURES, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_ALWAYS, VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_U64, VU_CLOSE, get_features, \
	    "offered virtio features; also QEMU's barrier where REPLY_ACK is absent") \
	ROW(2, SET_FEATURES, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_ALWAYS, VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_LOG, set_features, \
	    "legal while rings run if only LOG_ALL differs; without bit 30 all rings become enabled") \
	ROW(3, SET_OWNER, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_ALWAYS, VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, set_owner, "start of the session") \
	ROW(4, RESET_OWNER, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_ALWAYS, VU_IN_ANY, VU_Q_NO, \
	    VU_RUN, VU_R_ACK, VU_NACK_GO_ON, reset_owner, "deprecated: all rings become disabled, the session stays") \
	ROW(5, SET_MEM_TABLE, VU_P_MEMORY, LEN_COUNTED(8, 32, 8), VU_FDS_COUNTED, GATE_ALWAYS, VU_IN_OWNED, VU_Q_NO, \
	    VU_MEMORY, VU_R_ACK, VU_NACK_CLOSE, set_mem_table, \
	    "replaces the whole table; running rings must resolve in the new one") \
	ROW(6, SET_LOG_BASE, VU_P_LOG, LEN_EXACT(16), VU_FDS_ONE, GATE_PF(VU_PF_LOG_SHMFD), VU_IN_OWNED, VU_Q_NO, \
	    VU_MEMORY, VU_R_LOG, VU_CLOSE, set_log_base, \
	    "the log is echoed in the reply; the new map is there before the old one goes") \
	ROW(7, SET_LOG_FD, VU_P_NONE, LEN_EXACT(0), VU_FDS_ONE, GATE_ALWAYS, VU_IN_OWNED, VU_Q_NO, \
	    VU_MEMORY, VU_R_ACK, VU_NACK_GO_ON, set_log_fd, "optional doorbell: rung when bits of the log are set") \
	ROW(8, SET_VRING_NUM, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_ALWAYS, VU_IN_OWNED | VU_RING_IDLE, VU_Q_STATE, \
	    VU_QUEUE, VU_R_ACK, VU_NACK_CLOSE, set_vring_num, "ring size") \
	ROW(9, SET_VRING_ADDR, VU_P_ADDR, LEN_EXACT(40), VU_FDS_NONE, GATE_ALWAYS, VU_IN_OWNED | VU_RING_ANY, VU_Q_ADDR, \
	    VU_QUEUE, VU_R_ACK, VU_NACK_LOG, set_vring_addr, "legal on a running ring, which keeps its position") \
	ROW(10, SET_VRING_BASE, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_ALWAYS, VU_IN_OWNED | VU_RING_IDLE, VU_Q_STATE, \
	    VU_QUEUE, VU_R_ACK, VU_NACK_CLOSE, set_vring_base, "next available index") \
	ROW(11, GET_VRING_BASE, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_ALWAYS, VU_IN_ANY | VU_RING_ANY, VU_Q_STATE, \
	    VU_RUN, VU_R_STATE, VU_ANSWER, get_vring_base, "stops the ring; what was fetched is completed first") \
	ROW(12, SET_VRING_KICK, VU_P_U64, LEN_EXACT(8), VU_FDS_BY_NOFD, GATE_ALWAYS, VU_IN_OWNED | VU_RING_ANY, \
	    VU_Q_LOW_BYTE, VU_RUN, VU_R_ACK, VU_NACK_CLOSE, set_vring_kick, \
	    "starts the ring; bit 8: no descriptor, the ring is polled") \
	ROW(13, SET_VRING_CALL, VU_P_U64, LEN_EXACT(8), VU_FDS_BY_NOFD, GATE_ALWAYS, VU_IN_OWNED | VU_RING_ANY, \
	    VU_Q_LOW_BYTE, VU_QUEUE, VU_R_ACK, VU_NACK_CLOSE, set_vring_call, \
	    "legal at any time; the new descriptor is signalled once; bit 8: the driver polls") \
	ROW(14, SET_VRING_ERR, VU_P_U64, LEN_EXACT(8), VU_FDS_BY_NOFD, GATE_ALWAYS, VU_IN_OWNED | VU_RING_ANY, \
	    VU_Q_LOW_BYTE, VU_QUEUE, VU_R_ACK, VU_NACK_GO_ON, set_vring_err, "signalled when the ring breaks") \
	ROW(15, GET_PROTOCOL_FEATURES, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_F30, VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_U64, VU_CLOSE, get_protocol_features, "offered protocol features") \
	ROW(16, SET_PROTOCOL_FEATURES, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_F30, VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_CLOSE, set_protocol_features, \
	    "legal before SET_FEATURES; QEMU repeats it for each queue pair") \
	ROW(17, GET_QUEUE_NUM, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_OFFERED(VU_PF_MQ), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_U64, VU_CLOSE, get_queue_num, "queue pairs") \
	ROW(18, SET_VRING_ENABLE, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_F30, VU_IN_OWNED | VU_RING_ANY, VU_Q_STATE, \
	    VU_RUN, VU_R_ACK, VU_NACK_CLOSE, set_vring_enable, "legal before the ring and the memory table are known") \
	ROW(19, SEND_RARP, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_OFFERED(VU_PF_RARP), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_ACK, VU_NACK_GO_ON, send_rarp, \
	    "the guest with this MAC is here now: first 6 bytes of the payload; no ring needs to run") \
	ROW(20, NET_SET_MTU, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_OFFERED(VU_PF_MTU), VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, net_set_mtu, "68 to 65535; comes before SET_FEATURES") \
	ROW(21, SET_BACKEND_REQ_FD, VU_P_NONE, LEN_EXACT(0), VU_FDS_ONE, GATE_PF(VU_PF_BACKEND_REQ), VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, DECLINED, \
	    "no back-end requests: there is no IOMMU support to make them for") \
	ROW(22, IOTLB_MSG, VU_P_OTHER, LEN_EXACT(32), VU_FDS_NONE, GATE_FEATURE(VIRTIO_F_ACCESS_PLATFORM), VU_IN_ANY, \
	    VU_Q_NO, VU_MEMORY, VU_R_U64, VU_NACK, DECLINED, "no IOMMU support: ACCESS_PLATFORM is not offered") \
	ROW(23, SET_VRING_ENDIAN, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_PF(VU_PF_CROSS_ENDIAN), VU_IN_ANY, VU_Q_NO, \
	    VU_QUEUE, VU_R_ACK, VU_NACK_CLOSE, DECLINED, \
	    "little-endian rings only: CROSS_ENDIAN is for legacy guests of other hosts") \
	ROW(24, GET_CONFIG, VU_P_OTHER, LEN_RANGE(12, 268), VU_FDS_NONE, GATE_PF(VU_PF_CONFIG), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_OTHER, VU_CLOSE, DECLINED, \
	    "the front end owns the configuration space of a network device; QEMU 7.2 may crash on CONFIG") \
	ROW(25, SET_CONFIG, VU_P_OTHER, LEN_RANGE(12, 268), VU_FDS_NONE, GATE_PF(VU_PF_CONFIG), VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, DECLINED, "as GET_CONFIG") \
	ROW(26, CREATE_CRYPTO_SESSION, VU_P_OTHER, LEN_RANGE(0, 4096), VU_FDS_NONE, GATE_PF(VU_PF_CRYPTO_SESSION), \
	    VU_IN_ANY, VU_Q_NO, VU_NEGOTIATE, VU_R_OTHER, VU_CLOSE, DECLINED, "for crypto devices") \
	ROW(27, CLOSE_CRYPTO_SESSION, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_PF(VU_PF_CRYPTO_SESSION), VU_IN_ANY, \
	    VU_Q_NO, VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, DECLINED, "for crypto devices") \
	ROW(28, POSTCOPY_ADVISE, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_PAGEFAULT), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_OTHER, VU_CLOSE, DECLINED, "postcopy is not built: PAGEFAULT is not offered") \
	ROW(29, POSTCOPY_LISTEN, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_PAGEFAULT), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "as POSTCOPY_ADVISE") \
	ROW(30, POSTCOPY_END, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_PAGEFAULT), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_U64, VU_NACK, DECLINED, "as POSTCOPY_ADVISE") \
	ROW(31, GET_INFLIGHT_FD, VU_P_OTHER, LEN_EXACT(24), VU_FDS_NONE, GATE_PF(VU_PF_INFLIGHT_SHMFD), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_OTHER, VU_CLOSE, DECLINED, \
	    "completion is in ring order: used.idx says what is in flight; QEMU's network code never asks") \
	ROW(32, SET_INFLIGHT_FD, VU_P_OTHER, LEN_EXACT(24), VU_FDS_ONE, GATE_PF(VU_PF_INFLIGHT_SHMFD), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "as GET_INFLIGHT_FD") \
	ROW(33, GPU_SET_SOCKET, VU_P_NONE, LEN_EXACT(0), VU_FDS_ONE, GATE_ALWAYS, VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "for GPU devices") \
	ROW(34, RESET_DEVICE, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_RESET_DEVICE), VU_IN_ANY, VU_Q_NO, \
	    VU_RUN, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "GET_VRING_BASE stops each ring before a reset already") \
	ROW(35, VRING_KICK, VU_P_STATE, LEN_EXACT(8), VU_FDS_NONE, GATE_PF(VU_PF_INBAND_NOTIFICATIONS), VU_IN_ANY, VU_Q_NO, \
	    VU_RUN, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "no in-band kicks: QEMU acknowledges the feature without having it") \
	ROW(36, GET_MAX_MEM_SLOTS, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_CONFIGURE_MEM_SLOTS), VU_IN_ANY, \
	    VU_Q_NO, VU_READ, VU_R_U64, VU_CLOSE, DECLINED, \
	    "memory comes by SET_MEM_TABLE; QEMU 7.2 sends slots once for each queue pair") \
	ROW(37, ADD_MEM_REG, VU_P_OTHER, LEN_EXACT(40), VU_FDS_ONE, GATE_PF(VU_PF_CONFIGURE_MEM_SLOTS), VU_IN_ANY, VU_Q_NO, \
	    VU_MEMORY, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "as GET_MAX_MEM_SLOTS") \
	ROW(38, REM_MEM_REG, VU_P_OTHER, LEN_EXACT(40), VU_FDS_MAYBE, GATE_PF(VU_PF_CONFIGURE_MEM_SLOTS), VU_IN_ANY, \
	    VU_Q_NO, VU_MEMORY, VU_R_ACK, VU_NACK_CLOSE, DECLINED, "as GET_MAX_MEM_SLOTS") \
	ROW(39, SET_STATUS, VU_P_U64, LEN_EXACT(8), VU_FDS_NONE, GATE_PF(VU_PF_STATUS), VU_IN_ANY, VU_Q_NO, \
	    VU_NEGOTIATE, VU_R_ACK, VU_NACK_GO_ON, DECLINED, \
	    "QEMU 7.2 sends status 0 before it asks for the ring bases: nothing may hang on it") \
	ROW(40, GET_STATUS, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_STATUS), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_U64, VU_CLOSE, DECLINED, "as SET_STATUS") \
	ROW(41, GET_SHARED_OBJECT, VU_P_OTHER, LEN_EXACT(16), VU_FDS_NONE, GATE_PF(VU_PF_SHARED_OBJECT), VU_IN_ANY, \
	    VU_Q_NO, VU_READ, VU_R_OTHER, VU_CLOSE, DECLINED, "for devices that share buffers") \
	ROW(42, SET_DEVICE_STATE_FD, VU_P_OTHER, LEN_EXACT(8), VU_FDS_ONE, GATE_PF(VU_PF_DEVICE_STATE), VU_IN_ANY, VU_Q_NO, \
	    VU_RUN, VU_R_U64, VU_NACK, DECLINED, "not built yet: it ties both ends of a migration to one back end") \
	ROW(43, CHECK_DEVICE_STATE, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_DEVICE_STATE), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_U64, VU_NACK, DECLINED, "as SET_DEVICE_STATE_FD") \
	ROW(44, GET_SHMEM_CONFIG, VU_P_NONE, LEN_EXACT(0), VU_FDS_NONE, GATE_PF(VU_PF_SHMEM), VU_IN_ANY, VU_Q_NO, \
	    VU_READ, VU_R_OTHER, VU_CLOSE, DECLINED, "for devices with shared memory regions")
// clang-format on

#endif
