#include "bench/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/machine.h"

static json_t *now_text(void)
{
	char text[40];
	time_t t = time(NULL);
	struct tm tm;
	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

json_t *record_new(const struct bench *b)
{
	char seed[30];
	snprintf(seed, sizeof(seed), "%" PRIu64, b->opts->seed); // 64 bits do not fit a JSON number
	return json_pack("{s:s,s:i,s:o,s:s,s:o,s:o,s:o,s:[]}", "vringbench", VRINGD_VERSION, "api", RECORD_API, "started",
			 now_text(), "seed", seed, "options", opts_json(b->opts), "machine", machine_json(b->opts),
			 "backends", json_array(), "rows");
}

void record_backends(json_t *record, const struct bench *b)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < b->n; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "name", b->backend[i].spec.name, "version",
						      b->backend[i].version, "command", b->backend[i].command));
	json_object_set_new(record, "backends", list);
}

static const char *way_name(enum row_way w)
{
	static const char *const names[] = { "traffic", "paced", "traffic", "latency", "time",
					     "latency", "idle",  "time",    "latency", "search" };
	return names[w];
}

static json_t *config_json(const struct load_conf *c)
{
	json_t *sizes = json_array();
	for (unsigned i = 0; i < c->n_sizes; i++)
		json_array_append_new(sizes, json_pack("[i,i]", (int)c->size[i].bytes, (int)c->size[i].weight));
	return json_pack("{s:b,s:b,s:b,s:b,s:b,s:i,s:i,s:o,s:b,s:I,s:b,s:i,s:i,s:s,s:b}", "packed", c->packed, "mergeable",
			 c->mergeable, "in_order", c->in_order, "indirect", c->indirect, "event_idx", c->event_idx, "pairs",
			 (int)c->pairs, "ring_size", c->ring_size ? c->ring_size : 1024, "sizes", sizes, "gso", c->gso,
			 "working_set", (json_int_t)c->working_set, "occupancy", c->occupancy, "flows", (int)c->flows,
			 "burst", c->burst ? (int)c->burst : 32, "wait", c->wait == LOAD_SLEEP ? "sleep" : "poll", "huge",
			 c->huge);
}

json_t *record_row(json_t *record, const struct row *r)
{
	const json_t *machine = json_object_get(record, "machine");
	json_t *row = json_pack("{s:s,s:s,s:s,s:o,s:f,s:O,s:O}", "row", r->name, "case", r->what, "way", way_name(r->way),
				"config", config_json(&r->load), "loss", r->loss, "cycle_hz",
				json_object_get(machine, "cycle_hz"), "arch", json_object_get(machine, "arch"));
	json_array_append_new(json_object_get(record, "rows"), row);
	return row;
}

enum err record_write(const json_t *record, const char *path, struct why *why)
{
	if (json_dump_file(record, path, JSON_INDENT(1) | JSON_REAL_PRECISION(7)) == 0)
		return OK;
	return ours(why, "%.120s: %s", path, strerror(errno));
}

enum err record_read(json_t **out, const char *path, struct why *why)
{
	json_error_t error;
	json_t *j = json_load_file(path, 0, &error);
	if (!j)
		return ours(why, "%.90s: %.90s", path, error.text);
	if (json_integer_value(json_object_get(j, "api")) != RECORD_API || !json_is_array(json_object_get(j, "rows")) ||
	    !json_is_string(json_object_get(j, "vringbench"))) {
		json_decref(j);
		return refuse(why, "%.150s is no file of vringbench", path);
	}
	*out = j;
	return OK;
}
