// Open vSwitch with DPDK as a learning switch (action NORMAL), with a database, sockets and logs of its own. Needs root: it
// makes a device for its bridge.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/backend.h"

#define VSWITCHD "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
#define SCHEMA "/usr/share/openvswitch/vswitch.ovsschema"
#define START_MS 20000

// Run a shell command; its output's beginning goes to buf. False: it failed.
static bool shell(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool shell(char *buf, size_t size, const char *fmt, ...)
{
	char line[900];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	FILE *f = popen(line, "re");
	if (!f)
		return false;
	size_t n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	while (fgetc(f) != EOF)
		;
	return pclose(f) == 0;
}

static bool database(struct backend *b, char *out, size_t size, struct why *why)
{
	char db[120], remote[120], ctl[120];
	if (access(SCHEMA, R_OK) != 0 || access(VSWITCHD, X_OK) != 0) {
		refuse(why, "openvswitch-switch-dpdk is not installed");
		return false;
	}
	snprintf(db, sizeof(db), "%s/conf.db", b->dir);
	snprintf(remote, sizeof(remote), "--remote=punix:%s/db.sock", b->dir);
	snprintf(ctl, sizeof(ctl), "--unixctl=%s/db.ctl", b->dir);
	if (!shell(out, size, "ovsdb-tool create %s " SCHEMA " 2>&1", db)) {
		ours(why, "ovsdb-tool: %.150s", out);
		return false;
	}
	char *argv[] = { (char *)(uintptr_t) "ovsdb-server", db, remote, ctl, NULL };
	if (child_start(b->helper, argv, NULL, 0, why) != OK)
		return false;
	char sock[120];
	snprintf(sock, sizeof(sock), "%s/db.sock", b->dir);
	for (unsigned i = 0; i < 200 && access(sock, F_OK) != 0; i++)
		usleep(10000);
	return true;
}

static bool vsctl(struct backend *b, char *out, size_t size, struct why *why, const char *what)
{
	if (shell(out, size, "timeout 20 ovs-vsctl --db=unix:%s/db.sock %s 2>&1", b->dir, what))
		return true;
	ours(why, "ovs-vsctl: %.160s", out);
	return false;
}

static enum err start(struct backend *b, const struct need *n, struct why *why)
{
	char out[400], text[400];
	if (n->sink || n->loop || n->ports > 64)
		return refuse(why, "Open vSwitch is measured as a switch between guests");
	if (!b->huge)
		return refuse(why, "Open vSwitch wants %u MiB of huge pages", BACKEND_OVS_MIB);
	if (b->helper->pid == 0 && !database(b, out, sizeof(out), why))
		return OURS;
	setenv("OVS_RUNDIR", b->dir, 1);
	setenv("OVS_LOGDIR", b->dir, 1);
	snprintf(text, sizeof(text),
		 "--no-wait init -- set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=%u "
		 "other_config:dpdk-socket-limit=%u other_config:per-port-memory=true " // else its pool takes all it can get
		 "other_config:pmd-cpu-mask=%#x other_config:dpdk-lcore-mask=%#x "
		 "other_config:dpdk-extra='--no-pci --in-memory --single-file-segments'",
		 BACKEND_OVS_MIB, BACKEND_OVS_MIB, 1u << b->opts->cpu[1], 1u << b->opts->cpu[0]);
	if (!vsctl(b, out, sizeof(out), why, text))
		return OURS;
	char remote[120], ctl[120];
	snprintf(remote, sizeof(remote), "unix:%s/db.sock", b->dir);
	snprintf(ctl, sizeof(ctl), "--unixctl=%s/vs.ctl", b->dir);
	char *argv[] = { (char *)(uintptr_t)VSWITCHD, remote, ctl, NULL };
	enum err e = backend_spawn(b, argv, true, why);
	if (e != OK)
		return e;
	if (!vsctl(b, out, sizeof(out), why, "--may-exist add-br br0 -- set bridge br0 datapath_type=netdev"))
		return OURS;
	for (unsigned i = 0; i < n->ports; i++) {
		snprintf(b->sock[i], sizeof(b->sock[i]), "%s/p%u", b->dir, i);
		snprintf(text, sizeof(text), "--may-exist add-port br0 p%u -- set Interface p%u type=dpdkvhostuser", i, i);
		if (!vsctl(b, out, sizeof(out), why, text))
			return OURS;
	}
	if (!b->version[0] && shell(out, sizeof(out), "ovs-vswitchd --version | head -n 1"))
		snprintf(b->version, sizeof(b->version), "%.*s", (int)strcspn(out, "\n"), out);
	return backend_await(b, n->ports, START_MS, why);
}

static bool begin(struct backend *b)
{
	char out[100];
	return shell(out, sizeof(out), "timeout 10 ovs-appctl -t %s/vs.ctl dpif-netdev/pmd-stats-clear 2>&1", b->dir);
}

static double sum_behind(const char *text, const char *sign)
{
	double sum = 0;
	for (const char *at = text; (at = strstr(at, sign)); at += strlen(sign))
		sum += strtod(at + strlen(sign), NULL);
	return sum;
}

static bool end(struct backend *b, struct counters *c)
{
	char out[8000];
	if (!shell(out, sizeof(out), "timeout 10 ovs-appctl -t %s/vs.ctl dpif-netdev/pmd-stats-show 2>&1", b->dir))
		return false;
	c->cycles = sum_behind(out, "processing cycles: ");
	c->taken = (uint64_t)sum_behind(out, "packets received: ");
	c->valid = strstr(out, "processing cycles: ") != NULL;
	return true;
}

const struct backend_ops backend_ovs = { .start = start, .begin = begin, .end = end, .polls = true };
