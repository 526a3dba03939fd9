#include "load/load.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "driver/frame.h"
#include "load/inner.h"

#define SETTLE_MS 700 // a switch announces a guest that arrived for that long
#define LEAST_BUFFERS 8

bool load_fail(char why[LOAD_WHY], const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, LOAD_WHY, fmt, ap);
	va_end(ap);
	return false;
}

static void defaults(struct load_conf *c)
{
	if (c->pairs == 0)
		c->pairs = 1;
	if (c->ring_size == 0)
		c->ring_size = 1024;
	if (c->n_sizes == 0) {
		c->size[0] = (struct load_size){ 64, 1 };
		c->n_sizes = 1;
	}
	if (c->burst == 0)
		c->burst = 32;
	if (c->occupancy)
		c->burst = c->ring_size;
	if (c->flows == 0)
		c->flows = 1;
	if (c->harvest_ms == 0)
		c->harvest_ms = 100;
	if (c->rx_buffer == 0)
		c->rx_buffer = 2048;
}

static uint64_t wanted_features(const struct load_conf *c)
{
	uint64_t f = BIT64(VIRTIO_F_VERSION_1);
	if (c->mergeable)
		f |= BIT64(VIRTIO_NET_F_MRG_RXBUF);
	if (c->in_order)
		f |= BIT64(VIRTIO_F_IN_ORDER);
	if (c->indirect)
		f |= BIT64(VIRTIO_F_INDIRECT_DESC);
	if (c->event_idx)
		f |= BIT64(VIRTIO_F_EVENT_IDX);
	if (c->pairs > 1)
		f |= BIT64(VIRTIO_NET_F_MQ);
	if (c->gso)
		f |= BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_HOST_TSO4) |
		     BIT64(VIRTIO_NET_F_GUEST_TSO4);
	return f;
}

// All that is wanted was offered; else why names the first that is missing.
static bool offers_all(const struct fe *fe, const struct load_conf *c, char why[LOAD_WHY])
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { VIRTIO_F_VERSION_1, "version 1" },
		      { VIRTIO_NET_F_MRG_RXBUF, "mergeable buffers" },
		      { VIRTIO_F_IN_ORDER, "in-order completion" },
		      { VIRTIO_F_INDIRECT_DESC, "indirect descriptors" },
		      { VIRTIO_F_EVENT_IDX, "event indices" },
		      { VIRTIO_NET_F_MQ, "several queue pairs" },
		      { VIRTIO_NET_F_CSUM, "checksum offload from the guest" },
		      { VIRTIO_NET_F_GUEST_CSUM, "checksum offload to the guest" },
		      { VIRTIO_NET_F_HOST_TSO4, "TCP segmentation offload (host_tso4)" },
		      { VIRTIO_NET_F_GUEST_TSO4, "TCP segmentation offload (guest_tso4)" } };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (bits_has(wanted_features(c) & ~fe->features, names[i].bit))
			return load_fail(why, "it does not offer %s", names[i].name);
	if (c->pairs > 1 && fe->queue_num < c->pairs)
		return load_fail(why, "it has %llu queue pairs", (unsigned long long)fe->queue_num);
	return true;
}

static uint32_t rx_room(const struct load *l) // frame bytes of a receive buffer
{
	if (l->conf.mergeable)
		return l->conf.rx_buffer - 12;
	return l->max_frame > l->conf.rx_buffer - 12 ? l->max_frame : l->conf.rx_buffer - 12;
}

// As many buffers as the ring has entries, or as the working set says. Frames are counted by what is touched of a buffer.
static uint32_t buffers_for(const struct load *l, uint32_t room)
{
	const struct load_conf *c = &l->conf;
	uint64_t n = c->ring_size, touched = (l->max_frame < room ? l->max_frame : room) + 128; // with its lines
	if (c->working_set)
		n = c->working_set / touched;
	return n < LEAST_BUFFERS ? LEAST_BUFFERS : (uint32_t)n;
}

static struct lane_conf rx_conf(const struct load *l)
{
	return (struct lane_conf){ .room = rx_room(l), .n_bufs = buffers_for(l, rx_room(l)), .longest = l->max_frame };
}

static struct lane_conf tx_conf(const struct load *l)
{
	struct lane_conf c = { .room = l->max_frame, .n_bufs = buffers_for(l, l->max_frame), .indirect = l->conf.indirect };
	// a frame that needs many receive buffers: more transmit buffers than can be on their way are only memory
	if (!l->conf.working_set && c.n_bufs > 2 * l->window && l->window)
		c.n_bufs = (uint32_t)(2 * l->window);
	if (c.n_bufs < l->conf.flows) // each flow has a buffer
		c.n_bufs = l->conf.flows;
	return c;
}

static uint64_t memory_bytes(const struct load *l)
{
	struct lane_conf rx = rx_conf(l), tx = tx_conf(l);
	uint64_t all = (lane_memory(&rx) + lane_memory(&tx) + (UINT64_C(1) << 20)) * l->conf.pairs;
	return (all + (UINT64_C(2) << 20) - 1) >> 21 << 21;
}

static bool side_open(struct load *l, unsigned s, char why[LOAD_WHY])
{
	struct side *side = &l->side[s];
	const struct load_conf *c = &l->conf;
	struct fe_conf fc = {
		.pairs = c->pairs, .ring_size = c->ring_size, .features = wanted_features(c), .style = FE_QEMU10, .kick_count = 1,
		.packed = c->packed, .mem = { .region_bytes = memory_bytes(l), .first_gpa = UINT64_C(1) << 32, .huge = c->huge },
	};
	side->fe = fe_new(&fc);
	side->rx = calloc(c->pairs, sizeof(*side->rx));
	side->tx = calloc(c->pairs, sizeof(*side->tx));
	if (!side->fe || !side->rx || !side->tx)
		return load_fail(why, "no memory for a guest of %llu MiB%s", (unsigned long long)(memory_bytes(l) >> 20),
			c->huge ? " on huge pages" : "");
	if (!fe_connect(side->fe, c->path[s]) || fe_negotiate(side->fe) != FE_OK)
		return load_fail(why, "%.190s", side->fe->err_text);
	if (!offers_all(side->fe, c, why))
		return false;
	fe_driver_reset(side->fe, 0);
	struct lane_conf rx = rx_conf(l), tx = tx_conf(l);
	for (unsigned p = 0; p < c->pairs; p++) {
		if (!lane_init(&side->rx[p], side->fe, 2 * p, &rx) || !lane_init(&side->tx[p], side->fe, 2 * p + 1, &tx))
			return load_fail(why, "no memory for buffers");
		side->tx[p].lead = c->gso ? LOAD_GSO_LEAD : 0;
		load_fill(l, s, &side->tx[p]);
	}
	if (fe_start(side->fe) != FE_OK)
		return load_fail(why, "%s: %.120s", c->path[s], side->fe->err_text);
	for (unsigned p = 0; p < c->pairs; p++) {
		lane_post_all(&side->rx[p]);
		vq_disarm(side->rx[p].q);
		vq_disarm(side->tx[p].q);
	}
	return true;
}

// Each side shows each of its addresses, and takes in whatever the back end says at the start.
static bool teach(struct load *l, char why[LOAD_WHY])
{
	unsigned sides = l->conf.kind == LOAD_SINK || l->conf.kind == LOAD_LOOP ? 1 : 2;
	uint64_t until = clock_boot_us() + SETTLE_MS * 1000;
	for (unsigned s = 0; s < sides; s++) {
		uint32_t left = l->conf.kind == LOAD_SINK ? 1 : l->conf.flows;
		uint64_t end = clock_boot_us() + 2000000;
		while (left) {
			for (unsigned p = 0; p < l->conf.pairs && left; p++) {
				lane_reap(&l->side[s].tx[p]);
				left -= lane_send(&l->side[s].tx[p], left < 16 ? left : 16);
			}
			for (unsigned o = 0; o < sides; o++)
				for (unsigned p = 0; p < l->conf.pairs; p++)
					lane_receive(&l->side[o].rx[p], 64, NULL, NULL);
			if (clock_boot_us() > end)
				return load_fail(why, "%s: the first frames do not leave the ring", l->conf.path[s]);
		}
	}
	while (clock_boot_us() < until) {
		for (unsigned o = 0; o < sides; o++)
			for (unsigned p = 0; p < l->conf.pairs; p++)
				lane_receive(&l->side[o].rx[p], 64, NULL, NULL);
		usleep(500);
	}
	for (unsigned s = 0; s < sides; s++)
		for (unsigned p = 0; p < l->conf.pairs; p++)
			lane_reap(&l->side[s].tx[p]);
	return true;
}

static bool sizes_fit(struct load *l, char why[LOAD_WHY])
{
	uint32_t least = FRAME_MIN + (l->conf.gso ? LOAD_GSO_LEAD : 0), most = 65500;
	for (unsigned i = 0; i < l->conf.n_sizes; i++) {
		if (l->conf.size[i].bytes > l->max_frame)
			l->max_frame = l->conf.size[i].bytes;
		if (l->conf.size[i].bytes < least || l->conf.size[i].bytes > most || !l->conf.size[i].weight)
			return load_fail(why, "frames of %u bytes: only %u to %u", l->conf.size[i].bytes, least, most);
	}
	return true;
}

// One receive ring takes all frames of a sender that are on their way: which of several it will be is the back end's choice.
static uint64_t window_of(const struct load *l)
{
	uint32_t each = (l->max_frame + 12 + rx_room(l) + 11) / (rx_room(l) + 12), n = buffers_for(l, rx_room(l));
	if (l->conf.kind == LOAD_SINK)
		return UINT64_MAX;
	n = n < l->conf.ring_size ? n : l->conf.ring_size;
	return n / each ? n / each : 1;
}

struct load *load_open(const struct load_conf *conf, char why[LOAD_WHY])
{
	struct load *l = calloc(1, sizeof(*l));
	if (!l) {
		load_fail(why, "no memory");
		return NULL;
	}
	l->conf = *conf;
	defaults(&l->conf);
	l->rate = conf->rate;
	l->log[0].fd = l->log[1].fd = -1;
	l->n_sides = conf->kind == LOAD_SINK || conf->kind == LOAD_LOOP ? 1 : 2;
	l->n_senders = conf->kind == LOAD_BOTH_WAYS ? 2 : 1;
	bool ok = sizes_fit(l, why);
	if (conf->cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((unsigned)conf->cpu, &set);
		if (ok && sched_setaffinity(0, sizeof(set), &set) != 0)
			ok = load_fail(why, "CPU %d: %m", conf->cpu);
	}
	l->window = ok ? window_of(l) : 1;
	for (unsigned s = 0; s < l->n_sides && ok; s++)
		ok = side_open(l, s, why);
	ok = ok && teach(l, why) && (!conf->log || load_log(l, true, why));
	if (!ok) {
		load_close(l);
		return NULL;
	}
	return l;
}

void load_rate(struct load *l, uint64_t rate)
{
	l->rate = rate;
}

void load_close(struct load *l)
{
	if (!l)
		return;
	for (unsigned s = 0; s < LOAD_SIDES; s++) {
		for (unsigned p = 0; p < l->conf.pairs; p++) {
			if (l->side[s].rx)
				lane_fini(&l->side[s].rx[p]);
			if (l->side[s].tx)
				lane_fini(&l->side[s].tx[p]);
		}
		free(l->side[s].rx);
		free(l->side[s].tx);
		if (l->log[s].words)
			munmap(l->log[s].words, l->log[s].bytes);
		fd_reset(&l->log[s].fd);
		fe_free(l->side[s].fe);
	}
	free(l->latency);
	free(l);
}
