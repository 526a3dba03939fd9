// Where the two CPUs are to each other at this moment. Virtual CPUs are moved about by their host: a cache line takes a few
// nanoseconds from one to the other, or tens, or hundreds, and the same binary differs by a factor of four.
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

enum place {
	PLACE_UNKNOWN, // no probe: one CPU only
	PLACE_CORE, // like two threads of one core
	PLACE_NEAR, // like two cores with a cache in common
	PLACE_FAR, // like two sockets
	PLACE_MIXED, // it changed while it was looked at: never compared
	PLACES,
};

// One-way hand-over of a cache line between two CPUs, nanoseconds: median over short rounds. Takes about 2 ms of both CPUs.
// 0: a thread could not be pinned there.
double place_line_ns(int cpu_a, int cpu_b);
enum place place_of(double line_ns);
// The placement of a stretch from the probes before and after it: MIXED if they differ, or if the round trips of single
// frames (0: none) differ by more than a half.
enum place place_around(double line_before, double line_after, double trip_before, double trip_after);
const char *place_name(enum place p); // "near"
enum place place_parse(const char *name); // UNKNOWN for any other word

#endif
