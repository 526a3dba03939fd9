// The protocol tests: proto_test VRINGD [WORD]. Starts VRINGD and drives it over its sockets; with WORD only the rows and
// cases whose name has it in it. Prints each case that fails, and a sum. Exit status 0: none failed.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/rows.h"

static const struct {
	const char *name;
	const struct bed_row *rows;
} groups[] = {
	{"message", rows_message}, {"frame", rows_frame}, {"geometry", rows_geometry}, {"ring", rows_ring},
	{"packed", rows_packed}, {"traffic", rows_traffic}, {"gso", rows_gso}, {"live", rows_live}, {"session", rows_session},
	{"peer", rows_peer}, {"replay", rows_replay},
};

static bool run_group(struct bed *b, const struct bed_row *rows, const char *group)
{
	for (const struct bed_row *r = rows; r->name != NULL; r++) {
		unsigned cases = b->cases, bad = b->bad;
		uint64_t from = clock_boot_us();
		b->row = r->name;
		r->run(b);
		if (b->cases != cases)
			printf("%-8s %-26s %5u cases, %u failed, %llu ms\n", group, r->name, b->cases - cases, b->bad - bad,
			       (unsigned long long)(clock_boot_us() - from) / 1000);
		fflush(stdout);
		if (!daemon_alive(&b->d))
			return false;
	}
	return true;
}

static void print_tail(const struct daemon *d)
{
	long from = 0;
	char *text = daemon_said(d, &from);
	size_t n = strlen(text);
	printf("--- the daemon's last words\n%s\n", n > 6000 ? text + n - 6000 : text);
	free(text);
}

int main(int argc, char **argv)
{
	static struct bed b;
	if (argc < 2) {
		fprintf(stderr, "usage: proto_test VRINGD [WORD]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	const char *only = argc > 2 ? argv[2] : NULL;
	unsigned cases = 0, bad = 0, checks = 0;
	// A fresh daemon for each group: what one group breaks is not blamed on the next.
	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		bool well = bed_open(&b, argv[1]);
		bool whole_group = only != NULL && strcmp(only, groups[i].name) == 0;
		b.only = whole_group ? NULL : only;
		if (!well) {
			printf("FAILED %s: %s\n", groups[i].name, b.failed);
			b.bad++;
		} else if (!run_group(&b, groups[i].rows, groups[i].name)) {
			printf("FAILED %s: stopped there, the daemon is dead\n", groups[i].name);
		}
		if (!bed_close(&b)) {
			printf("FAILED %s: the daemon did not end well (status 0x%x)\n", groups[i].name,
			       (unsigned)b.d.status);
			b.bad++;
		}
		if (b.bad != 0)
			print_tail(&b.d);
		daemon_clean(&b.d);
		cases += b.cases;
		bad += b.bad;
		checks += b.checks;
	}
	printf("%u cases, %u checks, %u failed\n", cases, checks, bad);
	return bad == 0 && cases > 0 ? 0 : 1;
}
