#include <stdlib.h>
#include <string.h>

#include "bench/opts.h"

static const char *const kinds[] = { "vringd", "testpmd", "ovs", "given" };

// A home folder's path says who somebody is: "~" stands for it.
static json_t *path_json(const char *path)
{
	const char *home = getenv("HOME");
	size_t n = home ? strlen(home) : 0;
	if (n < 2 || strncmp(path, home, n) != 0 || path[n] != '/')
		return json_string(path);
	char text[320];
	snprintf(text, sizeof(text), "~%.300s", path + n);
	return json_string(text);
}

static bool path_from(const json_t *j, char *to, size_t size)
{
	const char *s = json_string_value(j), *home = getenv("HOME");
	int n = -1;
	if (s && s[0] == '~')
		n = snprintf(to, size, "%s%s", home ? home : "", s + 1);
	else if (s)
		n = snprintf(to, size, "%s", s);
	return n >= 0 && (size_t)n < size;
}

static json_t *backend_json(const struct backend_spec *b)
{
	return json_pack("{s:s,s:s,s:o,s:o,s:o,s:b}", "kind", kinds[b->kind], "name", b->name, "socket0", path_json(b->sock[0]),
			 "socket1", path_json(b->sock[1]), "exec", path_json(b->exec), "alone", b->alone);
}

json_t *opts_json(const struct opts *o)
{
	json_t *backends = json_array(), *cpus = json_array(), *cases = json_array(), *sizes = json_array();
	for (unsigned i = 0; i < o->n_backends; i++)
		json_array_append_new(backends, backend_json(&o->backend[i]));
	for (unsigned i = 0; i < o->n_cpus; i++)
		json_array_append_new(cpus, json_integer(o->cpu[i]));
	for (unsigned i = 0; i < o->n_cases; i++)
		json_array_append_new(cases, json_string(o->cases[i]));
	for (unsigned i = 0; i < o->n_sizes; i++)
		json_array_append_new(sizes, json_integer(o->size[i]));
	return json_pack("{s:s,s:o,s:o,s:s,s:o,s:o,s:o,s:b,s:b,s:b,s:i,s:f,s:i,s:f,s:i,s:I}", "verb",
			 o->verb == VERB_RECOVERY ? "recovery" : "run", "backends", backends, "dpdk", path_json(o->dpdk),
			 "driver", o->driver_testpmd ? "testpmd" : "builtin", "cpus", cpus, "cases", cases, "sizes", sizes,
			 "imix", o->imix, "ndr", o->ndr, "pdr", o->pdr, "flows", (int)o->flows, "loss", o->loss, "trials",
			 (int)o->trials, "duration", o->duration, "kills", (int)o->kills, "memory_bytes", (json_int_t)o->memory_bytes);
}

static bool backend_from(struct backend_spec *b, const json_t *j)
{
	const char *kind = json_string_value(json_object_get(j, "kind")),
		   *name = json_string_value(json_object_get(j, "name"));
	memset(b, 0, sizeof(*b));
	unsigned k = 0;
	while (kind && k < 4 && strcmp(kind, kinds[k]) != 0)
		k++;
	b->kind = (enum backend_kind)k;
	if (!kind || k == 4 || !name || strlen(name) >= sizeof(b->name))
		return false;
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->alone = json_is_true(json_object_get(j, "alone"));
	return path_from(json_object_get(j, "socket0"), b->sock[0], sizeof(b->sock[0])) &&
	       path_from(json_object_get(j, "socket1"), b->sock[1], sizeof(b->sock[1])) &&
	       path_from(json_object_get(j, "exec"), b->exec, sizeof(b->exec));
}

static bool lists_from(struct opts *o, const json_t *j)
{
	const json_t *v;
	size_t i;
	json_array_foreach(json_object_get(j, "backends"), i, v)
		if (o->n_backends == OPTS_BACKENDS || !backend_from(&o->backend[o->n_backends++], v))
			return false;
	json_array_foreach(json_object_get(j, "cpus"), i, v)
		if (o->n_cpus < OPTS_CPUS)
			o->cpu[o->n_cpus++] = (int)json_integer_value(v);
	json_array_foreach(json_object_get(j, "cases"), i, v)
		if (o->n_cases < OPTS_CASES && json_is_string(v))
			snprintf(o->cases[o->n_cases++], sizeof(o->cases[0]), "%.32s", json_string_value(v));
	json_array_foreach(json_object_get(j, "sizes"), i, v)
		if (o->n_sizes < OPTS_SIZES)
			o->size[o->n_sizes++] = (uint32_t)json_integer_value(v);
	return o->n_backends != 0 && o->n_cpus >= 2;
}

enum err opts_from_json(struct opts *o, const json_t *j, struct why *why)
{
	const char *verb = json_string_value(json_object_get(j, "verb")),
		   *driver = json_string_value(json_object_get(j, "driver"));
	o->n_backends = o->n_cpus = o->n_cases = o->n_sizes = 0;
	if (!verb || !driver || !lists_from(o, j) || !path_from(json_object_get(j, "dpdk"), o->dpdk, sizeof(o->dpdk)))
		return refuse(why, "no options of an earlier run in it");
	o->verb = strcmp(verb, "recovery") == 0 ? VERB_RECOVERY : VERB_RUN;
	o->driver_testpmd = strcmp(driver, "testpmd") == 0;
	o->imix = json_is_true(json_object_get(j, "imix"));
	o->ndr = json_is_true(json_object_get(j, "ndr"));
	o->pdr = json_is_true(json_object_get(j, "pdr"));
	o->flows = (unsigned)json_integer_value(json_object_get(j, "flows"));
	o->kills = (unsigned)json_integer_value(json_object_get(j, "kills"));
	o->memory_bytes = (uint64_t)json_integer_value(json_object_get(j, "memory_bytes"));
	o->loss = json_number_value(json_object_get(j, "loss"));
	o->trials = (unsigned)json_integer_value(json_object_get(j, "trials"));
	o->duration = json_number_value(json_object_get(j, "duration"));
	if (o->kills > 1000 || o->memory_bytes > UINT64_C(1) << 42 || o->flows < 1 || o->trials < 1 || o->trials > 500 || !(o->duration >= 0.05 && o->duration <= 600))
		return refuse(why, "its options are out of range");
	return OK;
}
