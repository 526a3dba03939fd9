#include "lab/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/progress.h"
#include "lab/args.h"
#include "lab/assets.h"
#include "lab/netns.h"
#include "lab/qemu.h"

#define NICE_BACKEND -20 // in the gap that is measured, it is what is measured

#define READY_LIMIT_US 20000000
#define CONTROL_LIMIT_US 3000000

const char *place_name(enum place place)
{
	static const char *const names[] = { [PLACE_PEER] = "peer", [PLACE_SRC] = "src", [PLACE_DST] = "dst" };
	return names[place];
}

unsigned backend_of(const struct backend *b, enum place place)
{
	return b->n == 2 && place == PLACE_DST ? 1 : 0;
}

static void add_port(struct args *a, const struct opts *o, enum place place)
{
	char more[200] = "";
	size_t n = 0;
	if (o->packed)
		n += (size_t)snprintf(more, sizeof(more), ",packed=on");
	if (place != PLACE_PEER)
		n += (size_t)snprintf(more + n, sizeof(more) - n, ",guest=mover,announce=%s", o->announce_by_switch ? "switch" : "guest");
	if (place != PLACE_PEER && o->two_daemons) // the second daemon has never heard this guest
		n += (size_t)snprintf(more + n, sizeof(more) - n, ",mac=%s", guest_mover.mac);
	// the lab pauses the guest longer than any switch-over lasts; between two daemons nothing is handed over, and what was
	// held in vain must be counted by the end of the round
	if ((o->verify_ram || o->cancel_at == CANCEL_AFTER_STOP) && !o->two_daemons)
		snprintf(more + n, sizeof(more) - n, ",hold-ms=60000,hold-bytes=64M");
	args_pair(a, "--port", "vhost-user,id=%s%s", place_name(place), more);
}

static enum err start_vringd(struct backend *b, const struct opts *o, const char *dir, unsigned i, struct why *why)
{
	char program[ASSET_PATH], name[32], path[200], log[220];
	const char *given = o->vringd ? o->vringd : getenv("VRINGD");
	if (!program_find(given && *given ? given : "vringd", program))
		return ours(why, "%s is missing: say --vringd PATH", given && *given ? given : "vringd");
	snprintf(name, sizeof(name), b->n == 2 ? "vringd-%c" : "vringd", 'a' + (int)i);
	snprintf(path, sizeof(path), "%.150s/%s", dir, name);
	snprintf(log, sizeof(log), "%s.log", path);
	snprintf(b->control[i], sizeof(b->control[i]), "%s/control.sock", path);
	enum err e = folder_make(path, why);
	if (e != OK)
		return e;
	struct args a = { 0 };
	args_add(&a, "%s", program);
	args_pair(&a, "--runtime-dir", "%s", path);
	args_pair(&a, "--state-dir", "%s/state", path);
	args_pair(&a, "--control", "%s", b->control[i]);
	for (enum place p = PLACE_PEER; p <= PLACE_DST; p++) {
		if (backend_of(b, p) != i || (p == PLACE_DST && o->one_path))
			continue;
		add_port(&a, o, p);
		snprintf(b->socket[p], sizeof(b->socket[p]), "%s/%s.sock", path, place_name(p));
	}
	if (o->one_path)
		snprintf(b->socket[PLACE_DST], sizeof(b->socket[PLACE_DST]), "%s", b->socket[PLACE_SRC]);
	if (b->n == 2)
		args_pair(&a, "--port", "tap,id=up,ifname=%s", netns_tap[i]);
	e = proc_start(&b->proc[i], name, a.v, NICE_BACKEND, log, why);
	args_free(&a);
	snprintf(b->what, sizeof(b->what), "%.190s", program);
	return e;
}

// The back end of somebody else: it is told the paths, and is ready when the sockets are there.
static enum err start_command(struct backend *b, const struct opts *o, const char *dir, struct why *why)
{
	static const char *const names[] = { "VRINGLAB_PEER", "VRINGLAB_SRC", "VRINGLAB_DST" };
	char log[300];
	for (enum place p = PLACE_PEER; p <= PLACE_DST; p++) {
		snprintf(b->socket[p], sizeof(b->socket[p]), "%.230s/%s.sock", dir, place_name(o->one_path && p == PLACE_DST ? PLACE_SRC : p));
		setenv(names[p], b->socket[p], 1);
	}
	snprintf(log, sizeof(log), "%s/backend.log", dir);
	snprintf(b->what, sizeof(b->what), "%.190s", o->backend);
	char shell[] = "/bin/sh", c[] = "-c", *command = strdup(o->backend), *argv[] = { shell, c, command, NULL };
	if (!command)
		return ours(why, "no memory");
	enum err e = proc_start(&b->proc[0], "backend", argv, NICE_BACKEND, log, why);
	free(command);
	return e;
}

static bool sockets_there(const struct backend *b)
{
	struct stat st;
	for (unsigned p = 0; p < 3; p++)
		if (stat(b->socket[p], &st) < 0 || !S_ISSOCK(st.st_mode))
			return false;
	return true;
}

static bool controls_answer(const struct backend *b)
{
	for (unsigned i = 0; i < b->n && b->kind == BACKEND_VRINGD; i++) {
		json_t *status = NULL;
		struct stat st;
		if (stat(b->control[i], &st) < 0 || ctl_call(b->control[i], "status", NULL, &status, NULL) != OK)
			return false;
		json_decref(status);
	}
	return true;
}

enum err backend_start(struct backend *b, const struct opts *o, const char *dir, struct why *why)
{
	*b = (struct backend){ .n = o->two_daemons ? 2 : 1 };
	b->kind = !o->backend ? BACKEND_VRINGD : !strcmp(o->backend, "none") ? BACKEND_NONE : BACKEND_COMMAND;
	if (b->kind == BACKEND_NONE) {
		snprintf(b->group, sizeof(b->group), "239.255.%u.%u:%u", (unsigned)getpid() >> 8 & 255, (unsigned)getpid() & 255,
			20000 + (unsigned)getpid() % 20000);
		snprintf(b->what, sizeof(b->what), "none: QEMU's own net %s", b->group);
		return OK;
	}
	enum err e = OK;
	if (b->kind == BACKEND_COMMAND)
		e = start_command(b, o, dir, why);
	for (unsigned i = 0; i < b->n && b->kind == BACKEND_VRINGD && e == OK; i++)
		e = start_vringd(b, o, dir, i, why);
	uint64_t until = clock_boot_us() + READY_LIMIT_US;
	uint64_t patience = clock_boot_us() + CONTROL_LIMIT_US;
	while (e == OK && !(sockets_there(b) && controls_answer(b))) {
		if (sockets_there(b) && clock_boot_us() > patience) {
			complain("the control socket does not answer: going on without vringd's records");
			break;
		}
		char how[200] = "no socket appears";
		if (!backend_running(b, how, sizeof(how)) || clock_boot_us() > until || interrupted())
			e = ours(why, "the back end does not start: %.150s", how);
		sleep_ms(20);
	}
	if (e != OK)
		backend_end(b);
	return e;
}

void backend_end(struct backend *b)
{
	for (unsigned i = 0; i < b->n; i++)
		proc_end(&b->proc[i], 5000);
}

bool backend_running(struct backend *b, char *how, size_t size)
{
	for (unsigned i = 0; i < b->n && b->kind != BACKEND_NONE; i++) {
		if (!proc_running(&b->proc[i])) {
			proc_describe(&b->proc[i], how, size);
			return false;
		}
	}
	return true;
}
