#include "base/brisk.h"

#include <sched.h>

#include "base/clock.h"

void brisk_expect(struct brisk *b, uint64_t now_us, bool busy)
{
	b->until_us = busy || now_us < b->quiet_us ? 0 : now_us + BRISK_US;
}

bool brisk_judge(struct brisk *b, uint64_t now_us, uint64_t after_us)
{
	if (after_us - now_us > BRISK_CROWDED_US) {
		b->pause_us = b->pause_us ? 2 * b->pause_us : BRISK_PAUSE_LEAST_US;
		if (b->pause_us > BRISK_PAUSE_MOST_US)
			b->pause_us = BRISK_PAUSE_MOST_US;
		b->quiet_us = after_us + b->pause_us;
		b->until_us = 0;
	} else if (after_us >= b->until_us) {
		b->pause_us = b->pause_us > BRISK_PAUSE_LEAST_US ? b->pause_us / 2 : 0;
		b->until_us = 0;
	}
	return b->until_us != 0;
}

bool brisk_again(struct brisk *b)
{
	if (!b->until_us)
		return false;
	uint64_t now = clock_boot_us();
	sched_yield();
	return brisk_judge(b, now, clock_boot_us());
}
