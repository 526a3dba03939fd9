// Frames of our own (announcements): handed to a data thread, which floods them as if they had come in on a port.
#include <stdlib.h>
#include <string.h>

#include "switch/dp_int.h"

struct inject {
	struct inject *next;
	uint16_t port;
	uint32_t len;
	uint8_t frame[];
};

bool dp_inject_flood(struct dp_port *as, const uint8_t *frame, uint32_t len)
{
	if (len < ETH_MIN || len > ETH_MAX)
		return false;
	struct inject *in = malloc(sizeof(*in) + len);
	if (!in)
		return false;
	in->next = NULL;
	in->port = as->index;
	in->len = len;
	memcpy(in->frame, frame, len);
	struct worker *w = dp_owner(as, 0);
	pthread_mutex_lock(&w->inject_lock);
	*w->inject_tail = in;
	w->inject_tail = &in->next;
	pthread_mutex_unlock(&w->inject_lock);
	worker_wake(w);
	return true;
}

static void send_one(struct worker *w, struct dp_port *as, struct inject *in)
{
	struct frame *f = &w->frame;
	struct gseg seg = { .host = in->frame, .gpa = 0, .len = in->len };
	memset(&f->hdr, 0, sizeof(f->hdr));
	f->segs = &seg;
	f->n_segs = 1;
	f->skip = 0;
	f->len = in->len;
	f->head_len = in->len < DP_HEAD ? in->len : DP_HEAD;
	memcpy(f->head, in->frame, f->head_len);
	f->src = as;
	f->src_pair = 0;
	if (!eth_parse(f->head, f->head_len, &f->eth))
		return;
	struct dp_members *m = atomic_load_explicit(&as->net->members, memory_order_acquire);
	for (unsigned i = 0; i < m->n; i++) {
		struct dp_port *dst = atomic_load_explicit(&w->dp->port[m->port[i]], memory_order_acquire);
		if (!dst || dst == as || dst->net != as->net)
			continue;
		uint16_t group = atomic_load(&as->group);
		if (group != 0 && group == atomic_load(&dst->group))
			continue;
		if (dst->kind != DP_VHOST || atomic_load(&dst->rx_pairs) != 0 || atomic_load(&dst->rx_state) == DP_RX_PAUSED)
			deliver_one(w, dst, f, false, false);
	}
	deliver_flush(w);
}

void inject_run(struct worker *w)
{
	pthread_mutex_lock(&w->inject_lock);
	struct inject *list = w->inject_head;
	w->inject_head = NULL;
	w->inject_tail = &w->inject_head;
	pthread_mutex_unlock(&w->inject_lock);
	while (list) {
		struct inject *next = list->next;
		struct dp_port *as = atomic_load(&w->dp->port[list->port]);
		if (as)
			send_one(w, as, list);
		free(list);
		list = next;
	}
}
