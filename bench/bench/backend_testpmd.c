// dpdk-testpmd with net_vhost ports, io forwarding: a cross-connect. Spoken to by its prompt.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/backend.h"

#define PROMPT "testpmd> "
#define START_MS 20000
#define COMMAND_MS 10000

static enum err start(struct backend *b, const struct need *n, struct why *why)
{
	char lcores[60], vdev[2][180], rxq[20], txq[20];
	int cpu = b->opts->cpu[1];
	if (n->ports > 2)
		return refuse(why, "testpmd is measured with 1 or 2 ports");
	snprintf(lcores, sizeof(lcores), "0@%d,1@%d", cpu, cpu);
	for (unsigned i = 0; i < n->ports; i++) {
		snprintf(b->sock[i], sizeof(b->sock[i]), "%s/p%u.sock", b->dir, i);
		unlink(b->sock[i]); // after a kill
		snprintf(vdev[i], sizeof(vdev[i]), "net_vhost%u,iface=%s,queues=%u%s", i, b->sock[i], n->pairs,
			 n->gso ? ",tso=1,legacy-ol-flags=1" : ""); // without the latter io forwarding loses GSO headers
	}
	snprintf(rxq, sizeof(rxq), "--rxq=%u", n->pairs);
	snprintf(txq, sizeof(txq), "--txq=%u", n->pairs);
	char *argv[40];
	unsigned c = 0;
	argv[c++] = b->opts->dpdk[0] ? (char *)(uintptr_t)b->opts->dpdk : (char *)(uintptr_t) "dpdk-testpmd";
#define ARG(text) (argv[c++] = (char *)(uintptr_t)(text))
	ARG("--lcores");
	ARG(lcores);
	ARG("-v");
	ARG("--no-pci");
	ARG("--no-telemetry");
	ARG("--log-level=lib.vhost.config:warning"); // else two lines a message, whose time would be the handshake's
	if (b->huge) {
		ARG("--in-memory");
		ARG("--single-file-segments");
		ARG("-m");
		ARG("256");
	} else {
		ARG("--no-huge");
		ARG("-m");
		ARG("512");
		ARG("--file-prefix=vringbench");
	}
	for (unsigned i = 0; i < n->ports; i++) {
		ARG("--vdev");
		ARG(vdev[i]);
	}
	ARG("--");
	ARG("-i");
	ARG("--nb-cores=1");
	ARG(n->sink ? "--forward-mode=rxonly" : "--forward-mode=io");
	if (n->ports == 1)
		ARG("--port-topology=loop");
	ARG("--rxd=1024");
	ARG("--txd=1024");
	ARG(rxq);
	ARG(txq);
	ARG("--total-num-mbufs=16384");
	ARG("--record-core-cycles");
	argv[c] = NULL;
#undef ARG
	char line[160];
	enum err e = backend_spawn(b, argv, true, why);
	if (e != OK)
		return e;
	if (!child_wait(b->child, PROMPT, START_MS))
		return ours(why, "testpmd did not come up: %.150s", child_last_line(b->child, line, sizeof(line)));
	const char *v = strstr(b->child->text, "RTE Version: '");
	if (v && !b->version[0])
		snprintf(b->version, sizeof(b->version), "%.*s", (int)strcspn(v + 14, "'\r\n"), v + 14);
	child_forget(b->child);
	if (!child_tell(b->child, "start") || !child_wait(b->child, PROMPT, COMMAND_MS))
		return ours(why, "testpmd did not start forwarding");
	return OK;
}

static bool command(struct backend *b, const char *line)
{
	child_forget(b->child);
	return child_tell(b->child, line) && child_wait(b->child, PROMPT, COMMAND_MS);
}

// A start clears its counters.
static bool begin(struct backend *b)
{
	return command(b, "stop") && command(b, "start");
}

static uint64_t number_behind(const char *text, const char *sign)
{
	const char *at = text ? strstr(text, sign) : NULL;
	return at ? strtoull(at + strlen(sign), NULL, 10) : 0;
}

static bool end(struct backend *b, struct counters *out)
{
	if (!command(b, "stop"))
		return false;
	const char *text = b->child->text, *all = strstr(text, "Accumulated forward statistics");
	out->taken = number_behind(all, "RX-packets: ");
	out->given = number_behind(all, "TX-packets: ");
	const char *cycles = strstr(text, "(total cycles=");
	out->valid = cycles != NULL;
	out->cycles = (double)number_behind(cycles, "(total cycles=");
	return command(b, "start");
}

const struct backend_ops backend_testpmd = { .start = start, .begin = begin, .end = end, .polls = true };
