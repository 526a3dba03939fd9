// load_one: one case on given sockets, from the command line: for a quick look. Not installed; vringbench is the judge.
//   load_one [-s BYTES] [-t MS] [-c CPU] [-r RATE] [-n RUNS] [-m] [-e] [-i] [-l] [-w] [-o] [-k oneway|both|sink|loop|pingpong]
//            [-p PAIRS] [-P] [-I] [-G] [-H] [-f FLOWS] [-W WORKING_SET] [-R RX_BUFFER] SOCKET [SOCKET]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load/load.h"

static enum load_kind kind_of(const char *name)
{
	static const char *const names[] = { "oneway", "both", "sink", "loop", "pingpong" };
	for (unsigned i = 0; i < 5; i++)
		if (!strcmp(name, names[i]))
			return (enum load_kind)i;
	fprintf(stderr, "load_one: no kind %s\n", name);
	exit(2);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	struct load_conf c = { .mergeable = true, .cpu = -1, .kind = LOAD_ONE_WAY };
	unsigned ms = 1000, runs = 1, bytes = 64;
	int o;
	while ((o = getopt(argc, argv, "s:t:c:r:n:melwk:p:iPGHIof:W:R:")) != -1) {
		switch (o) {
		case 's': bytes = (unsigned)atoi(optarg); break;
		case 't': ms = (unsigned)atoi(optarg); break;
		case 'c': c.cpu = atoi(optarg); break;
		case 'r': c.rate = strtoull(optarg, NULL, 0); break;
		case 'n': runs = (unsigned)atoi(optarg); break;
		case 'm': c.mergeable = false; break;
		case 'e': c.event_idx = true; break;
		case 'i': c.in_order = true; break;
		case 'l': c.log = true; break;
		case 'w': c.wait = LOAD_SLEEP; break;
		case 'k': c.kind = kind_of(optarg); break;
		case 'P': c.packed = true; break;
		case 'G': c.gso = true; break;
		case 'H': c.huge = true; break;
		case 'I': c.indirect = true; break;
		case 'o': c.occupancy = true; break;
		case 'f': c.flows = (unsigned)atoi(optarg); break;
		case 'W': c.working_set = strtoull(optarg, NULL, 0); break;
		case 'R': c.rx_buffer = (uint32_t)atoi(optarg); break;
		case 'p': c.pairs = (unsigned)atoi(optarg); break;
		default: return 2;
		}
	}
	c.size[0] = (struct load_size){ bytes, 1 };
	c.n_sizes = 1;
	c.path[0] = optind < argc ? argv[optind] : NULL;
	c.path[1] = optind + 1 < argc ? argv[optind + 1] : c.path[0];
	char why[LOAD_WHY] = "no socket given";
	struct load *l = c.path[0] ? load_open(&c, why) : NULL;
	if (!l) {
		fprintf(stderr, "load_one: %s\n", why);
		return 1;
	}
	printf("probe %u ns\n", load_probe(l, 1000));
	for (unsigned i = 0; i < runs; i++) {
		struct load_result r;
		if (!load_run(l, 200, ms, NULL, NULL, &r, why)) {
			fprintf(stderr, "load_one: %s\n", why);
			load_close(l);
			return 1;
		}
		printf("%.3f M/s, %llu received, %llu missing, %llu corrupt, %llu foreign, %llu odd headers; driver %.0f cycles, busy %.2f; batch rx %.1f tx %.1f; pages %llu",
			(double)r.received / r.seconds / 1e6, (unsigned long long)r.received, (unsigned long long)r.missing,
			(unsigned long long)r.corrupt, (unsigned long long)r.foreign, (unsigned long long)r.odd_headers, r.driver_cycles, r.driver_busy, r.batch_rx, r.batch_tx,
			(unsigned long long)r.pages_harvested);
		if (r.n_latency) {
			qsort((uint32_t *)(uintptr_t)r.latency_ns, r.n_latency, 4, by_value);
			printf("; round trip p50 %u p99 %u ns", r.latency_ns[r.n_latency / 2], r.latency_ns[r.n_latency - r.n_latency / 100 - 1]);
		}
		printf("\n");
	}
	load_close(l);
	return 0;
}
