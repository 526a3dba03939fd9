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

#define MAC_STEP 0x10000u // side s has the MACs from s * MAC_STEP on, one per flow
#define SETTLE_MS 700     // a switch announces a guest that arrived for that long

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
	return f;
}

static uint32_t buffers_of(const struct load *l, uint32_t frame)
{
	uint32_t n = l->conf.ring_size, per = frame + 128;
	return l->conf.working_set / per > n ? (uint32_t)(l->conf.working_set / per) : n;
}

static uint32_t rx_room(const struct load *l) // frame bytes of a receive buffer
{
	if (l->conf.mergeable)
		return l->conf.rx_buffer - 12;
	return l->max_frame > l->conf.rx_buffer - 12 ? l->max_frame : l->conf.rx_buffer - 12;
}

static uint64_t memory_bytes(const struct load *l)
{
	uint64_t tx = (uint64_t)buffers_of(l, l->max_frame) * (l->max_frame + 256);
	uint64_t rx = (uint64_t)buffers_of(l, rx_room(l)) * (rx_room(l) + 256);
	uint64_t all = (tx + rx + (UINT64_C(1) << 20)) * l->conf.pairs + (UINT64_C(4) << 20);
	return (all + (UINT64_C(2) << 20) - 1) >> 21 << 21;
}

// Frames are laid into the transmit buffers once: sizes by weight, flows in turn.
static void prefill(struct load *l, unsigned s, struct lane *tx)
{
	const struct load_conf *c = &l->conf;
	uint32_t total = 0, to = c->kind == LOAD_LOOP || c->kind == LOAD_SINK ? s : 1 - s;
	uint64_t mix = c->seed * 2654435761u + 1;
	for (unsigned i = 0; i < c->n_sizes; i++)
		total += c->size[i].weight;
	if (c->kind == LOAD_SINK)
		to = 7; // whatever is there
	for (uint32_t b = 0; b < tx->n_bufs; b++) {
		uint8_t src[6], dst[6];
		uint32_t flow = b % c->flows, pick, i = 0;
		mix = mix * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		for (pick = (uint32_t)(mix >> 33) % total; pick >= c->size[i].weight; i++)
			pick -= c->size[i].weight;
		tx->len[b] = c->size[i].bytes;
		frame_mac(src, (s + 1) * MAC_STEP + flow);
		frame_mac(dst, (to + 1) * MAC_STEP + flow);
		frame_fill(lane_frame(tx, b), tx->len[b], dst, src, flow, 0, false);
	}
}

static bool side_open(struct load *l, unsigned s, char why[LOAD_WHY])
{
	struct side *side = &l->side[s];
	const struct load_conf *c = &l->conf;
	struct fe_conf fc = {
		.pairs = c->pairs, .ring_size = c->ring_size, .features = wanted_features(c), .style = FE_QEMU10, .kick_count = 1,
		.mem = { .region_bytes = memory_bytes(l), .first_gpa = UINT64_C(1) << 32 },
	};
	side->fe = fe_new(&fc);
	side->rx = calloc(c->pairs, sizeof(*side->rx));
	side->tx = calloc(c->pairs, sizeof(*side->tx));
	if (!side->fe || !side->rx || !side->tx)
		return load_fail(why, "no memory for a guest of %llu MiB", (unsigned long long)(memory_bytes(l) >> 20));
	if (!fe_connect(side->fe, c->path[s]) || fe_negotiate(side->fe) != FE_OK)
		return load_fail(why, "%s: %.120s", c->path[s], side->fe->err_text);
	fe_driver_reset(side->fe, 0);
	for (unsigned p = 0; p < c->pairs; p++) {
		if (!lane_init(&side->rx[p], side->fe, 2 * p, rx_room(l), buffers_of(l, rx_room(l))) ||
		    !lane_init(&side->tx[p], side->fe, 2 * p + 1, l->max_frame, buffers_of(l, l->max_frame)))
			return load_fail(why, "no memory for buffers");
		prefill(l, s, &side->tx[p]);
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
	bool ok = true;
	for (unsigned i = 0; i < l->conf.n_sizes; i++) {
		if (l->conf.size[i].bytes > l->max_frame)
			l->max_frame = l->conf.size[i].bytes;
		if (l->conf.size[i].bytes < FRAME_MIN || l->conf.size[i].bytes > 65000 || !l->conf.size[i].weight)
			ok = load_fail(why, "frames of %u bytes: only 60 to 65000", l->conf.size[i].bytes);
	}
	if (conf->packed || conf->gso || conf->huge)
		ok = load_fail(why, "packed rings, GSO headers and hugepages: not in this driver yet");
	if (conf->cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((unsigned)conf->cpu, &set);
		if (ok && sched_setaffinity(0, sizeof(set), &set) != 0)
			ok = load_fail(why, "CPU %d: %m", conf->cpu);
	}
	uint32_t buffers = (l->max_frame + 12 + rx_room(l) + 11) / (rx_room(l) + 12);
	l->window = (uint64_t)l->conf.ring_size * l->conf.pairs * l->n_senders / buffers;
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

bool load_log(struct load *l, bool on, char why[LOAD_WHY])
{
	for (unsigned s = 0; s < l->n_sides; s++) {
		struct load_harvest *h = &l->log[s];
		struct fe *fe = l->side[s].fe;
		if (on == h->on)
			continue;
		if (on && h->fd < 0) {
			h->bytes = (gmem_end(fe->mem) / GMEM_PAGE / 64 + 1) * 8;
			h->fd = memfd_create("log", MFD_CLOEXEC);
			if (h->fd < 0 || ftruncate(h->fd, (off_t)h->bytes) != 0)
				return load_fail(why, "no memory for a log: %m");
			h->words = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
			if (h->words == MAP_FAILED) {
				h->words = NULL;
				return load_fail(why, "no memory for a log: %m");
			}
		}
		if ((on ? fe_log_start(fe, h->fd, h->bytes, 0) : fe_log_stop(fe)) != FE_OK)
			return load_fail(why, "logging: %.150s", fe->err_text);
		h->on = on;
	}
	return true;
}

void load_harvest_run(struct load *l, uint64_t now_us)
{
	for (unsigned s = 0; s < l->n_sides; s++) {
		struct load_harvest *h = &l->log[s];
		if (!h->on || now_us < h->next_us)
			continue;
		h->next_us = now_us + l->conf.harvest_ms * UINT64_C(1000);
		// guest memory begins at 4 GiB: what lies below has no bits
		for (uint64_t i = l->side[s].fe->mem->region[0].gpa / GMEM_PAGE / 64; i < h->bytes / 8; i++)
			if (__atomic_load_n(&h->words[i], __ATOMIC_RELAXED))
				h->pages += (unsigned)__builtin_popcountll(__atomic_exchange_n(&h->words[i], 0, __ATOMIC_SEQ_CST));
	}
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
