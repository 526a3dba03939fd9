#include "base/slice.h"

#include <linux/sched/types.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool get(struct sched_attr *a)
{
	memset(a, 0, sizeof(*a));
	return syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0) == 0;
}

bool slice_short(void)
{
	struct sched_attr a;
	if (!get(&a) || a.sched_policy != SCHED_NORMAL)
		return false;
	a.sched_runtime = SLICE_SHORT_US * UINT64_C(1000); // older kernels ignore it here
	a.sched_flags = 0;
	return syscall(SYS_sched_setattr, 0, &a, 0) == 0 && slice_now_us() == SLICE_SHORT_US;
}

uint32_t slice_now_us(void)
{
	struct sched_attr a;
	return get(&a) && a.sched_policy == SCHED_NORMAL ? (uint32_t)(a.sched_runtime / 1000) : 0;
}
