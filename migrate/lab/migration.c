#include "lab/migration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum err migration_set_cap(struct vm *vm, const char *name, bool on, struct why *why)
{
	json_t *a = json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", name, "state", (int)on);
	return vm_explain(vm, qmp_call(&vm->qmp, "migrate-set-capabilities", a, NULL, why), why);
}

enum err migration_set_param(struct vm *vm, const char *name_value, struct why *why)
{
	const char *equals = strchr(name_value, '=');
	char name[100], *end;
	if (!equals)
		return refuse(why, "%s: no value", name_value);
	snprintf(name, sizeof(name), "%.*s", (int)(equals - name_value), name_value);
	const char *text = equals + 1;
	long long number = strtoll(text, &end, 10);
	json_t *value = *text && !*end ? json_integer(number) :
		!strcmp(text, "true") || !strcmp(text, "false") ? json_boolean(*text == 't') : json_string(text);
	return vm_explain(vm, qmp_call(&vm->qmp, "migrate-set-parameters", json_pack("{s:o}", name, value), NULL, why), why);
}

enum err migration_start(struct vm *src, struct vm *dst, const struct opts *o, struct why *why)
{
	struct vm *both[2] = { src, dst };
	for (int i = 0; i < 2; i++) {
		enum err e = migration_set_cap(both[i], "events", true, why);
		for (size_t k = 0; k < o->caps.n && e == OK; k++)
			e = migration_set_cap(both[i], o->caps.v[k], true, why);
		for (size_t k = 0; k < o->params.n && e == OK; k++)
			e = migration_set_param(both[i], o->params.v[k], why);
		if (e != OK)
			return e;
		qmp_forget(&both[i]->qmp);
	}
	char uri[320];
	snprintf(uri, sizeof(uri), "unix:%s/migrate", dst->dir);
	enum err e = qmp_call(&dst->qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), NULL, why);
	if (e != OK)
		return vm_explain(dst, e, why);
	return vm_explain(src, qmp_call(&src->qmp, "migrate", json_pack("{s:s}", "uri", uri), NULL, why), why);
}

enum err migration_wait(struct vm *src, const char *const *statuses, uint64_t until_us, struct why *why)
{
	while (clock_boot_us() < until_us && !interrupted()) {
		json_t *info = NULL;
		enum err e = qmp_call(&src->qmp, "query-migrate", NULL, &info, why);
		if (e != OK)
			return vm_explain(src, e, why);
		const char *status = json_string_value(json_object_get(info, "status"));
		const char *reason = json_string_value(json_object_get(info, "error-desc"));
		bool there = false, failed = status && (!strcmp(status, "failed") || !strcmp(status, "completed") || !strcmp(status, "cancelled"));
		for (unsigned i = 0; status && statuses[i]; i++)
			there = there || !strcmp(status, statuses[i]);
		if (!there && failed)
			e = refuse(why, "migration %s%s%.140s", status, reason ? ": " : "", reason ? reason : "");
		json_decref(info);
		if (there || e != OK)
			return e;
		qmp_wait(&src->qmp, NULL, clock_boot_us() + 10000, NULL);
	}
	return refuse(why, "the migration does not become %s in time", statuses[0]);
}

// QEMU says "completed" a moment before it knows how long the guest stood still.
enum err migration_read(struct vm *src, struct round *r, struct why *why)
{
	json_t *info = NULL;
	r->downtime_ms = 0;
	for (unsigned i = 0; i < 20 && r->downtime_ms == 0; i++) {
		json_decref(info);
		info = NULL;
		if (i != 0)
			sleep_ms(5);
		enum err e = qmp_call(&src->qmp, "query-migrate", NULL, &info, why);
		if (e != OK)
			return vm_explain(src, e, why);
		r->downtime_ms = json_number_value(json_object_get(info, "downtime"));
	}
	r->setup_ms = json_number_value(json_object_get(info, "setup-time"));
	r->total_ms = json_number_value(json_object_get(info, "total-time"));
	r->transferred_mb = json_number_value(json_object_get(json_object_get(info, "ram"), "transferred")) / 1e6;
	json_decref(info);
	return OK;
}
