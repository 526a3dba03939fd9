#include "dirty/vbase.h"

enum err vbase_check_split(uint32_t num, struct why *why)
{
	if (num > 0xffff)
		return refuse(why, "ring base 0x%x of a split ring is over 65535", num);
	return OK;
}

enum err vbase_check_packed(uint32_t base, uint32_t num, struct why *why)
{
	uint32_t avail = base & 0x7fff, used = base >> 16 & 0x7fff;
	if (avail >= num || used >= num)
		return refuse(why, "ring base 0x%x names a slot that a packed ring of %u does not have", base, num);
	return OK;
}

enum vbase_verdict vbase_compare(uint16_t base, uint16_t used_idx, uint32_t ring_size)
{
	uint16_t ahead = (uint16_t)(base - used_idx);
	if (ahead == 0)
		return VBASE_EQUAL;
	if (ahead <= ring_size)
		return VBASE_AHEAD;
	return (uint16_t)-ahead <= ring_size ? VBASE_BEHIND : VBASE_WILD;
}
