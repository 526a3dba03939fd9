// One stretch of traffic through one back end, with everything that is known about it as a JSON sample.
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <jansson.h>

#include "bench/backend.h"
#include "bench/plan.h"
#include "load/load.h"

struct vuser;

struct subject { // a back end in a row
	struct backend *b;
	struct load *load; // NULL: not open
	struct vuser *vuser; // --driver testpmd: instead of a load
	bool huge; // its guests' memory is on huge pages
	char cannot[LOAD_WHY]; // why it takes no part, "": it does
	double rate; // frames a second of its last stretch
};

// Start the back end for the row and open the load on it; paused afterwards. False: subject.cannot says why.
bool measure_is_open(const struct subject *s);
bool measure_open(struct subject *s, const struct row *r, const struct opts *o);
void measure_close(struct subject *s); // the load, not the back end
// All other subjects must be paused. log: -1 leave, 0 off, 1 on. New reference, or NULL: subject.cannot says why.
json_t *measure_stretch(struct subject *s, const struct row *r, const struct opts *o, double seconds, int log);
struct need measure_need(const struct row *r);

#endif
