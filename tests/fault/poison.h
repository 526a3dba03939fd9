// What the tests of blame share: a daemon that can be made to die of a message, a row, a descriptor or a ring (crash.h), two
// guests that suffer it, and an innocent pair under traffic whose frames and connections must all be there at the end.
#ifndef FAULT_POISON_H
#define FAULT_POISON_H

#include <pthread.h>
#include <stdbool.h>

#include "proto/lan.h"

#define LOG_BYTES 4096u

struct scene {
	struct bed bed;
	struct lan lan; // guests on a and a2
	int log; // of guest 0
	pthread_t calm;
	_Atomic bool over;
	uint64_t sent[2], heard[2]; // of the innocent pair
	const char *wrong; // with it
};

extern const char *poison_vringctl; // its path

bool scene_open(struct scene *s, const char *bin);
bool scene_close(struct scene *s); // false: bed.failed says why
// Lines "WHERE PORT NUMBER HOW"; "" cures all.
void poison_set(struct scene *s, const char *lines);
// What vringctl -j says; in a static buffer. "" if it fails.
const char *ctl_ask(struct scene *s, const char *words);
bool ctl_says(struct scene *s, const char *words, const char *text); // within 5 s
unsigned scene_restarts(struct scene *s);
// Until the daemon has had that many workers more than from, and serves. False: not within ms.
bool scene_wait_restarts(struct scene *s, unsigned n, unsigned ms);
bool log_filled(const struct scene *s);
bool fe_closed(struct fe *fe, unsigned ms); // closed, and not a byte before
bool scene_talk(struct scene *s); // guests 0 and 1, both ways
bool scene_again(struct scene *s, unsigned i); // guest i connects anew, as after a loss

#define WANT(s, cond, ...)                                  \
	do {                                                \
		(s)->bed.checks++;                          \
		if (!(cond)) {                              \
			bed_fail(&(s)->bed, __VA_ARGS__);   \
			return;                             \
		}                                           \
	} while (0)

#endif
