// A load that makes its figures up: for tests of what is done with them.
#ifndef TESTS_FAKE_LOAD_H
#define TESTS_FAKE_LOAD_H

#include "load/load.h"

struct fake_load {
	double capacity; // frames a second that come through; what is offered beyond is lost
	uint64_t odd_headers;
	double driver_busy;
	const char *refuse; // load_open fails with that
	const char *break_path; // runs on this socket fail
	unsigned opened, closed, runs;
};
extern struct fake_load fake;

#endif
