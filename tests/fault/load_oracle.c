// Traffic at full speed through the real daemon, each kind of case for a moment: nothing is lost, nothing is changed, and all
// of it moves. A receiver that stands still is dead for the switch after 50 us (design), and so is ours when others have its CPU: then
// the case is done again, twice at most. With --caught WHAT the daemon has a seeded bug, and the count of WHAT (missing, corrupt) must show it.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "load/load.h"
#include "proto/daemon.h"

struct kind {
	const char *name;
	struct load_conf conf;
};

static const struct kind kinds[] = {
	{ "64 B, mergeable", { .kind = LOAD_ONE_WAY, .mergeable = true, .size = { { 64, 1 } }, .n_sizes = 1 } },
	{ "64 B, plain, event index", { .kind = LOAD_ONE_WAY, .event_idx = true, .size = { { 64, 1 } }, .n_sizes = 1 } },
	{ "mixed sizes both ways, in order, two pairs",
	  { .kind = LOAD_BOTH_WAYS, .mergeable = true, .in_order = true, .indirect = true, .pairs = 2, .flows = 7, .ring_size = 256,
	    .size = { { 64, 28 }, { 570, 16 }, { 1518, 4 } }, .n_sizes = 3 } },
	{ "4000 B in mergeable buffers",
	  { .kind = LOAD_ONE_WAY, .mergeable = true, .rx_buffer = 1024, .size = { { 4000, 1 } }, .n_sizes = 1 } },
	{ "1000 B, logged", { .kind = LOAD_ONE_WAY, .mergeable = true, .log = true, .harvest_ms = 10, .size = { { 1000, 1 } }, .n_sizes = 1 } },
	{ "1000 B, whole rings at once", { .kind = LOAD_ONE_WAY, .occupancy = true, .size = { { 1000, 1 } }, .n_sizes = 1 } },
	{ "1000 B, paced", { .kind = LOAD_ONE_WAY, .mergeable = true, .rate = 20000, .size = { { 1000, 1 } }, .n_sizes = 1 } },
	{ "into a null port", { .kind = LOAD_SINK, .size = { { 64, 1 } }, .n_sizes = 1 } },
	{ "ping-pong, polling", { .kind = LOAD_PING_PONG, .mergeable = true, .size = { { 64, 1 } }, .n_sizes = 1 } },
	{ "ping-pong, asleep", { .kind = LOAD_PING_PONG, .event_idx = true, .wait = LOAD_SLEEP, .size = { { 64, 1 } }, .n_sizes = 1 } },
};

struct seen {
	uint64_t missing, corrupt;
	unsigned failed;
};

#define TRIES 3

// How often somebody else was given our CPU.
static long robbed(void)
{
	struct rusage u;
	return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_nivcsw : 0;
}

// False: frames are missing, and it may be that nobody was there to take them.
static bool run_one(struct daemon *d, const struct kind *k, bool last, struct seen *all)
{
	long before = robbed();
	char path[2][200], why[LOAD_WHY] = "";
	struct load_conf c = k->conf;
	struct load_result r = { 0 };
	for (unsigned s = 0; s < 2; s++) {
		snprintf(path[s], sizeof(path[s]), "%s", daemon_path(d, s ? "b" : "a"));
		c.path[s] = path[s];
	}
	c.cpu = -1;
	struct load *l = load_open(&c, why);
	uint32_t ack[20];
	bool ok = l && load_run(l, 50, 200, NULL, NULL, &r, why) && load_ack_latency(l, 20, ack, why);
	load_close(l);
	bool moved = r.received > (c.kind == LOAD_PING_PONG ? 50u : 1000u);
	printf("load: %-44s %9llu received, %llu missing, %llu of a sample corrupt%s%s\n", k->name, (unsigned long long)r.received,
		(unsigned long long)r.missing, (unsigned long long)r.corrupt, why[0] ? ": " : "", why);
	if (c.log && !r.pages_harvested) {
		printf("load: nothing was logged\n");
		ok = false;
	}
	if (r.missing && !last && robbed() != before)
		return false;
	all->missing += r.missing;
	all->corrupt += r.corrupt;
	all->failed += !ok || !moved || r.missing || r.corrupt;
	return true;
}

int main(int argc, char **argv)
{
	const char *caught = argc == 4 && !strcmp(argv[1], "--caught") ? argv[2] : NULL;
	if (argc != 2 && !caught) {
		fprintf(stderr, "usage: load_oracle [--caught missing|corrupt] VRINGD\n");
		return 2;
	}
	static const char *const args[] = { "--port", "vhost-user,id=a", "--port", "vhost-user,id=b", "--port", "null,id=n", NULL };
	struct daemon d;
	struct seen all = { 0 };
	signal(SIGPIPE, SIG_IGN);
	if (!daemon_start(&d, argv[argc - 1], args)) {
		fprintf(stderr, "load_oracle: %s does not start\n", argv[argc - 1]);
		return 3;
	}
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (unsigned try = 1; !run_one(&d, &kinds[i], try == TRIES, &all); try++)
			printf("load: others had the CPU meanwhile: again\n");
	bool ended = daemon_stop(&d, 5000);
	daemon_clean(&d);
	if (caught)
		return !(!strcmp(caught, "missing") ? all.missing : all.corrupt);
	if (!ended)
		printf("load: the daemon did not end by itself\n");
	return all.failed || !ended;
}
