// A tap port: frames with a 12-byte virtio-net header, read and written without blocking.
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "switch/dp_int.h"

#define TAP_IOV 64

static void tap_failed(struct dp_port *port)
{
	atomic_store(&port->tap_gone, true);
	dp_note(port, DP_NOTE_TAP_GONE);
}

static void tap_frame(struct worker *w, struct dp_port *port, uint32_t got)
{
	struct frame *f = &w->frame;
	struct gseg seg = { .host = w->tap_buf, .gpa = 0, .len = got };
	memcpy(&f->hdr, w->tap_buf, sizeof(f->hdr));
	f->hdr.num_buffers = 0;
	f->segs = &seg;
	f->n_segs = 1;
	f->skip = sizeof(f->hdr);
	f->len = got - f->skip;
	f->head_len = f->len < DP_HEAD ? f->len : DP_HEAD;
	memcpy(f->head, w->tap_buf + f->skip, f->head_len);
	f->src = port;
	f->src_pair = 0;
	struct dp_counters *c = &ctr_of(w, port)->queue[0];
	ctr_add(&c->in_frames, 1);
	ctr_add(&c->in_bytes, f->len);
	const char *why;
	if (frame_whole(f) ? !frame_gso(f, GSO_ALL) : !vnet_tx_sane(&f->hdr, f->len, true, &why)) {
		ctr_add(&ctr_of(w, port)->drops_in[DP_DROP_HEADER], 1);
		return;
	}
	struct dp_port *dst = NULL;
	enum frame_way way = frame_route(w, f, &dst);
	if (way != FRAME_DROP && frame_whole(f))
		ctr_add(&ctr_of(w, port)->gso_in, 1);
	if (way == FRAME_FLOOD)
		deliver_flood(w, f);
	else if (way == FRAME_UNICAST)
		deliver_one(w, dst, f, true, false); // the kernel can't take it back: a full guest drops
}

bool tap_run(struct worker *w, struct dp_port *port)
{
	const uint64_t parts = w->parts;
	if (atomic_load_explicit(&port->tap_gone, memory_order_relaxed))
		return false;
	flight_at(w->flight, port->q[1].tag);
	for (unsigned i = 0; i < DP_BATCH && w->parts - parts < DP_CUT_FRAMES; i++) {
		ssize_t n = read(port->tap_fd, w->tap_buf, sizeof(w->tap_buf));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN && errno != EIO) // EIO: the interface is down, and may come up again
				tap_failed(port);
			return false;
		}
		w->tried = true;
		if ((size_t)n >= sizeof(struct vnet_hdr) + ETH_MIN)
			tap_frame(w, port, (uint32_t)n);
		else
			ctr_add(&ctr_of(w, port)->drops_in[DP_DROP_RUNT], 1);
	}
	return true;
}

// A frame that was left whole goes as it is: the kernel takes one from whoever writes it, and cuts it where its way needs
// that. (What TUNSETOFFLOAD says is about what we read.)
enum deliver tap_send(struct worker *w, struct dp_port *port, struct frame *f)
{
	struct iovec iov[TAP_IOV];
	struct vnet_hdr h = f->hdr;
	int n = 2;
	h.num_buffers = 0;
	h.flags &= VNET_F_NEEDS_CSUM;
	iov[0] = (struct iovec){ .iov_base = &h, .iov_len = sizeof(h) };
	if (f->n_segs > TAP_IOV - 2) {
		uint8_t *all = frame_linear(w, f);
		iov[1] = (struct iovec){ .iov_base = all, .iov_len = all ? f->len : 0 };
	} else {
		iov[1] = (struct iovec){ .iov_base = f->head, .iov_len = f->head_len };
		uint32_t skip = f->skip + f->head_len, left = f->len - f->head_len;
		for (unsigned i = 0; i < f->n_segs && left != 0; i++) {
			if (skip >= f->segs[i].len) {
				skip -= f->segs[i].len;
				continue;
			}
			uint32_t part = f->segs[i].len - skip < left ? f->segs[i].len - skip : left;
			// writev reads only; an iovec can't say so
			iov[n++] = (struct iovec){ .iov_base = (void *)(uintptr_t)(f->segs[i].host + skip), .iov_len = part };
			left -= part;
			skip = 0;
		}
	}
	if (writev(port->tap_fd, iov, n) < 0) {
		ctr_add(&ctr_of(w, port)->drops_out[DP_DROP_TAP], 1);
		return DELIVER_DROPPED;
	}
	struct dp_counters *c = &ctr_of(w, port)->queue[0];
	ctr_add(&c->out_frames, 1);
	ctr_add(&c->out_bytes, f->len);
	if (frame_whole(f))
		ctr_add(&ctr_of(w, port)->gso_out, 1);
	return DELIVERED;
}
