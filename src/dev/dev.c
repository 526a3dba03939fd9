#include "dev/dev.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/crash.h"
#include "base/fd.h"
#include "dev/dev_int.h"

#define WHOLE_LOG (UINT64_C(16) << 20) // of a guest with 512 GiB

struct dev *dev_new(const struct dev_conf *conf, const struct dev_ops *ops, void *arg)
{
	struct dev *dev = calloc(1, sizeof(*dev));
	if (!dev)
		return NULL;
	dev->conf = *conf;
	dev->ops = ops;
	dev->arg = arg;
	dev->log_fd = -1;
	dev->n_rings = 2 * (conf->pairs < 1 ? 1 : conf->pairs > VU_MAX_PAIRS ? VU_MAX_PAIRS : conf->pairs);
	memcpy(dev->snap.port, conf->port, sizeof(dev->snap.port));
	dev->snap.epoch = conf->epoch;
	dev->snap.features_offered = conf->features;
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		dev->ring[q].kick = dev->ring[q].call = dev->ring[q].err = -1;
	return dev;
}

static void retract_all(struct dev *dev, bool last)
{
	for (unsigned q = 0; q < dev->n_rings; q++)
		if (dev->ring[q].now != DEV_WANT_NO)
			dev->ops->ring_retract(dev->arg, q, last);
}

void dev_free(struct dev *dev)
{
	if (!dev)
		return;
	retract_all(dev, true);
	dev->ops->sync(dev->arg);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) {
		struct dev_ring *r = &dev->ring[q];
		ring_free(r->ring);
		fd_reset(&r->kick);
		fd_reset(&r->call);
		fd_reset(&r->err);
	}
	mem_free(dev->mem);
	dirty_free(dev->log);
	fd_reset(&dev->log_fd);
	free(dev);
}

void dev_give_up(struct dev *dev)
{
	if (!dev->log)
		return;
	retract_all(dev, true);
	for (unsigned q = 0; q < dev->n_rings; q++) {
		ring_free(dev->ring[q].ring);
		dev->ring[q].ring = NULL;
		dev->ring[q].now = DEV_WANT_NO;
	}
	dev_log_fill(dev);
}

void dev_log_fill(struct dev *dev)
{
	// A log of a sane size is filled as a whole; of an absurd one, which would take minutes, what can have been written.
	if (dev->log->n_bytes <= WHOLE_LOG) {
		dirty_fill(dev->log, 0, UINT64_MAX);
		crash_here(CRASH_log_filled);
		return;
	}
	for (unsigned i = 0; dev->mem && i < dev->mem->n; i++)
		dirty_fill(dev->log, dev->mem->region[i].gpa, dev->mem->region[i].size);
	for (unsigned q = 0; q < dev->n_rings; q++) // where the used ring is logged may lie outside
		if (dev->snap.ring[q].has_addr && (dev->snap.ring[q].addr_flags & VU_VRING_F_LOG))
			dirty_fill(dev->log, dev->snap.ring[q].log, dev_packed(&dev->snap) ? PEVENT_BYTES : VUSED_BYTES(dev->snap.ring[q].num));
	crash_here(CRASH_log_filled);
}

void dev_event(struct dev *dev, enum dev_event ev, unsigned q, const char *fmt, ...)
{
	char detail[2 * WHY_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	dev->ops->event(dev->arg, ev, q, detail);
}

const struct snap *dev_snap(const struct dev *dev)
{
	return &dev->snap;
}

bool dev_ring_running(const struct dev *dev, unsigned q)
{
	return q < dev->n_rings && dev->ring[q].now == DEV_WANT_RUN;
}

struct vring *dev_ring(const struct dev *dev, unsigned q)
{
	return q < dev->n_rings ? dev->ring[q].ring : NULL;
}

unsigned dev_rings_running(const struct dev *dev)
{
	unsigned n = 0;
	for (unsigned q = 0; q < dev->n_rings; q++)
		n += dev->ring[q].now == DEV_WANT_RUN;
	return n;
}

bool dev_logging(const struct dev *dev)
{
	return dev->log && bits_has(dev->snap.features_acked, VHOST_F_LOG_ALL);
}

uint64_t dev_pages_logged(const struct dev *dev)
{
	return dev->marked_past + (dev->log ? atomic_load(&dev->log->marked) : 0);
}

uint64_t dev_pages_missed(const struct dev *dev)
{
	return dev->missed_past + (dev->log ? atomic_load(&dev->log->missed) : 0);
}

uint64_t dev_memory_bytes(const struct dev *dev)
{
	return dev->mem ? dev->mem->bytes : 0;
}

bool dev_memory_broken(const struct dev *dev)
{
	return (dev->mem && atomic_load(&dev->mem->broken)) || (dev->log && atomic_load(&dev->log->broken));
}

int dev_ring_err_fd(const struct dev *dev, unsigned q)
{
	return q < dev->n_rings ? dev->ring[q].err : -1;
}
