// One QEMU process with its guest: command line, start, control connections, end.
#ifndef LAB_QEMU_H
#define LAB_QEMU_H

#include "lab/agent_link.h"
#include "lab/assets.h"
#include "lab/proc.h"
#include "lab/qmp.h"

struct guest_id { // who the guest is: the same on every QEMU that it lives on
	const char *name; // "peer", "mover"
	const char *mac, *ip4, *ip6;
	const struct guest_id *other;
};
extern const struct guest_id guest_peer, guest_mover;

struct vm {
	char name[32]; // of the process: "peer", "mover-1"
	struct proc proc;
	struct qmp qmp;
	struct agent_link agent;
	char dir[256];
	const struct guest_id *guest;
	bool started;
};

struct vm_spec {
	const struct opts *opts;
	const struct assets *assets;
	const struct qemu_binary *qemu;
	const struct guest_id *guest;
	const char *dir, *initrd;
	const char *socket; // of the back end; NULL: no vhost-user, see group
	const char *group;  // address and port of QEMU's own multicast net; NULL with socket: no net at all
	bool kvm;
	bool incoming; // waits for a migration
	bool paused;   // -S
};

// Of each guest, in bytes: what the options say, or a little more where a QEMU needs that to migrate its guest whole.
uint64_t vm_memory_bytes(const struct opts *o, const struct assets *a, bool kvm);
// Start it and connect to its monitor. On failure nothing runs.
enum err vm_start(struct vm *vm, const char *name, const struct vm_spec *spec, struct why *why);
// Connect to the agent and wait until it answers.
enum err vm_meet(struct vm *vm, uint64_t until_us, struct why *why);
// Has its console shown text? last: the last line that it showed, "" if none.
bool vm_said(const struct vm *vm, const char *text, char *last, size_t size);
void vm_end(struct vm *vm);
// Add why it died to a reason, if it did.
enum err vm_explain(struct vm *vm, enum err e, struct why *why);

#endif
