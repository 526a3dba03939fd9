// The command line and the configuration file: one table of long options, one struct that they fill. A configuration file
// has one long option a line; what the command line gives wins over the file. Only start-up code and SIGHUP use this.
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/spec.h"
#include "daemon/vd.h"

#define OPTIONS_MAX_PORTS 256
#define OPTIONS_MAX_CPUS 16
#define OPTIONS_WHERE_MAX 160

enum options_action { OPTIONS_RUN, OPTIONS_CHECK, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_CAPABILITIES };

struct options_port {
	struct port_spec spec;
	enum vd_origin origin; // config or cli
	char where[OPTIONS_WHERE_MAX]; // "--port", "/etc/vringd/vringd.conf:12"
};

struct options {
	enum options_action action;
	uint32_t given; // bits of the option table's rows that were set
	char *config; // all strings owned, NULL: not given
	char *state_dir, *runtime_dir, *control;
	char *read; // what was read from files: place, tab and line of each that counts; NULL: nothing
	char *socket_path; // --socket-path: port "vm0"
	int fd; // --fd: port "vm0"; -1: not given
	unsigned threads; // default 1
	int cpus[OPTIONS_MAX_CPUS];
	unsigned n_cpus; // 0: not pinned
	int poll_us; // microseconds, or DP_POLL_ALWAYS, DP_POLL_AUTO
	bool no_keeper;
	bool poll_auto; // --poll-us auto, the default
	uint64_t hold_total;
	enum store_durability durability;
	enum log_level log_level;
	struct options_port *ports; // in the order given: configuration first, then the command line
	unsigned n_ports;
};

void options_init(struct options *o);
void options_free(struct options *o); // init again before another use
// Parse argv. REFUSED: wrong usage (exit 2); why says which option and what to do. Does not read the configuration file.
enum err options_parse_argv(struct options *o, int argc, char **argv, struct why *why);
// One option by its long name (no dashes), value NULL if it has none. where is the place in a file; from a file, an option that the command
// line set is left alone.
enum err options_set_from_file(struct options *o, const char *name, const char *value, const char *where, struct why *why);
// What can only be seen when all is read: double ids, --socket-path beside --fd...
enum err options_check(struct options *o, struct why *why);
// Of a configuration that was read again: REFUSED by name if it differs in what can't change while the daemon runs. What the command
// line gave is not compared.
enum err options_may_reload(const struct options *now, const struct options *next, struct why *why);
// Take over what may change: the log level, and what was read.
void options_reload(struct options *now, struct options *next);
// The effective configuration as a configuration file.
void options_print(const struct options *o, FILE *out);
void options_help(FILE *out);

#endif
