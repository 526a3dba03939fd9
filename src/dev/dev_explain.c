// Why nothing runs, in words for the operator.
#include <stdio.h>

#include "base/bits.h"
#include "dev/dev_int.h"

static bool any_ring(const struct dev *dev, bool (*is)(const struct snap_ring *))
{
	for (unsigned q = 0; q < dev->n_rings; q++)
		if (is(&dev->snap.ring[q]))
			return true;
	return false;
}

static bool is_started(const struct snap_ring *r)
{
	return r->started;
}

static bool is_stopped(const struct snap_ring *r)
{
	return !r->started && r->base_given && r->num != 0 && !r->has_addr;
}

static bool is_disabled(const struct snap_ring *r)
{
	return r->started && !r->enabled;
}

static bool is_unaddressed(const struct snap_ring *r)
{
	return r->started && !r->has_addr;
}

void dev_explain(const struct dev *dev, const char **reason, const char **hint)
{
	const struct snap *s = &dev->snap;
	*reason = *hint = "";
	if (dev_memory_broken(dev)) {
		*reason = "the file behind guest memory was cut short";
		*hint = "restart the virtual machine; nobody may shrink its memory file";
	} else if (dev_rings_running(dev) != 0) {
		return;
	} else if (!s->has_features) {
		*reason = "the guest's driver has not set the device up yet";
		*hint = "wait for the guest to boot; look for virtio_net in it";
	} else if (!dev->mem) {
		*reason = "no guest memory was shared";
		*hint = "give the machine a shared memory backend: -object memory-backend-memfd,share=on";
	} else if (any_ring(dev, is_unaddressed)) {
		*reason = "a ring was started before its addresses were told";
		*hint = "this is the front end's fault; see `events`";
	} else if (any_ring(dev, is_started) && bits_has(s->features_acked, VHOST_F_LOG_ALL) && !dev->log) {
		*reason = "a migration is under way and the front end has not given its dirty log yet";
		*hint = "it comes with SET_LOG_BASE in a moment";
	} else if (any_ring(dev, is_disabled)) {
		*reason = "the rings are disabled";
		*hint = "the guest's driver or the front end switched them off";
	} else if (any_ring(dev, is_stopped)) {
		*reason = "the virtual machine stopped its rings";
		*hint = "it is paused, rebooting or migrating away; `cont` in QEMU's monitor starts it again";
	} else {
		*reason = "the rings are not set up yet";
		*hint = "wait for the guest to boot";
	}
}
