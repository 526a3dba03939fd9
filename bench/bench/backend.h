// A back end under test: how it is started for a row, where its sockets are, what it tells about its work.
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bench/child.h"
#include "bench/opts.h"

#define BACKEND_PORTS 256

struct need { // what a row asks of a back end
	unsigned ports; // 1, 2; idle: more
	unsigned pairs; // queue pairs of a port
	bool sink; // what comes in on the port is counted and dropped
	bool loop; // one port that reflects
	bool packed;
	bool gso;
	uint32_t max_frame;
};

struct counters { // of a stretch
	bool valid; // it has a cycle counter
	double cycles; // busy, of all data threads
	uint64_t taken, given; // frames from and to guests, as it says; 0: it does not say
	uint64_t cpu_ns;
	uint64_t wait_ns; // a thread of it was ready and another had its CPU
	uint64_t anon_kb;
};

struct backend;
struct backend_ops {
	enum err (*start)(struct backend *b, const struct need *n, struct why *why);
	// Counters of a stretch: begin and end while no traffic flows, mark (0, 1) at its edges while it does.
	// NULL: nothing to do.
	bool (*begin)(struct backend *b);
	void (*mark)(struct backend *b, int end);
	bool (*end)(struct backend *b, struct counters *c);
	bool polls; // burns its CPU while idle: stopped while another is measured
};

struct backend {
	struct backend_spec spec;
	const struct opts *opts;
	bool huge; // its own memory goes on huge pages, if it wants any
	const struct backend_ops *ops;
	struct child *child; // the process; helpers of it
	struct child *helper;
	pid_t pid; // that does the work; 0: unknown
	char dir[64]; // its private folder, "": none
	char sock[BACKEND_PORTS][108];
	char command[900]; // as started for the first row, folders cut off
	char version[80];
	struct counters now; // being gathered
	uint64_t cpu_from, wait_from;
	double cycles_from;
	uint64_t taken_from, given_from;
};

// Ready for backend_start. OURS: no memory.
enum err backend_init(struct backend *b, const struct backend_spec *spec, const struct opts *opts, struct why *why);
void backend_fini(struct backend *b); // stops it
// Start it for a row, after stopping it if it runs. REFUSED: it can't do that. OURS: it did not start.
enum err backend_start(struct backend *b, const struct need *n, struct why *why);
void backend_stop(struct backend *b);
bool backend_alive(struct backend *b);
// Kill -9 and start again on the same sockets and folders.
enum err backend_kill_again(struct backend *b, const struct need *n, struct why *why);
// The process that may be killed while the back end stays: vringd's worker. 0: there is none.
pid_t backend_worker(const struct backend *b);
// Let another have the CPU: only those that poll are stopped.
void backend_pause(struct backend *b, bool stop);
bool backend_begin(struct backend *b);
void backend_mark(struct backend *b, int end);
bool backend_end(struct backend *b, struct counters *c); // false: its counters could not be read
const char *backend_said(const struct backend *b, char *buf, size_t size); // its last line

// -- for the kinds --
extern const struct backend_ops backend_vringd, backend_testpmd, backend_ovs, backend_given;
// Remember the command line for the report, without the folders that programs are in.
void backend_command(struct backend *b, char *const argv[]);
// Wait until all sockets of the need can be connected to.
enum err backend_await(struct backend *b, unsigned ports, unsigned timeout_ms, struct why *why);
#define BACKEND_TESTPMD_MIB 256u // of huge pages, also as the driver
#define BACKEND_OVS_MIB 384u
bool backend_hugepages(unsigned mib); // so many are free
// Start argv as the back end's process on the back ends' CPUs (all_cpus: on the driver's, too).
enum err backend_spawn(struct backend *b, char *const argv[], bool all_cpus, struct why *why);

#endif
