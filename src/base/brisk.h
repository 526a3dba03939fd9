// A thread that expects something within microseconds may look again instead of sleeping and being woken, which takes longer than
// that (here 20 us of 30 a message). It makes way for others at each look; where one of them wanted the CPU it is taken for a crowded one for a while, for who yields
// there comes back a slice of milliseconds later, and who sleeps is let in at once when it is woken.
#ifndef BASE_BRISK_H
#define BASE_BRISK_H

#include <stdbool.h>
#include <stdint.h>

#define BRISK_US UINT64_C(50) // how long to look
#define BRISK_CROWDED_US UINT64_C(500) // a yield that took longer gave the CPU to somebody who does not sleep
#define BRISK_PAUSE_LEAST_US UINT64_C(10000) // from then on no looking for so long, twice as long each time
#define BRISK_PAUSE_MOST_US UINT64_C(1000000)

struct brisk { // zeros to begin with
	uint64_t until_us; // look until then; 0: sleep
	uint64_t quiet_us; // but not before then
	uint64_t pause_us; // the last one
};

void brisk_expect(struct brisk *b, uint64_t now_us, bool busy); // something will come soon; busy: others want the CPUs
static inline bool brisk_now(const struct brisk *b)
{
	return b->until_us != 0;
}
// Nothing was there: make way. False: sleep.
bool brisk_again(struct brisk *b);
// The same with a clock and a yield that are given: now_us is before it, after_us behind it.
bool brisk_judge(struct brisk *b, uint64_t now_us, uint64_t after_us);

#endif
