// The lab's end of the guest's second serial port (agent_proto.h).
#ifndef LAB_AGENT_LINK_H
#define LAB_AGENT_LINK_H

#include "lab/agent_proto.h"
#include "lab/ctl.h"

struct agent_link {
	struct lines lines;
	unsigned last_id;
	int64_t clock_offset_us; // add to a time of the guest to get CLOCK_BOOTTIME here
};

enum err agent_open(struct agent_link *a, const char *path, uint64_t until_us, struct why *why);
void agent_close(struct agent_link *a);
// Ask, and ask again every two seconds until the time is over. `answer` takes what follows "OK ".
enum err agent_ask(struct agent_link *a, uint64_t until_us, char *answer, size_t size, struct why *why, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
// Measure the guest's clock against ours, to about a millisecond.
enum err agent_sync(struct agent_link *a, struct why *why);
// key=value of an answer.
uint64_t answer_number(const char *answer, const char *key); // 0 if it is not there
bool answer_text(const char *answer, const char *key, char *out, size_t size);

#endif
