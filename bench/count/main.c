// A fixed number of frames from guest to guest through the datapath, for an instruction counter around the process:
//   vringcount BATCHES BYTES [log] [packed]
// Each batch is 64 frames: offered, kicked, and awaited until everything is back and the data thread sleeps, so that the
// data thread does the same work in each run. Two runs with different BATCHES tell what a frame costs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver/frame.h"
#include "toy.h"

#define BATCH 64u

// In the place of libc's: valgrind 3.19 does not know that system call, and a data thread that can't sleep says nothing.
int epoll_pwait2(int fd, struct epoll_event *ev, int n, const struct timespec *t, const sigset_t *mask)
{
	int ms = !t ? -1 : (int)(t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000);
	return epoll_pwait(fd, ev, n, ms, mask);
}

// All frames arrived, all buffers are back, and no turn has come for a while.
static bool settle(struct dp *dp, struct toy *a, struct toy *b)
{
	unsigned sent = 0, got = 0;
	uint64_t end = clock_boot_us() + 10000000, turns = UINT64_MAX;
	while (clock_boot_us() < end) {
		struct dp_thread_stats s;
		usleep(300);
		if (sent < BATCH || got < BATCH) { // receive buffers go back only when the batch is over
			sent += toy_sent(a);
			if (sent == BATCH)
				got += toy_received(b);
			continue;
		}
		dp_thread_stats(dp, &s, 1);
		if (s.turns == turns)
			return true;
		turns = s.turns;
	}
	fprintf(stderr, "vringcount: %u of %u sent, %u arrived in 10 s\n", sent, BATCH, got);
	return false;
}

int main(int argc, char **argv)
{
	unsigned batches = argc > 2 ? (unsigned)atoi(argv[1]) : 0, len = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	int words = 3;
	bool log = argc > words && strcmp(argv[words], "log") == 0;
	words += log;
	bool packed = argc > words && strcmp(argv[words], "packed") == 0;
	words += packed;
	if (batches < 1 || len < 60 || len > TOY_BUF - TOY_HDR || argc != words) {
		fprintf(stderr, "usage: vringcount BATCHES BYTES [log] [packed]\n");
		return 2;
	}
	struct dp_conf conf = { .threads = 1, .cpus = { -1 }, .hold_total = 1 << 20 };
	struct why why = { "" };
	struct toy a, b;
	uint8_t mac[2][6];
	frame_mac(mac[0], 1);
	frame_mac(mac[1], 2);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	struct dp *dp = dp_new(&conf, &why);
	if (!dp || toy_open(&a, dp, "a", log, packed, mac[0], mac[1], len, &why) != OK ||
	    toy_open(&b, dp, "b", log, packed, mac[1], mac[0], len, &why) != OK) {
		fprintf(stderr, "vringcount: %s\n", why.text);
		return 1;
	}
	bool ok = true;
	toy_send(&b, BATCH, len); // the switch learns both
	ok = settle(dp, &b, &a);
	struct dp_thread_stats from, to;
	dp_thread_stats(dp, &from, 1);
	for (unsigned i = 0; i < batches && ok; i++) {
		toy_send(&a, BATCH, len);
		ok = settle(dp, &a, &b);
	}
	dp_thread_stats(dp, &to, 1);
	printf("%.1f busy cycles a frame, waking up and going to sleep for each batch in them\n",
	       (double)(to.busy_cycles - from.busy_cycles) / batches / BATCH);
	toy_close(&a);
	toy_close(&b);
	dp_free(dp);
	return ok ? 0 : 1;
}
