// vringlab's command line.
#ifndef LAB_OPTS_H
#define LAB_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "lab/args.h"

#define OPTS_GAP_DEFAULT 50u
#define OPTS_KILLS_DEFAULT 20u // of crash
#define OPTS_KILLS_MIN_MIGRATE 3u

enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };
enum lab_verb { LAB_MIGRATE, LAB_CRASH };
enum cancel_at { CANCEL_NEVER, CANCEL_BEFORE_STOP, CANCEL_AFTER_STOP };

struct opts {
	enum lab_verb verb;
	const char *qemu_src, *qemu_dst; // NULL: the installed one
	const char *machine;             // NULL: chosen by the QEMUs
	enum accel accel;
	const char *kernel, *initrd, *image;
	struct args qemu_args, params, caps;
	unsigned rounds, rate, size, queues;
	unsigned kills; // of the back end's worker: in all, or in each migration
	uint64_t seed; // of their signals and moments
	uint64_t memory_bytes;
	unsigned duration_s;
	unsigned gap_ms; // beyond QEMU's own downtime; of a kill: 99 in 100
	bool verify_ram, two_daemons, one_path, announce_by_switch, packed;
	enum cancel_at cancel_at;
	const char *vringd, *backend; // a program; a shell command
	const char *report, *junit, *keep;
	bool json;
};

enum opts_result { OPTS_RUN, OPTS_DONE /* help or version printed */, OPTS_WRONG /* said why */ };
enum opts_result opts_parse(struct opts *o, int argc, char **argv);
void opts_free(struct opts *o);
// "256M" and the like: a number with K, M or G. REFUSED if it is none.
enum err size_parse(const char *text, uint64_t *bytes, struct why *why);

#endif
