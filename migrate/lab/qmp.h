// QEMU's control protocol: commands one at a time, events remembered with the host's time of their arrival.
#ifndef LAB_QMP_H
#define LAB_QMP_H

#include "lab/ctl.h"

#define QMP_EVENTS 64

struct qmp_event {
	char name[32];
	char status[32]; // of MIGRATION events
	uint64_t time_us; // QEMU's stamp, on CLOCK_BOOTTIME
};

struct qmp {
	struct lines lines;
	struct qmp_event event[QMP_EVENTS]; // the first n_events since qmp_forget
	unsigned n_events;
};

enum err qmp_open(struct qmp *q, const char *path, uint64_t until_us, struct why *why);
void qmp_close(struct qmp *q);
// arguments may be NULL (owned here), so may result. REFUSED: QEMU said no, and why. DESYNC: QEMU is gone.
enum err qmp_call(struct qmp *q, const char *command, json_t *arguments, json_t **result, struct why *why);
// Read events that came until the time is over, or until one of this name came (NULL: whatever comes). AGAIN if it did not.
enum err qmp_wait(struct qmp *q, const char *name, uint64_t until_us, struct why *why);
// The time of the first event of this name since qmp_forget; 0 if it did not come.
uint64_t qmp_event_time(const struct qmp *q, const char *name);
void qmp_forget(struct qmp *q);

#endif
