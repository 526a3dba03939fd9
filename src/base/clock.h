// Time as a value. Due times and records are CLOCK_BOOTTIME (they go on over a suspend and mean the same in the next
// process of this boot); pure code takes the time as an argument instead of calling these.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_boot_us(void);
// Seconds of a coarse monotonic clock, without a system call: for ageing.
uint32_t clock_coarse_s(void);
// Microseconds of a coarse monotonic clock (a few ms of grain), without a system call.
uint64_t clock_coarse_us(void);
// Wall time in microseconds since 1970, for what people read.
uint64_t clock_wall_us(void);
// What poll(2) wants to hear for that due time, rounded up; 0 is due never: -1.
int clock_poll_ms(uint64_t due_us, uint64_t now_us);
// This boot's id (36 characters and a NUL); "unknown" where the kernel does not say.
const char *clock_boot_id(void);

#endif
