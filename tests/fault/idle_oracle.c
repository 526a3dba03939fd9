// The idle oracle: N front ends with running rings and nothing to say. In the measured time no thread of the daemon may run:
// no context switch, no nanosecond of run time. Then one frame each way must come within 5 ms.
//
//   idle_oracle [--keeper] [--guests N] [--seconds S] [--disturb] [--caught] VRINGD [ARGUMENT...]
//     --keeper: with one, which is looked at, too
//     --disturb: one frame a second; --caught: the daemon has a seeded bug; either must be seen
//
// Exit status 0: idle and awake in time, or disturbed and seen to be so; 1: not; 3: could not measure.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "driver/net.h"
#include "proto/daemon.h"

#define GUESTS_MAX 64
#define SETTLE_MS 3000 // learned addresses are flushed within a second, announcements end before two
#define WAKE_US 5000

static struct {
	struct daemon d;
	unsigned n;
	struct fe *fe[GUESTS_MAX];
	struct net net[GUESTS_MAX];
	uint8_t mac[GUESTS_MAX][6];
	uint64_t seq;
} g;

static bool guest_start(unsigned i)
{
	char port[16];
	struct fe_conf conf = {.ring_size = 64, .mem = {.region_bytes = 4 << 20}};
	snprintf(port, sizeof(port), "g%u", i);
	frame_mac(g.mac[i], i + 1);
	g.fe[i] = fe_new(&conf);
	if (g.fe[i] == NULL || !fe_connect(g.fe[i], daemon_path(&g.d, port)) || fe_negotiate(g.fe[i]) != FE_OK)
		return false;
	fe_driver_reset(g.fe[i], 0);
	return net_init(&g.net[i], g.fe[i], 0, NULL) && fe_start(g.fe[i]) == FE_OK;
}

// Send one frame and take it at the other side; the time in *us.
static bool pass(unsigned from, unsigned to, const uint8_t dst[6], uint64_t *us)
{
	struct frame_id id;
	uint64_t start = clock_boot_us();
	if (!net_send_numbered(&g.net[from], dst, g.mac[from], from, ++g.seq, 100))
		return false;
	const char *wrong = net_expect(&g.net[to], &id, NULL, 3000);
	*us = clock_boot_us() - start;
	return wrong == NULL && id.seq == g.seq;
}

static bool greet(void)
{
	uint64_t us;
	struct frame_id id;
	for (unsigned i = 0; i < g.n; i++) {
		if (!pass(i, (i + 1) % g.n, frame_broadcast, &us))
			return false;
		for (unsigned k = 2; k < g.n; k++)
			if (net_expect(&g.net[(i + k) % g.n], &id, NULL, 3000) != NULL)
				return false;
	}
	return true;
}

static int measure(unsigned seconds, bool disturb)
{
	uint64_t us[2] = {0, 0}, ignored;
	daemon_nap(SETTLE_MS);
	uint64_t switches = daemon_switches(&g.d), cpu = daemon_cpu_us(&g.d);
	for (unsigned i = 0; i < seconds; i++) {
		daemon_nap(1000);
		if (disturb)
			pass(0, 1, g.mac[1], &ignored);
	}
	switches = daemon_switches(&g.d) - switches;
	cpu = daemon_cpu_us(&g.d) - cpu;
	if (!daemon_alive(&g.d)) {
		printf("idle: the daemon died\n");
		return 3;
	}
	bool woke = pass(0, 1, g.mac[1], &us[0]) && pass(1, 0, g.mac[0], &us[1]);
	printf("idle: %u guests, %u s: %llu switches, %llu us of run time; then a frame in %llu us and one back in %llu "
	       "us\n",
	       g.n, seconds, (unsigned long long)switches, (unsigned long long)cpu, (unsigned long long)us[0],
	       (unsigned long long)us[1]);
	return switches == 0 && cpu == 0 && woke && us[0] <= WAKE_US && us[1] <= WAKE_US ? 0 : 1;
}

static bool start(const char *bin, bool keeper, char **rest)
{
	static const char *args[DAEMON_MAX_ARGS];
	static char spec[GUESTS_MAX][40];
	unsigned n = 0;
	if (!keeper)
		args[n++] = "--no-keeper";
	for (unsigned i = 0; rest[i] != NULL && n < 6; i++)
		args[n++] = rest[i];
	for (unsigned i = 0; i < g.n; i++) {
		snprintf(spec[i], sizeof(spec[i]), "vhost-user,id=g%u", i);
		args[n++] = "--port";
		args[n++] = spec[i];
	}
	if (!daemon_start(&g.d, bin, args))
		return false;
	for (unsigned i = 0; i < g.n; i++)
		if (!guest_start(i)) {
			printf("idle: guest %u: %s\n", i, g.fe[i] != NULL ? g.fe[i]->err_text : "no memory");
			return false;
		}
	return greet();
}

int main(int argc, char **argv)
{
	unsigned seconds = 3;
	bool disturb = false, caught = false, keeper = false;
	int i = 1, status = 3;
	g.n = 8;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--disturb") == 0)
			disturb = true;
		else if (strcmp(argv[i], "--keeper") == 0)
			keeper = true;
		else if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			seconds = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--guests") == 0 && i + 1 < argc)
			g.n = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc || g.n < 2 || g.n > GUESTS_MAX) {
		fprintf(stderr, "usage: idle_oracle [--keeper] [--guests 2..64] [--seconds S] [--disturb] VRINGD [ARGUMENT...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (start(argv[i], keeper, argv + i + 1))
		status = measure(seconds, disturb);
	else
		printf("idle: the guests do not talk\n");
	if ((disturb || caught) && status < 3) // the oracle must have seen it
		status = !status;
	for (unsigned k = 0; k < g.n; k++) {
		net_fini(&g.net[k]);
		fe_free(g.fe[k]);
	}
	daemon_stop(&g.d, 5000);
	daemon_clean(&g.d);
	return status;
}
