// The command line, and the same as JSON so that a run can be repeated from its file.
#ifndef BENCH_OPTS_H
#define BENCH_OPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/err.h"

#define OPTS_BACKENDS 4
#define OPTS_CASES 40
#define OPTS_SIZES 12
#define OPTS_CPUS 16

enum backend_kind { BACKEND_VRINGD, BACKEND_TESTPMD, BACKEND_OVS, BACKEND_GIVEN };

struct backend_spec {
	enum backend_kind kind;
	bool alone; // vringd without a keeper
	char name[33];
	char sock[2][108]; // GIVEN; the second may be empty
	char exec[400]; // GIVEN: a shell command that serves the sockets; "": they are there
};

enum opts_verb { VERB_RUN, VERB_COMPARE, VERB_RERUN, VERB_RECOVERY };

struct opts {
	enum opts_verb verb;
	struct backend_spec backend[OPTS_BACKENDS];
	unsigned n_backends; // 0 only for compare
	char dpdk[300]; // testpmd, "": from PATH
	bool driver_testpmd;
	int cpu[OPTS_CPUS]; // the driver's, then the back ends'
	unsigned n_cpus;
	char cases[OPTS_CASES][33];
	unsigned n_cases; // 0: all
	uint32_t size[OPTS_SIZES];
	unsigned n_sizes; // 0: those of the case
	bool imix, ndr, pdr;
	unsigned flows;
	double loss; // per cent, of PDR
	unsigned trials; // pairs
	double duration; // seconds of a stretch
	unsigned kills; // recovery; 0: as many as trials
	uint64_t memory_bytes; // recovery: of the guest that sends, all of it touched by the back end; 0: 2 MiB, untouched
	uint64_t seed;
	char out[300], report[300]; // "": none
	char file[2][300]; // compare, rerun
};

enum opts_result { OPTS_OK, OPTS_DONE, OPTS_WRONG };

// Complaints and help are printed. WRONG: exit 2.
enum opts_result opts_parse(struct opts *o, int argc, char **argv);
// What decides about the figures (not where they go); paths below the home folder begin with "~".
json_t *opts_json(const struct opts *o);
// REFUSED: not written by opts_json.
enum err opts_from_json(struct opts *o, const json_t *j, struct why *why);
void opts_help(FILE *f);

#endif
