// Everything that a run found out: filled by the scenario, judged by the verdicts, printed by the reports.
// Times are microseconds of CLOCK_BOOTTIME on this machine, 0 for what did not happen.
#ifndef LAB_RESULT_H
#define LAB_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lab/assets.h"
#include "lab/opts.h"
#include "lab/tally.h"

#define RESULT_TEXT 400

struct direction { // what one guest sent and the other received in a stretch
	uint64_t sent, refused; // given to the kernel; refused by it
	struct tally_counts got;
	uint64_t missing;     // sent and never received, the receiving guest's own drops not counted
	uint64_t own_drops;   // dropped by the receiving guest's UDP for want of buffers
	uint64_t csum_errors; // dropped by it for a wrong checksum
	uint64_t gap_end_us;
	char holes[RESULT_TEXT]; // "stream 0: 812-815,..." sequence numbers that did not come
};

struct bins { // datagrams received per LAB_BIN_US
	uint64_t start_us;
	unsigned n;
	uint16_t *count;
};

struct stretch {
	uint64_t start_us, end_us;
	struct direction to_peer, to_mover;
	struct bins peer_bins, mover_bins;
	// How long the mover's clock stood still: what it measures across its move is that much longer in truth.
	uint64_t mover_stall_us;
	uint64_t carrier_changes; // both guests'
	bool rebooted;
	// readings at its start, for the differences
	uint64_t drops_before[2], csum_before[2], changes_before[2];
	char boot_before[2][64];
	int64_t mover_offset_before_us;
	unsigned run;
};

enum round_kind { ROUND_MIGRATE, ROUND_CANCEL, ROUND_CRASH };

enum kill_when {
	KILL_TRAFFIC, // while datagrams flow, and nothing else happens
	KILL_LOGGING, // between LOG_ALL and the first GET_VRING_BASE
	KILL_STOPPING, // at the first GET_VRING_BASE
	KILL_BETWEEN, // between two of them
};

struct kill { // one death of the back end's worker, of our making
	unsigned number; // of the run
	int signal;
	enum kill_when when;
	pid_t pid, next; // who died, and who followed; 0: nobody
	uint64_t at_us; // when the signal was sent
	uint64_t serving_us; // from its death until its successor served, as the keeper says; 0: nobody says so
	uint64_t gap_us, gap_end_us; // the longest silence at a guest around it, and when that ended; 0: not measured
	bool lost[2]; // peer's and mover's front end lost a socket
	char failure[WHY_MAX]; // "" if all went well
};

struct round {
	enum round_kind kind;
	unsigned number;
	char from[16], to[16];     // ports
	char failure[RESULT_TEXT]; // "" if it went through
	uint64_t begin_us, stop_us, resume_us, completed_us;
	double downtime_ms, setup_ms, total_ms; // as QEMU says
	double transferred_mb;
	uint64_t pause_us; // for the comparison of memory: the lab's, not QEMU's
	bool compared;
	uint64_t pages, pages_differ;
	char differ[RESULT_TEXT]; // the first addresses
	json_t *source, *destination; // vringd's records; NULL if there is none
	char bridge_before[16], bridge_after[16]; // the tap behind which the bridge has the guest; ""
	uint64_t bridge_moved_us;                 // when it was first seen to have moved
	struct stretch stretch;
	struct kill *kill; // room for all that are planned
	unsigned n_kills, room_kills;
};

enum verdict_state { VERDICT_OK, VERDICT_FAILED, VERDICT_INFO };

struct verdict {
	char name[48], measured[240], limit[160];
	enum verdict_state state;
};

#define VERDICTS_MAX 28
#define CALM_MAX 32

struct results {
	const struct opts *opts;
	const struct assets *assets;
	bool kvm;
	char backend[200];
	uint64_t start_us, end_us;
	char failure[RESULT_TEXT]; // what ended the run early; "" if nothing
	bool have_control;
	struct stretch control;
	uint64_t calm_gap_us[CALM_MAX]; // longest gaps of stretches as long as those around a kill, without one
	unsigned n_calm;
	uint64_t seed; // of signals and moments
	struct round *round; // migrations and cancelled ones, or stretches with kills, in order
	unsigned n_rounds;
	char backend_failure[RESULT_TEXT]; // the back end's end, if it ended
	json_t *stats[2], *events[2];      // vringd's, at the end
	struct verdict verdict[VERDICTS_MAX];
	unsigned n_verdicts;
};

// A new round at the end, zeroed; NULL without memory.
struct round *results_add_round(struct results *r);
// Room for n kills in all of this round. false: no memory.
bool round_plan_kills(struct round *r, unsigned n);
void results_free(struct results *r);

#endif
