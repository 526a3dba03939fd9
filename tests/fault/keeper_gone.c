// The worker dies in the middle of a frame, and whoever sent that frame is gone before another worker is there: it will not be written
// again, and what the dead one wrote of it is in guest memory. While the receiver logs, every page of that must be in its log.
// Wants a build with crash points.
//
//   keeper_gone [--packed] [--caught] VRINGD      --caught: a build with a seeded bug: a page must be missing at some point
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "points.h"

static const enum crash_point points[] = {CRASH_frame_copied,  CRASH_frame_filled,   CRASH_frame_logged,  CRASH_frame_shown,
					  CRASH_frame_settled, CRASH_frame_returned, CRASH_ledger_saved,  CRASH_ledger_written,
					  CRASH_ledger_filled, CRASH_ledger_shown};

// n frames to guest 0 at once; at the nth pass of the point the worker dies, and some of its successors before they have heard of
// anything, so that it takes a moment.
static bool cut(struct points *p, enum crash_point at, unsigned nth, bool *missing)
{
	enum crash_point plan[] = {at, CRASH_adopt_told, CRASH_adopt_told, CRASH_adopt_told};
	unsigned nths[] = {nth, 1, 1, 1};
	struct net *n = &p->lan.net[1][0];
	struct flog_diff diff;
	uint32_t slot;
	for (unsigned k = 0; k < 8; k++) {
		uint8_t *to = net_tx_slot(n, &slot);
		frame_fill(to, 1000, p->lan.mac[0], p->lan.mac[1], 0, 1000 + k, true);
		net_tx_put(n, slot, 1000, NULL);
	}
	crash_arm(p->page, plan, nths, ARRAY_LEN(plan));
	net_tx_flush(n);
	uint64_t end = clock_boot_us() + 8000000;
	while (p->page->fired == 0 && clock_boot_us() < end)
		;
	fe_disconnect(p->lan.fe[1]);
	while (p->page->fired < ARRAY_LEN(plan) && clock_boot_us() < end)
		usleep(100);
	if (p->page->fired < ARRAY_LEN(plan))
		return points_fail(p, "%s was never passed", crash_name(plan[p->page->fired]));
	if (!points_well(p, fe_stop(p->lan.fe[0])))
		return false;
	flog_thread_stop(p->log);
	flog_harvest(p->log);
	if (!flog_equal(p->log, &diff)) {
		*missing = true;
		printf("keeper_gone: %s, %u: %llu pages are not in the log, the first at 0x%llx\n", crash_name(at), nth,
		       (unsigned long long)diff.pages, (unsigned long long)diff.gpa);
	}
	return true;
}

static bool one(struct points *p, enum crash_point at, unsigned nth, bool *missing)
{
	p->dry = true; // nothing is compared
	p->n_steps = 0;
	bool ok = points_open(p) && points_handshake(p);
	points_steps_end(p);
	if (ok)
		p->lan.fe[0]->hook = (struct fe_hook){NULL, NULL, NULL};
	ok = ok && points_well(p, fe_start(p->lan.fe[0])) && frames_singly(p) && points_log_on(p) && cut(p, at, nth, missing);
	points_close(p);
	for (unsigned i = 0; i < p->n_steps; i++)
		free(p->step[i].state);
	p->n_steps = 0;
	return ok;
}

int main(int argc, char **argv)
{
	static struct points p = {.conf = {.pairs = 1, .log = true}};
	bool caught = false, missing = false, ok = true;
	unsigned runs = 0;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--packed") == 0)
			p.conf.packed = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
	}
	if (i >= argc) {
		fprintf(stderr, "usage: keeper_gone [--packed] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	p.bin = argv[i];
	for (unsigned k = 0; k < ARRAY_LEN(points) && ok; k++) {
		bool ledger = points[k] >= CRASH_ledger_saved, each = points[k] == CRASH_ledger_saved || points[k] == CRASH_ledger_written;
		for (unsigned nth = 1; nth <= (points[k] == CRASH_frame_copied ? 8 : each ? 3 : 1) && ok && (p.conf.packed || !ledger); nth += 2) {
			ok = one(&p, points[k], nth, &missing);
			runs++;
			if (!ok)
				printf("keeper_gone: %s, %u: %s\n", crash_name(points[k]), nth, p.bed.failed);
		}
	}
	printf("keeper_gone: %u deaths in the middle of a frame that was not sent again: %s\n", runs,
	       missing ? "not all of it was logged" : "all of it was logged");
	points_free(&p);
	return !ok ? 3 : missing == caught ? 0 : 1;
}
