#include "lab/scenario.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/progress.h"
#include "lab/crash.h"
#include "lab/guest_run.h"
#include "lab/initrd.h"
#include "lab/netns.h"
#include "lab/round.h"

#define BOOT_LIMIT_US 90000000
#define PROBE_LIMIT_US 15000000

// KVM may be there and not work: a guest that boots is the only proof.
static bool kvm_works(const struct lab *lab)
{
	struct vm vm = { 0 };
	struct vm_spec spec = {
		.opts = lab->opts, .assets = lab->assets, .qemu = &lab->assets->src, .guest = &guest_peer, .dir = lab->dir,
		.initrd = lab->initrd, .kvm = true,
	};
	if (access("/dev/kvm", R_OK | W_OK) != 0)
		return false;
	progress("trying KVM");
	struct why why;
	char said[200] = "";
	if (vm_start(&vm, "kvm-probe", &spec, &why) != OK)
		return false;
	uint64_t until = clock_boot_us() + PROBE_LIMIT_US;
	bool user_space = false; // without a network the agent stops at its interface, but it is user space that says so
	while (!user_space && clock_boot_us() < until && proc_running(&vm.proc) && !interrupted()) {
		user_space = vm_said(&vm, "lab-agent", said, sizeof(said));
		sleep_ms(50);
	}
	vm_end(&vm);
	return user_space;
}

static enum err choose_accel(struct lab *lab, struct results *r, struct why *why)
{
	lab->kvm = lab->opts->accel != ACCEL_TCG && kvm_works(lab);
	if (lab->opts->accel == ACCEL_KVM && !lab->kvm)
		return ours(why, "KVM does not work here: a guest does not boot with it");
	r->kvm = lab->kvm;
	progress("guests run under %s; QEMU %s and %s", lab->kvm ? "KVM" : "TCG", lab->assets->src.version, lab->assets->dst.version);
	return OK;
}

// Wait for a guest that boots. One that ends before its user space runs, so before it has a driver for what is tested, is QEMU's
// or the kernel's affair under TCG: it is said, and it gets a second try.
static enum err meet(struct lab *lab, struct vm *vm, const struct guest_id *guest, enum place place, uint64_t until, struct why *why)
{
	char last[200];
	enum err e = vm_meet(vm, until, why);
	if (e == OK || interrupted())
		return e;
	sleep_ms(200); // it may be about to end
	bool user_space = vm_said(vm, "lab: user space", last, sizeof(last));
	if (user_space || proc_running(&vm->proc)) {
		complain("%s: the last line of its console: %s", vm->name, last);
		return e;
	}
	progress("%s ended before its user space ran (%s): once more", vm->name, last[0] ? last : "without a word");
	vm_end(vm);
	e = lab_start_vm(lab, vm, guest, place, false, why);
	return e == OK ? vm_meet(vm, until, why) : e;
}

static enum err boot_guests(struct lab *lab, struct why *why)
{
	progress("booting two guests");
	enum err e = lab_start_vm(lab, &lab->peer, &guest_peer, PLACE_PEER, false, why);
	if (e == OK)
		e = lab_start_vm(lab, &lab->mover, &guest_mover, PLACE_SRC, false, why);
	lab->mover_at = PLACE_SRC;
	uint64_t until = clock_boot_us() + BOOT_LIMIT_US;
	if (e == OK)
		e = meet(lab, &lab->peer, &guest_peer, PLACE_PEER, until, why);
	if (e == OK)
		e = meet(lab, &lab->mover, &guest_mover, PLACE_SRC, until, why);
	if (e != OK)
		return e;
	progress("both guests run");
	return guests_greet(&lab->peer, &lab->mover, why);
}

// Is what is tested there? All rings of both guests are packed, or none is.
static enum err check_rings(const struct lab *lab, struct why *why)
{
	const char *want = lab->opts->packed ? "packed" : "split";
	json_t *result = NULL, *port, *ring;
	size_t i, k;
	unsigned n = 0, wrong = 0;
	if (lab->backend->kind != BACKEND_VRINGD)
		return OK;
	enum err e = ctl_call(lab->backend->control[0], "rings", NULL, &result, why);
	json_array_foreach(json_object_get(result, "rings"), i, port)
		json_array_foreach(json_object_get(port, "rings"), k, ring) {
			const char *kind = json_string_value(json_object_get(ring, "kind"));
			n += json_is_true(json_object_get(ring, "running"));
			wrong += !kind || strcmp(kind, want) != 0;
		}
	json_decref(result);
	if (e != OK || (n != 0 && wrong == 0))
		return e;
	return ours(why, "%u rings run, %u are not %s ones", n, wrong, want);
}

static enum err run_control(struct lab *lab, struct results *r, struct why *why)
{
	progress("%u s of traffic without migration", lab->opts->duration_s);
	enum err e = stretch_begin(&r->control, &lab->peer, &lab->mover, lab->opts, why);
	sleep_ms(lab->opts->duration_s * 1000);
	if (e == OK)
		e = stretch_end(&r->control, &lab->peer, &lab->mover, lab->opts, why);
	r->have_control = e == OK;
	return e;
}

static enum err run_rounds(struct lab *lab, struct results *r, struct why *why)
{
	enum err e = check_rings(lab, why);
	if (e == OK && lab->opts->verb == LAB_CRASH)
		return crash_run(lab, why);
	if (e == OK)
		e = run_control(lab, r, why);
	if (e == OK && lab->opts->cancel_at != CANCEL_NEVER)
		e = round_cancel(lab, why);
	for (unsigned i = 0; i < lab->opts->rounds && e == OK; i++)
		e = interrupted() ? ours(why, "interrupted") : round_migrate(lab, why);
	return e;
}

static void ask_daemons(struct lab *lab, struct results *r)
{
	struct backend *b = lab->backend;
	if (!backend_running(b, r->backend_failure, sizeof(r->backend_failure)))
		return;
	for (unsigned i = 0; i < b->n && b->kind == BACKEND_VRINGD; i++) {
		ctl_call(b->control[i], "stats", NULL, &r->stats[i], NULL);
		ctl_call(b->control[i], "events", NULL, &r->events[i], NULL);
	}
}

enum err scenario_run(const struct opts *o, const struct assets *a, const char *dir, struct results *r, struct why *why)
{
	struct backend backend = { 0 };
	struct lab lab = { .opts = o, .assets = a, .backend = &backend, .results = r, .dir = dir };
	r->opts = o;
	r->assets = a;
	r->seed = o->seed;
	r->start_us = clock_boot_us();
	snprintf(lab.initrd, sizeof(lab.initrd), "%s/initrd.gz", dir);
	enum err e = o->two_daemons ? netns_enter(why) : OK;
	if (e == OK && !o->initrd && !o->image)
		e = initrd_write(lab.initrd, a, why);
	if (e == OK)
		e = choose_accel(&lab, r, why);
	if (e == OK)
		e = backend_start(&backend, o, dir, why);
	if (e == OK && o->verb == LAB_MIGRATE && o->kills)
		e = strikes_open(&lab.strikes, &backend, o, r->seed, dir, why);
	if (e != OK) {
		strikes_close(lab.strikes);
		backend_end(&backend);
		return OURS; // why was said where it failed
	}
	snprintf(r->backend, sizeof(r->backend), "%s", backend.what);
	e = boot_guests(&lab, why);
	if (e == OK)
		e = run_rounds(&lab, r, why);
	if (e != OK)
		snprintf(r->failure, sizeof(r->failure), "%s", why->text);
	ask_daemons(&lab, r);
	progress("ending");
	vm_end(&lab.mover);
	vm_end(&lab.peer);
	strikes_close(lab.strikes);
	backend_end(&backend);
	r->end_us = clock_boot_us();
	return OK;
}
