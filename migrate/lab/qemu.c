#include "lab/qemu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define MONITOR_LIMIT_US 20000000

// Without hardware virtualisation a guest that has just been moved runs code that nothing has translated yet: the host's CPUs are its
// for the moment, or the gap that is measured is the host's scheduler.
#define NICE_MOVER -20
#define NICE_PEER -10

const struct guest_id guest_peer = {
	.name = "peer", .mac = "52:54:00:76:72:01", .ip4 = "10.114.0.1", .ip6 = "fd00:114::1", .other = &guest_mover,
};
const struct guest_id guest_mover = {
	.name = "mover", .mac = "52:54:00:76:72:02", .ip4 = "10.114.0.2", .ip6 = "fd00:114::2", .other = &guest_peer,
};

#if defined(__aarch64__)
#define MACHINE "virt"
#define VERSIONED_MACHINE "virt"
#else
#define MACHINE "q35"
#define VERSIONED_MACHINE "pc-q35"
#endif

static bool before(const struct qemu_binary *q, unsigned major, unsigned minor)
{
	return q->major < major || (q->major == major && q->minor < minor);
}

static void add_net(struct args *a, const struct vm_spec *s)
{
	unsigned queues = s->opts->queues;
	if (s->socket) {
		const char *again = before(s->qemu, 9, 2) ? "reconnect=1" : "reconnect-ms=500";
		args_pair(a, "-chardev", "socket,id=c0,path=%s,%s", s->socket, again);
		args_pair(a, "-netdev", "vhost-user,id=n0,chardev=c0,queues=%u", queues);
	} else if (s->group) {
		args_pair(a, "-netdev", "socket,id=n0,mcast=%s,localaddr=127.0.0.1", s->group);
		queues = 1;
	} else {
		args_pair(a, "-nic", "none");
		return;
	}
	char more[64] = "";
	if (queues > 1)
		snprintf(more, sizeof(more), ",mq=on");
	// QEMU 7.2 crashes with vhost-user and MSI-X where there is no KVM.
	if (!s->kvm && s->socket && before(s->qemu, 8, 0))
		snprintf(more + strlen(more), sizeof(more) - strlen(more), ",vectors=0");
	else if (queues > 1)
		snprintf(more + strlen(more), sizeof(more) - strlen(more), ",vectors=%u", 2 * queues + 2);
	if (s->opts->packed)
		snprintf(more + strlen(more), sizeof(more) - strlen(more), ",packed=on");
	// a guest under TCG that shares two CPUs may not look at its ring for a quarter of a second: 1024 buffers outlast that
	args_pair(a, "-device", "virtio-net-pci,netdev=n0,mac=%s,romfile=,rx_queue_size=1024%s", s->guest->mac, more);
}

// After a migration a TCG guest runs code that is not translated yet, and each instruction on the way of its first frame
// counts: a plain CPU, no mitigations, a clock that is read without leaving the translated code. And on a busy host such a guest may
// think that its timer does not work, and panic.
#define SHORT_WAY "mitigations=off tsc=reliable no_timer_check"
#if defined(__aarch64__)
#define PLAIN_CPU "max"
#else
#define PLAIN_CPU "Nehalem"
#endif

static void add_boot(struct args *a, const struct vm_spec *s)
{
	const struct guest_id *g = s->guest, *o = g->other;
	if (s->opts->image) {
		args_pair(a, "-drive", "file=%s,if=virtio,snapshot=on", s->opts->image);
		return;
	}
	args_pair(a, "-kernel", "%s", s->assets->kernel);
	args_pair(a, "-initrd", "%s", s->opts->initrd ? s->opts->initrd : s->initrd);
	args_pair(a, "-append", "console=ttyS0 quiet loglevel=4 panic=-1 net.ifnames=0 audit=0 lab_mtu=%d lab_ip4=%s lab_peer4=%s lab_ip6=%s "
		"lab_peer6=%s lab_peer_mac=%s", s->opts->size > LAB_SIZE_ETHERNET ? LAB_MTU_JUMBO : 1500, g->ip4, o->ip4, g->ip6, o->ip6, o->mac);
}

// Two QEMUs of different versions need a machine that both know: the older one's.
static void machine_choose(char *out, size_t size, const struct assets *a)
{
	const struct qemu_binary *old = before(&a->src, a->dst.major, a->dst.minor) ? &a->src : &a->dst;
	if (a->src.major == a->dst.major && a->src.minor == a->dst.minor)
		snprintf(out, size, "%s", MACHINE);
	else
		snprintf(out, size, "%s-%u.%u", VERSIONED_MACHINE, old->major, old->minor);
}

// QEMU before 9.0 loses what a TCG guest's own CPU writes during a migration: where it takes the dirty bits of 64 pages at
// once it does not make the translated code's fast path set them again (mended by "physmem: Fix migration dirty bitmap
// coherency with TCG memory access", March 2024). Memory that ends within such a group of pages is taken page by page, which
// does it right. Both ends need the same size.
uint64_t vm_memory_bytes(const struct opts *o, const struct assets *a, bool kvm)
{
	bool loses = !kvm && (before(&a->src, 9, 0) || before(&a->dst, 9, 0));
	return o->memory_bytes + (loses ? 8192 : 0); // PCs want a multiple of 8 KiB
}

// Two guests of two CPUs each are too much for a host of two: what translates a moved guest's code, or holds the lock that its first frame needs,
// then waits for a CPU (38 ms from its start to that frame, now and then 70; like this 25 to 30). Guests that are not moved have nothing to translate
// at the moment that counts, and a thread for each CPU makes their own gaps shorter.
static bool one_thread(const struct vm_spec *s)
{
	return !s->kvm && s->opts->verb == LAB_MIGRATE && sysconf(_SC_NPROCESSORS_ONLN) < 4;
}

// Each pair of queues wants a CPU; and where it can be the sender has one without interrupts.
static unsigned guest_cpus(const struct vm_spec *s)
{
	unsigned queues = s->opts->queues;
	return queues > 1 || one_thread(s) ? queues : 2;
}

static void build_command(struct args *a, const struct vm_spec *s, const char *dir)
{
	const struct opts *o = s->opts;
	uint64_t kb = vm_memory_bytes(o, s->assets, s->kvm) >> 10;
	args_add(a, "%s", s->qemu->path);
	args_add(a, "-nodefaults");
	args_add(a, "-no-user-config");
	args_add(a, "-no-reboot");
	args_pair(a, "-display", "none");
	char machine[40];
	machine_choose(machine, sizeof(machine), s->assets);
	args_pair(a, "-machine", "%s,memory-backend=m0", o->machine ? o->machine : machine);
	args_pair(a, "-accel", "%s", s->kvm ? "kvm" : one_thread(s) ? "tcg,thread=single" : "tcg,thread=multi");
	args_pair(a, "-cpu", "%s", s->kvm ? "host" : PLAIN_CPU);
	args_pair(a, "-smp", "%u", guest_cpus(s));
	args_pair(a, "-m", "%" PRIu64 "K", kb);
	args_pair(a, "-object", "memory-backend-memfd,id=m0,size=%" PRIu64 "K,share=on", kb);
	add_boot(a, s);
	args_pair(a, "-serial", "file:%s/console", dir);
	args_pair(a, "-chardev", "socket,id=agent,path=%s/agent,server=on,wait=off", dir);
	args_pair(a, "-serial", "chardev:agent");
	args_pair(a, "-qmp", "unix:%s/qmp,server=on,wait=off", dir);
	add_net(a, s);
	if (s->incoming)
		args_pair(a, "-incoming", "defer");
	if (s->paused)
		args_add(a, "-S");
	for (size_t i = 0; i < o->qemu_args.n; i++)
		args_add(a, "%s", o->qemu_args.v[i]);
}

enum err vm_start(struct vm *vm, const char *name, const struct vm_spec *s, struct why *why)
{
	*vm = (struct vm){ .guest = s->guest, .started = true };
	vm->qmp.lines.fd = vm->agent.lines.fd = -1;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	snprintf(vm->dir, sizeof(vm->dir), "%s/%s", s->dir, name);
	char log[300], qmp[300];
	snprintf(log, sizeof(log), "%s/qemu.log", vm->dir);
	snprintf(qmp, sizeof(qmp), "%s/qmp", vm->dir);
	enum err e = folder_make(vm->dir, why);
	if (e != OK)
		return e;
	struct args a = { 0 };
	build_command(&a, s, vm->dir);
	e = proc_start(&vm->proc, name, a.v, s->guest == &guest_peer ? NICE_PEER : NICE_MOVER, log, why);
	args_free(&a);
	uint64_t until = clock_boot_us() + MONITOR_LIMIT_US;
	while (e == OK) { // a QEMU that does not like its command line ends at once: do not wait for it
		uint64_t turn = clock_boot_us() + 200000;
		e = qmp_open(&vm->qmp, qmp, turn, why);
		if (e == OK)
			return OK;
		if (!proc_running(&vm->proc) || clock_boot_us() > until || interrupted())
			break;
		e = OK;
	}
	e = vm_explain(vm, e, why);
	vm_end(vm);
	return e;
}

enum err vm_meet(struct vm *vm, uint64_t until_us, struct why *why)
{
	char path[300], answer[400];
	snprintf(path, sizeof(path), "%s/agent", vm->dir);
	enum err e = agent_open(&vm->agent, path, until_us, why);
	if (e == OK)
		e = agent_ask(&vm->agent, until_us, answer, sizeof(answer), why, "PING");
	if (e == OK)
		e = agent_sync(&vm->agent, why);
	return vm_explain(vm, e, why);
}

bool vm_said(const struct vm *vm, const char *text, char *last, size_t size)
{
	char path[300], line[300];
	bool found = false;
	snprintf(path, sizeof(path), "%s/console", vm->dir);
	FILE *f = fopen(path, "re");
	last[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = 0;
		found = found || strstr(line, text);
		if (line[0])
			snprintf(last, size, "%s", line);
	}
	if (f)
		fclose(f);
	return found;
}

void vm_end(struct vm *vm)
{
	if (!vm->started)
		return;
	if (vm->qmp.lines.fd >= 0 && proc_running(&vm->proc))
		qmp_call(&vm->qmp, "quit", NULL, NULL, NULL);
	for (int i = 0; i < 200 && vm->qmp.lines.fd >= 0 && proc_running(&vm->proc); i++)
		sleep_ms(10);
	proc_end(&vm->proc, 2000);
	qmp_close(&vm->qmp);
	agent_close(&vm->agent);
	vm->started = false;
}

enum err vm_explain(struct vm *vm, enum err e, struct why *why)
{
	if (e == OK || !why || !vm->proc.log[0])
		return e;
	char reason[WHY_MAX], how[160] = "";
	snprintf(reason, sizeof(reason), "%s", why->text);
	if (!proc_running(&vm->proc))
		proc_describe(&vm->proc, how, sizeof(how));
	return ours(why, "%s: %.100s%s%s", vm->name, reason, how[0] ? "; " : "", how);
}
