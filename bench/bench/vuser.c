#include "bench/vuser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/backend.h"

#define PROMPT "testpmd> "
#define START_MS 20000
#define COMMAND_MS 10000
#define BURSTS 16 // of 32 frames each, a port: what circulates stays below the ring size

static bool can(const struct row *r)
{
	return r->way == ROW_PAIRS && r->load.kind == LOAD_BOTH_WAYS && r->load.n_sizes == 1 && !r->load.gso &&
	       !r->load.occupancy && r->load.working_set == 0 && !r->load.indirect && r->load.size[0].bytes <= 1518 &&
	       r->load.flows <= 1;
}

static bool command(struct vuser *v, const char *line)
{
	child_forget(&v->child);
	return child_tell(&v->child, line) && child_wait(&v->child, PROMPT, COMMAND_MS);
}

enum err vuser_open(struct vuser **out, const struct row *r, const struct opts *o, bool huge, char (*sock)[108],
		    struct why *why)
{
	if (!can(r))
		return refuse(why, "DPDK's driver can't do this row");
	char lcores[40], vdev[2][300], pkts[30], rxq[20], txq[20], line[160];
	snprintf(lcores, sizeof(lcores), "0@%d,1@%d", o->cpu[0], o->cpu[0]);
	for (unsigned i = 0; i < 2; i++)
		snprintf(vdev[i], sizeof(vdev[i]),
			 "net_virtio_user%u,path=%s,queues=%u,queue_size=1024,mac=52:54:00:00:00:0%c,packed_vq=%d,mrg_rxbuf="
			 "%d,in_order=%d",
			 i, sock[i], r->load.pairs, 'a' + (int)i, r->load.packed, r->load.mergeable, r->load.in_order);
	snprintf(pkts, sizeof(pkts), "--txpkts=%u", r->load.size[0].bytes);
	snprintf(rxq, sizeof(rxq), "--rxq=%u", r->load.pairs);
	snprintf(txq, sizeof(txq), "--txq=%u", r->load.pairs);
	const char *argv[] = { o->dpdk[0] ? o->dpdk : "dpdk-testpmd",
			       "--lcores",
			       lcores,
			       "--no-pci",
			       "--no-telemetry",
			       huge ? "--in-memory" : "--no-huge",
			       "--single-file-segments",
			       "-m",
			       huge ? "256" : "512",
			       "--file-prefix=vringbench-driver",
			       "--vdev",
			       vdev[0],
			       "--vdev",
			       vdev[1],
			       "--",
			       "-i",
			       "--nb-cores=1",
			       "--forward-mode=mac",
			       "--eth-peer=0,52:54:00:00:00:0b",
			       "--eth-peer=1,52:54:00:00:00:0a",
			       "--rxd=1024",
			       "--txd=1024",
			       rxq,
			       txq,
			       "--total-num-mbufs=16384",
			       pkts,
			       "--record-core-cycles",
			       NULL };
	struct vuser *v = calloc(1, sizeof(*v));
	if (!v)
		return ours(why, "no memory");
	enum err e = child_start(&v->child, (char *const *)(uintptr_t)argv, o->cpu, 1, why);
	if (e == OK && !child_wait(&v->child, PROMPT, START_MS))
		e = ours(why, "DPDK's driver did not come up: %.120s", child_last_line(&v->child, line, sizeof(line)));
	if (e != OK) {
		child_kill(&v->child);
		free(v);
		return e;
	}
	*out = v;
	return OK;
}

void vuser_close(struct vuser *v)
{
	if (!v)
		return;
	child_pause(&v->child, false);
	child_tell(&v->child, "quit"); // a virtio-user port that is killed leaves its back end in the middle of a frame
	for (unsigned i = 0; i < 300 && child_alive(&v->child); i++)
		usleep(10000);
	child_end(&v->child, 1000);
	free(v);
}

static double number_behind(const char *text, const char *sign)
{
	const char *at = text ? strstr(text, sign) : NULL;
	return at ? strtod(at + strlen(sign), NULL) : 0;
}

bool vuser_run(struct vuser *v, unsigned ms, void (*mark)(void *arg, int end), void *arg, struct vuser_result *r)
{
	char line[40];
	struct timespec nap = { ms / 1000, (long)(ms % 1000) * 1000000 };
	snprintf(line, sizeof(line), "start tx_first %d", BURSTS);
	uint64_t start = clock_boot_us();
	if (!command(v, line))
		return false;
	uint64_t from = clock_boot_us();
	mark(arg, 0);
	nanosleep(&nap, NULL);
	mark(arg, 1);
	r->seconds = (double)(clock_boot_us() - from) / 1e6;
	if (!command(v, "stop"))
		return false;
	r->all_seconds = (double)(clock_boot_us() - start) / 1e6;
	const char *all = strstr(v->child.text, "Accumulated forward statistics");
	r->received = number_behind(all, "RX-packets: ");
	double cycles = number_behind(strstr(v->child.text, "(total cycles="), "(total cycles=");
	r->driver_cycles = r->received > 0 ? cycles / r->received : 0;
	return all != NULL;
}
