// DPDK's own driver as the judge: dpdk-testpmd with two net_virtio_user ports that sends frames round and round through a
// back end. A closed loop: nothing paces it, nothing logs, and what is dropped is gone from it.
#ifndef BENCH_VUSER_H
#define BENCH_VUSER_H

#include <stdbool.h>

#include "base/err.h"
#include "bench/child.h"
#include "bench/opts.h"
#include "bench/plan.h"

struct vuser {
	struct child child;
};

struct vuser_result {
	double received; // frames, both ports, from start to stop
	double seconds; // between the marks
	double all_seconds; // from start to stop
	double driver_cycles; // per frame that it received
};

// REFUSED: the row is none that it can do.
enum err vuser_open(struct vuser **out, const struct row *r, const struct opts *o, bool huge, char (*sock)[108],
		    struct why *why);
void vuser_close(struct vuser *v); // NULL is fine
// Frames go round for a while; mark is called at both ends. False: it did not obey.
bool vuser_run(struct vuser *v, unsigned ms, void (*mark)(void *arg, int end), void *arg, struct vuser_result *r);

#endif
